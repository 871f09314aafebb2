//! One of three replicas gets far more than its share of the traffic while the store is away.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
    stack::replicas_on,
};
use crate::{redis::Redis, tollgate::Serve};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: second, requests_per_unit: 30, burst: 90 }
";
const BURST: f64 = 90.0;
const PER_SECOND: f64 = 30.0;
const REPLICAS: usize = 3;
const LASTS: Duration = Duration::from_secs(3);

pub(super) async fn row() -> Result<Row, FaultsError> {
    let mut redis = Redis::start().await?;
    let serve = Serve::new(limits_file("shares", LIMITS)?).store(redis.url());
    let replicas = replicas_on(&serve, REPLICAS).await?;
    redis.kill();
    sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    let mut askers = Vec::new();
    for (number, replica) in replicas.iter().enumerate() {
        let mut asker = Asker::connect(replica.grpc()).await?;
        // The first as quickly as it can, the others 15 times a second.
        let pause = Duration::from_millis(if number == 0 { 1 } else { 66 });
        askers.push(tokio::spawn(async move {
            let (mut admitted, mut sent) = (0_u32, 0_u32);
            while started.elapsed() < LASTS {
                let answer = asker.ask("user", "u").await;
                admitted += u32::from(matches!(
                    answer,
                    Answer::Fallback { admitted: true } | Answer::Admitted { .. }
                ));
                sent += 1;
                sleep(pause).await;
            }
            (admitted, sent)
        }));
    }
    let mut counts = Vec::new();
    for asker in askers {
        counts.push(asker.await.unwrap_or_default());
    }
    let took_s = started.elapsed().as_secs_f64();
    let share = (BURST + PER_SECOND * took_s) / f64::from(u32::try_from(REPLICAS).unwrap_or(u32::MAX));
    let within = counts.iter().all(|(admitted, _)| f64::from(*admitted) <= share);
    let told: Vec<String> = counts.iter().map(|(admitted, sent)| format!("{admitted} of {sent}")).collect();
    Ok(Row::new("Redis killed, three replicas on default settings, one of them loaded above its share")
        .promised("each admits at most burst / 3 + refill / 3 · length")
        .measured(format!("{} in {took_s:.1} s; a share is {share:.0}", told.join(", ")))
        .kept_if(within && f64::from(counts[0].0) >= share * 0.9 && f64::from(counts[0].1) > share))
}
