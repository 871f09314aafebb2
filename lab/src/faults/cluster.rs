//! A Redis Cluster of three masters is re-sharded, fails over, forgets the script, and loses a link, under load.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tollgate::store::redis::keys::slot;

use super::{
    FaultsError, Row, asker,
    ledger::{self, Promise},
    legs,
    proxy::{Mode, Proxy},
};
use crate::{binaries::checkout, redis::Cluster};

const SLOTS: u16 = 1_500;
const CUT: Duration = Duration::from_secs(3);
/// The node timeout is a second, and then there is an election.
const ELECTED_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    Ok(vec![
        resharded().await?,
        moved_at_once().await?,
        flushed().await?,
        failed_over().await?,
        killed().await?,
        cut().await?,
        legs::row().await?,
    ])
}

async fn resharded() -> Result<Row, FaultsError> {
    let cluster = Cluster::start(3, 0).await?;
    let mut by = "";
    let mut took = Duration::ZERO;
    let ledger = ledger::of(&cluster.url(), async || {
        let started = Instant::now();
        by = cluster.reshard(SLOTS).await?;
        took = started.elapsed();
        Ok(())
    })
    .await?;
    Ok(ledger.row(format!("{SLOTS} slots move by {by}, in {:.1} s", took.as_secs_f64()), Promise::Exact))
}

/// Where `scripts/setup kinds` puts it.
fn valkey() -> Option<PathBuf> {
    Some(checkout().join(".tools/bin/valkey-9.1")).filter(|program| program.is_file())
}

async fn moved_at_once() -> Result<Row, FaultsError> {
    let Some(valkey) = valkey() else {
        return Ok(Row::new(format!("{SLOTS} slots move by Valkey's `CLUSTER MIGRATESLOTS`"))
            .promised("all are decided; each bucket holds exactly what was answered")
            .measured("SKIPPED: no Valkey 9.1 here; `scripts/setup kinds` fetches it")
            .kept_if(true));
    };
    let cluster = Cluster::start_program(&valkey, 3, 0, &[]).await?;
    let mut took = Duration::ZERO;
    let ledger = ledger::of(&cluster.url(), async || {
        let started = Instant::now();
        cluster.migrate_slots(SLOTS.into()).await?;
        took = started.elapsed();
        Ok(())
    })
    .await?;
    Ok(ledger.row(
        format!("{SLOTS} slots move by Valkey 9.1's `CLUSTER MIGRATESLOTS`, in {:.1} s", took.as_secs_f64()),
        Promise::Exact,
    ))
}

async fn flushed() -> Result<Row, FaultsError> {
    let cluster = Cluster::start(3, 0).await?;
    let ledger = ledger::of(&cluster.url(), async || {
        for master in [0, 1, 0, 1] {
            cluster.tell(master, &["SCRIPT", "FLUSH"])?;
            sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    })
    .await?;
    Ok(ledger.row("SCRIPT FLUSH on two masters, twice", Promise::Exact))
}

async fn failed_over() -> Result<Row, FaultsError> {
    let cluster = Cluster::start(3, 1).await?;
    let ledger = ledger::of(&cluster.url(), async || {
        cluster.fail_over(3).await?;
        sleep(Duration::from_secs(2)).await;
        Ok(())
    })
    .await?;
    Ok(ledger.row("planned `CLUSTER FAILOVER` to a replica", Promise::ExactButRefused))
}

async fn killed() -> Result<Row, FaultsError> {
    let mut cluster = Cluster::start(3, 1).await?;
    let url = cluster.url();
    let mut elected = Duration::ZERO;
    let ledger = ledger::of(&url, async || {
        let started = Instant::now();
        cluster.nodes[2].kill();
        cluster.until_master(5).await?;
        elected = started.elapsed();
        sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    Ok(ledger.row(
        format!(
            "a master is killed (node timeout 1 s); its replica is elected after {:.1} s",
            elected.as_secs_f64()
        ),
        Promise::Replaced(ELECTED_WITHIN),
    ))
}

/// The link between Tollgate and one master, which the other masters still reach.
async fn cut() -> Result<Row, FaultsError> {
    let cluster = Cluster::start(3, 0).await?;
    let proxy = Proxy::start(cluster.nodes[2].addr())
        .await
        .map_err(|source| FaultsError::Io { what: "the proxy cannot listen".to_owned(), source })?;
    cluster.announce(2, proxy.addr().port()).await?;
    let ledger = ledger::of(&cluster.url(), async || {
        proxy.set(Mode::Cut);
        sleep(CUT).await;
        proxy.set(Mode::Pass);
        sleep(Duration::from_secs(2)).await;
        Ok(())
    })
    .await?;
    let limit = ledger::limit();
    let master_of = |number: u32| {
        cluster.first_master_of(slot(&asker::tagged_bucket("user", &ledger::value(number), &limit)))
    };
    let others = ledger.by_fallback().filter(|number| master_of(*number) != 2).count();
    let row = ledger.row(
        format!("the link to one master is cut for {} s and healed", CUT.as_secs()),
        Promise::Late(CUT + Duration::from_secs(1)),
    );
    let measured =
        format!("{}; {others} of the fallback answers were for keys of the other masters", row.measured);
    let is_kept = row.kept && others == 0;
    Ok(row.measured(measured).kept_if(is_kept))
}
