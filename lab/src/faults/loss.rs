//! Redis loses what it held, in each way that it can: what is admitted at worst.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::clock::Clock;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    failed, limits_file,
    nodes::{Seen, worst_share},
};
use crate::{
    bench::resp,
    process::{next_number, run_folder},
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const BURST: u64 = 100;
const PER_SECOND: u64 = 20;
const LIMITS: &str = "\
domain: edge
descriptors:
- key: full
  rate_limit: { unit: second, requests_per_unit: 20, burst: 100, on_store_failure: error }
- key: empty
  rate_limit: { unit: second, requests_per_unit: 20, burst: 100, on_store_failure: error, after_store_loss: empty }
- key: day
  rate_limit: { unit: day, requests_per_unit: 10, on_store_failure: error }
";
const KEYS: [&str; 2] = ["full", "empty"];
const CLIENTS: usize = 3;

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let folder = run_folder()?.join(format!("aof-{}", next_number()));
    fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
    let folder = folder.display().to_string();
    let everysec = ["--appendonly", "yes", "--appendfsync", "everysec", "--dir", &folder];
    let mut rows = lost("kill -9, no persistence", &[], Loss::Killed).await?;
    rows.extend(lost("FLUSHALL", &[], Loss::Flushed).await?);
    rows.extend(lost("kill -9, appendfsync everysec", &everysec, Loss::Kept).await?);
    rows.push(evicted().await?);
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
    let serve = Serve::new(limits_file("loss", LIMITS)?).store(redis.url()).args(&["--store-deadline", "1s"]);
    let tollgate = Tollgate::start(&serve).await?;
    Asker::connect(tollgate.grpc()).await?.until_store("day", "warm").await?;
    let hammer = Hammer::start(&tollgate).await?;
    sleep(Duration::from_secs(2)).await;
    let lost_us = hammer.now_us();
    match loss {
        Loss::Killed | Loss::Kept => redis.restart().await?,
        Loss::Flushed => drop(resp::tell(redis.addr(), &["FLUSHALL"])?),
    }
    sleep(Duration::from_secs(3)).await;
    let admitted = hammer.stop().await;
    let of = |key: usize| -> Vec<Seen> { admitted.iter().filter(|seen| seen.key == key).copied().collect() };
    let row = |key: usize, bursts: u64, promise: &str| {
        let admitted = of(key);
        let goes_on = admitted.iter().any(|seen| seen.start_us > lost_us + 1_000_000);
        let is_felt = bursts == 1 || worst_share(&admitted, BURST, PER_SECOND) > 1.0;
        let (once, as_promised) =
            (worst_share(&admitted, BURST, PER_SECOND), worst_share(&admitted, bursts * BURST, PER_SECOND));
        Row::new(
            format!("{fault}, `after_store_loss: {}`", KEYS[key]),
            promise,
            format!(
                "{} admitted; the worst interval has {once:.2} (burst + refill · length)",
                admitted.len()
            ),
            // The loss happened, and did not end all admission.
            as_promised <= 1.0 && goes_on && is_felt,
        )
    };
    let no_more = "over every interval burst + refill · length, as if nothing was lost";
    Ok(match loss {
        Loss::Kept => vec![row(0, 1, "nothing is lost with the process alone: burst + refill · length")],
        Loss::Killed | Loss::Flushed => {
            vec![row(0, 2, "one more burst: 2 burst + refill · length"), row(1, 1, no_more)]
        }
    })
}

/// A Redis that is too small, and evicts what it likes.
async fn evicted() -> Result<Row, FaultsError> {
    const DAILY: u32 = 10;
    const WATCHED: usize = 20;
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"]).await?;
    let serve = Serve::new(limits_file("loss", LIMITS)?).store(redis.url());
    // What memory knows to be denied would be asked again only a second later.
    let serve = serve.args(&["--store-deadline", "1s", "--memo", "off"]);
    let tollgate = Tollgate::start(&serve).await?;
    let mut asker = Asker::connect(tollgate.grpc()).await?;
    asker.until_store("day", "warm").await?;
    let (mut admitted, mut gone) = (0, 0);
    let mut left = [DAILY; WATCHED];
    for round in 0..600 {
        asker.ask_all("day", (0..100).map(|n| format!("flood-{}", round * 100 + n))).await;
        let watched = round % WATCHED;
        if let Answer::Admitted { remaining } = asker.ask("day", &format!("watched-{watched}")).await {
            admitted += 1;
            gone += u32::from(left[watched] < DAILY && remaining >= left[watched]);
            left[watched] = remaining;
        }
    }
    let bursts = u32::try_from(WATCHED).unwrap_or(u32::MAX) + gone;
    let evicted = resp::figure(redis.addr(), "stats", "evicted_keys")?;
    let is_warned = tollgate.log_text().contains("may evict buckets");
    Ok(Row::new(
        "maxmemory with an evicting policy (allkeys-random)",
        "one more burst each time that a key is evicted, and a warning when Tollgate connects",
        format!(
            "{WATCHED} keys of {DAILY} a day: {admitted} admitted; {gone} times such a key was evicted ({evicted} \
             keys in all); {} warned",
            if is_warned { "was" } else { "was NOT" }
        ),
        admitted <= DAILY * bursts && gone > 0 && evicted > 0 && is_warned,
    ))
}

/// Clients that never pause, on both keys.
pub(super) struct Hammer {
    clock: Clock,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Seen>>,
}

impl Hammer {
    async fn start(tollgate: &Tollgate) -> Result<Hammer, FaultsError> {
        Hammer::on(tollgate, &KEYS).await
    }

    pub(super) async fn on(tollgate: &Tollgate, keys: &[&'static str]) -> Result<Hammer, FaultsError> {
        let (clock, stop) = (Clock::start(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for (key, name) in keys.iter().copied().enumerate() {
            for _ in 0..CLIENTS {
                let mut asker = Asker::connect(tollgate.grpc()).await?;
                let stop = Arc::clone(&stop);
                clients.spawn(async move {
                    let mut admitted = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let start_us = clock.now_us();
                        let answer = asker.ask(name, "hammered").await;
                        let end_us = clock.now_us();
                        if let Answer::Admitted { .. } = answer {
                            admitted.push(Seen { key, start_us, end_us, status: 200, retry_after_s: None });
                        }
                        sleep(Duration::from_millis(1)).await;
                    }
                    admitted
                });
            }
        }
        Ok(Hammer { clock, stop, clients })
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// What was admitted.
    pub(super) async fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(admitted) = self.clients.join_next().await {
            all.extend(admitted.unwrap_or_default());
        }
        all.sort_unstable_by_key(|seen| seen.start_us);
        all
    }
}
