//! Many requests at the same moment for one key whose refill is negligible: exactly the burst is admitted.

use http::StatusCode;
use tokio::task::JoinSet;

use super::{
    DemoError, Stack,
    figures::{Claim, Verdict},
};
use crate::http::{Connection, HttpError};

const REQUESTS: usize = 2_000;
/// As in `examples/demo.yaml`: 100 a day for this key.
const KEY: &str = "burst";
const BURST: u64 = 100;

pub async fn measure(stack: &Stack) -> Result<Claim, DemoError> {
    let target = stack.global.addr();
    // Connected first, so that the requests leave together.
    let mut connections = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        connections.push(Connection::open(target).await?);
    }
    let mut requests = JoinSet::new();
    for mut connection in connections {
        requests.spawn(async move { connection.get("/", &[("x-api-key", KEY)]).await });
    }
    let mut answers = Vec::with_capacity(REQUESTS);
    while let Some(answer) = requests.join_next().await {
        let answer: Result<_, HttpError> = answer.map_err(DemoError::Task)?;
        answers.push(answer?.status);
    }
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    let (admitted, denied) = (count(StatusCode::OK), count(StatusCode::TOO_MANY_REQUESTS));
    let measured = u64::try_from(admitted).unwrap_or(u64::MAX);
    let (verdict, reason) = if admitted + denied < REQUESTS {
        (
            Verdict::NotProven,
            format!("{} of {REQUESTS} requests got no verdict", REQUESTS - admitted - denied),
        )
    } else if measured == BURST {
        (Verdict::Shown, format!("{admitted} passed and {denied} were denied: the burst, and not one more"))
    } else {
        (Verdict::Refuted, format!("{admitted} passed where exactly {BURST} may"))
    };
    Ok(Claim {
        load: format!("{REQUESTS} requests at once for one key, 3 nodes"),
        subject: "Tollgate on Redis".to_owned(),
        measured,
        allowed: 100.0,
        verdict,
        reason,
        command: format!("oha -n {REQUESTS} -c {REQUESTS} --no-tui -H 'x-api-key: {KEY}' http://{target}/"),
    })
}
