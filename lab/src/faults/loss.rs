//! Redis loses its data in each possible way: the most that is admitted then.

use std::{fs, time::Duration};

use tokio::time::sleep;
use tollgate::store::redis::script::EPOCH_KEY;
use tollgate_core::limit::AfterStoreLoss;

use super::{
    FaultsError, Row,
    asker::Asker,
    eviction, failed,
    hammer::{self, BURST, Hammer, worst_with},
    limits_file,
    nodes::Visit,
};
use crate::{
    bench::resp,
    process::{next_number, run_folder},
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let folder = run_folder()?.join(format!("aof-{}", next_number()));
    fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
    let folder = folder.display().to_string();
    let everysec = ["--appendonly", "yes", "--appendfsync", "everysec", "--dir", &folder];
    let mut rows = lost("kill -9, no persistence", &[], Loss::Killed).await?;
    rows.extend(lost("FLUSHALL", &[], Loss::Flushed).await?);
    rows.extend(lost("kill -9, appendfsync everysec", &everysec, Loss::Kept).await?);
    rows.push(eviction::row().await?);
    Ok(rows)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Killed,
    Flushed,
    /// Killed, but all data is restored.
    Kept,
}

/// The admissions of a run during which the store loses its data.
struct Run {
    fault: &'static str,
    loss: Loss,
    lost_us: u64,
    admitted: Vec<Visit>,
    /// Redis' value afterwards; it was 0.
    epoch_us: u64,
}

async fn lost(fault: &'static str, args: &[&str], loss: Loss) -> Result<Vec<Row>, FaultsError> {
    let mut redis = Redis::start_with(args).await?;
    // Nothing was lost, so buckets need not start empty.
    resp::tell(redis.addr(), &["SET", EPOCH_KEY, "0"])?;
    let serve = Serve::new(limits_file("loss", &limits())?).store(redis.url());
    let tollgate = Tollgate::start(&serve.args(&["--store-deadline", "1s"])).await?;
    Asker::connect(tollgate.grpc()).await?.until_store("full", "warm").await?;
    let hammer = Hammer::on(&tollgate, &AfterStoreLoss::ALL.map(AfterStoreLoss::name)).await?;
    sleep(Duration::from_secs(2)).await;
    let lost_us = hammer.now_us();
    match loss {
        Loss::Killed | Loss::Kept => redis.restart().await?,
        Loss::Flushed => drop(resp::tell(redis.addr(), &["FLUSHALL"])?),
    }
    sleep(Duration::from_secs(3)).await;
    let admitted = hammer.stop().await;
    let epoch = resp::tell(redis.addr(), &["GET", EPOCH_KEY])?;
    let epoch_us = epoch.parse().map_err(|_| FaultsError::Unreadable(format!("the epoch is {epoch:?}")))?;
    let run = Run { fault, loss, lost_us, admitted, epoch_us };
    Ok(AfterStoreLoss::ALL.into_iter().map(|after| run.row(after)).collect())
}

fn limits() -> String {
    let hammered = AfterStoreLoss::ALL
        .map(AfterStoreLoss::name)
        .map(|after| hammer::limit(after, &format!(", after_store_loss: {after}")));
    format!("domain: edge\ndescriptors:\n{}", hammered.concat())
}

// === impl Run ===

impl Run {
    fn row(&self, after: AfterStoreLoss) -> Row {
        let of_limit = self.admitted.iter().filter(|visit| visit.key == after.name());
        let admitted: Vec<Visit> = of_limit.copied().collect();
        let once = worst_with(&admitted, 0);
        let (promise, is_within) = match (self.loss, after) {
            (Loss::Kept, AfterStoreLoss::Full) => {
                ("nothing is lost with the process alone: burst + refill · length", once <= 1.0)
            }
            (Loss::Kept, AfterStoreLoss::Empty) => {
                ("nothing is lost, and the epoch survives: burst + refill · length, as before", once <= 1.0)
            }
            (_, AfterStoreLoss::Full) => (
                "one more burst: 2 burst + refill · length",
                once > 1.0 && worst_with(&admitted, BURST) <= 1.0,
            ),
            (_, AfterStoreLoss::Empty) => {
                ("over every interval burst + refill · length, as if nothing was lost", once <= 1.0)
            }
        };
        let goes_on = admitted.iter().any(|visit| visit.start_us > self.lost_us + 1_000_000);
        let was_lost = self.loss != Loss::Kept;
        Row::new(format!("{}, `after_store_loss: {}`", self.fault, after.name()))
            .promised(promise)
            .measured(format!(
                "{} admitted; the worst interval has {once:.2} (burst + refill · length); the epoch {}",
                admitted.len(),
                if self.epoch_us == 0 { "stands" } else { "is a new one" }
            ))
            // The loss happened, and requests were still admitted afterwards.
            .kept_if(is_within && goes_on && (self.epoch_us > 0) == was_lost)
    }
}
