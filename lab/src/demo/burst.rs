//! Many requests at the same moment for one key whose refill is negligible: exactly the burst is admitted.

use super::{
    DemoError, Stack, at_once,
    figures::{Claim, Verdict},
};

const REQUESTS: usize = 2_000;
/// The limit in `examples/demo.yaml`: a bucket of 100 that refills in a day.
const KEY: &str = "burst";
const BURST: u64 = 100;

pub async fn measure(stack: &Stack) -> Result<Claim, DemoError> {
    let target = stack.global.addr();
    let answers = at_once::send(target, KEY, REQUESTS).await?;
    let (admitted, denied) = (answers.admitted, answers.denied);
    let (verdict, reason) = if answers.without_verdict() > 0 {
        (Verdict::NotProven, format!("{} of {REQUESTS} requests got no verdict", answers.without_verdict()))
    } else if admitted == BURST {
        (Verdict::Shown, format!("{admitted} passed and {denied} were denied: the burst, and not one more"))
    } else {
        (Verdict::Refuted, format!("{admitted} passed where exactly {BURST} may"))
    };
    Ok(Claim {
        claim: "However many requests come at once, the burst passes and not one more.".to_owned(),
        load: format!("{REQUESTS} requests at once for one key, 3 nodes"),
        subject: "Tollgate on Redis".to_owned(),
        measured: admitted,
        allowed: 100.0,
        verdict,
        reason,
        command: format!("oha -n {REQUESTS} -c {REQUESTS} --no-tui -H 'x-api-key: {KEY}' http://{target}/"),
    })
}
