//! Redis loses what it held, in each way that it can: what is admitted at worst.

use std::{fs, time::Duration};

use tokio::time::sleep;
use tollgate::limit::AfterStoreLoss;

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
    /// Killed, but all that was written comes back.
    Kept,
}

async fn lost(fault: &str, args: &[&str], loss: Loss) -> Result<Vec<Row>, FaultsError> {
    let mut redis = Redis::start_with(args).await?;
    // It lost nothing: its buckets need not start empty.
    resp::tell(redis.addr(), &["SET", "tg:epoch", "0"])?;
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
    let of_limit = |after: AfterStoreLoss| -> Vec<Visit> {
        admitted.iter().filter(|visit| visit.key == after.name()).copied().collect()
    };
    let row = |after: AfterStoreLoss, bursts: u64, promise: &str| {
        let admitted = of_limit(after);
        let goes_on = admitted.iter().any(|visit| visit.start_us > lost_us + 1_000_000);
        let once = worst_with(&admitted, 0);
        let is_felt = bursts == 1 || once > 1.0;
        Row::of(format!("{fault}, `after_store_loss: {}`", after.name()))
            .promised(promise)
            .measured(format!(
                "{} admitted; the worst interval has {once:.2} (burst + refill · length)",
                admitted.len()
            ))
            // The loss happened, and did not end all admission.
            .kept_if(worst_with(&admitted, (bursts - 1) * BURST) <= 1.0 && goes_on && is_felt)
    };
    let no_more = "over every interval burst + refill · length, as if nothing was lost";
    Ok(match loss {
        Loss::Kept => {
            vec![row(
                AfterStoreLoss::Full,
                1,
                "nothing is lost with the process alone: burst + refill · length",
            )]
        }
        Loss::Killed | Loss::Flushed => {
            vec![
                row(AfterStoreLoss::Full, 2, "one more burst: 2 burst + refill · length"),
                row(AfterStoreLoss::Empty, 1, no_more),
            ]
        }
    })
}

fn limits() -> String {
    let hammered = AfterStoreLoss::ALL
        .map(AfterStoreLoss::name)
        .map(|after| hammer::limit(after, &format!(", after_store_loss: {after}")));
    format!("domain: edge\ndescriptors:\n{}", hammered.concat())
}
