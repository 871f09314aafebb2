//! Three Sentinels replace a master that was killed, or stopped and continued, under load.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    ledger::{self, Promise},
};
use crate::{bench::resp, redis::Watched};

/// Down after a second, and then there is an election.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    Ok(vec![killed().await?, continued().await?])
}

async fn killed() -> Result<Row, FaultsError> {
    let mut watched = Watched::start().await?;
    let mut named = Duration::ZERO;
    let ledger = ledger::of(&watched.url(), async || {
        let started = Instant::now();
        watched.master.kill();
        watched.until_replaced().await?;
        named = started.elapsed();
        sleep(Duration::from_secs(2)).await;
        Ok(())
    })
    .await?;
    Ok(ledger.row(
        format!("the master is killed; its replica is the master after {:.1} s", named.as_secs_f64()),
        Promise::Replaced(REPLACED_WITHIN),
    ))
}

/// The old master believes that it is one until a Sentinel tells it otherwise.
async fn continued() -> Result<Row, FaultsError> {
    let mut watched = Watched::start().await?;
    let (mut named, mut decided) = (Duration::ZERO, 0);
    let ledger = ledger::of(&watched.url(), async || {
        let started = Instant::now();
        watched.master.pause()?;
        watched.until_replaced().await?;
        named = started.elapsed();
        sleep(Duration::from_secs(2)).await;
        watched.master.resume()?;
        // What was sent to it before the stop is answered first.
        sleep(Duration::from_millis(100)).await;
        let before = resp::calls(watched.master.addr())?;
        sleep(Duration::from_secs(3)).await;
        decided = resp::calls(watched.master.addr())? - before;
        Ok(())
    })
    .await?;
    let row = ledger.row(
        format!(
            "the master is stopped, replaced after {:.1} s, and continued 2 s later",
            named.as_secs_f64()
        ),
        Promise::Replaced(REPLACED_WITHIN),
    );
    let measured = format!("{}; the old master ran {decided} more calls after it continued", row.measured);
    let is_kept = row.kept && decided == 0;
    Ok(row.measured(measured).kept_if(is_kept))
}
