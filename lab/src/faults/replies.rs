//! Redis refuses, lies, falls silent or breaks off: what is answered then, and that nothing is charged twice.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
    proxy::{Mode, Proxy},
    stack::sum,
};
use crate::{
    bench::resp,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

/// Nothing comes back while it runs: what is left tells what was charged.
const BURST: u32 = 10_000;
const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: year, requests_per_unit: 10000, on_store_failure: allow }
";
const REQUESTS: u32 = 40;
const PASSWORD: &str = "correct-horse-battery";

/// What must be true of the answers while the fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    /// The store's own, all of them.
    Decided,
    /// Guesses, but for what was decided before the fault was noticed; what was guessed was not charged.
    GuessedUncharged,
    /// As above, but what was lost on its way back may be charged, once.
    GuessedChargedOnce,
}

struct Trial {
    redis: Redis,
    proxy: Proxy,
    tollgate: Tollgate,
    asker: Asker,
}

struct Seen {
    decided: u32,
    guessed: u32,
    unanswered: u32,
    /// Guessed when the fault was over.
    more: u32,
    charged: u32,
    healed: Duration,
    slowest: Duration,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    use Reaction::{Decided, GuessedChargedOnce, GuessedUncharged};
    let mut rows = vec![
        by_redis(
            "READONLY: Redis was demoted",
            &["REPLICAOF 127.0.0.1 1"],
            &["REPLICAOF NO ONE"],
            GuessedUncharged,
        )
        .await?,
        by_proxy("LOADING", Mode::Refuse("LOADING Redis is loading the dataset in memory"), GuessedUncharged)
            .await?,
        by_proxy("MASTERDOWN", Mode::Refuse("MASTERDOWN Link with MASTER is down"), GuessedUncharged).await?,
        by_redis(
            "OOM: maxmemory is reached, noeviction",
            &["CONFIG SET maxmemory 1"],
            &["CONFIG SET maxmemory 0"],
            GuessedUncharged,
        )
        .await?,
        by_redis("NOSCRIPT: SCRIPT FLUSH", &["SCRIPT FLUSH"], &[], Decided).await?,
        busy().await?,
        by_redis("CLIENT KILL of each connection", &["CLIENT KILL TYPE normal"], &[], GuessedChargedOnce)
            .await?,
        by_proxy("the connection closes in place of a reply", Mode::CloseForReply, GuessedChargedOnce)
            .await?,
        by_proxy("half a reply, then the connection closes", Mode::HalfAReply, GuessedChargedOnce).await?,
        by_proxy("a reply never comes", Mode::Mute, GuessedChargedOnce).await?,
        by_proxy("each reply comes 50 ms late", Mode::Delay(Duration::from_millis(50)), GuessedChargedOnce)
            .await?,
    ];
    rows.push(wrong_password().await?);
    rows.push(malformed().await?);
    Ok(rows)
}

async fn by_redis(
    fault: &str,
    inject: &[&str],
    heal: &[&str],
    reaction: Reaction,
) -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let addr = trial.redis.addr();
    let tell = |commands: &[&str]| -> Result<(), FaultsError> {
        for command in commands {
            resp::tell(addr, &command.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    };
    let before = trial.charged().await?;
    tell(inject)?;
    let answers = trial.ask().await;
    tell(heal)?;
    trial.seen(before, answers).await.map(|seen| seen.row(fault, reaction))
}

async fn by_proxy(fault: &str, mode: Mode, reaction: Reaction) -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let before = trial.charged().await?;
    trial.proxy.set(mode);
    let answers = trial.ask().await;
    trial.proxy.set(Mode::Pass);
    trial.seen(before, answers).await.map(|seen| seen.row(fault, reaction))
}

/// Somebody else's script runs and runs.
async fn busy() -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let addr = trial.redis.addr();
    resp::tell(addr, &["CONFIG", "SET", "lua-time-limit", "20"])?;
    let before = trial.charged().await?;
    let endless = tokio::task::spawn_blocking(move || resp::tell(addr, &["EVAL", "while true do end", "0"]));
    sleep(Duration::from_millis(50)).await;
    let answers = trial.ask().await;
    resp::tell(addr, &["SCRIPT", "KILL"])?;
    // It ends with an error, which is what was asked for.
    let _ = endless.await;
    trial
        .seen(before, answers)
        .await
        .map(|seen| seen.row("BUSY: an endless script", Reaction::GuessedUncharged))
}

async fn wrong_password() -> Result<Row, FaultsError> {
    let redis = Redis::start().await?;
    let rule = |password: &str| format!(">{password}");
    let set = |password: &str| -> Result<(), FaultsError> {
        let user = ["ACL", "SETUSER", "tollgate", "on", "~tg:*", "+@all", "resetpass", &rule(password)];
        resp::tell(redis.addr(), &user)?;
        Ok(())
    };
    set(PASSWORD)?;
    let url = format!("redis://tollgate:{PASSWORD}@{}", redis.addr());
    let serve = Serve::new(limits_file("replies", LIMITS)?).store(url).args(&["--log-level", "trace"]);
    let tollgate = Tollgate::start(&serve).await?;
    let mut asker = Asker::connect(tollgate.grpc()).await?;
    asker.until_store("user", "u").await?;
    set("another")?;
    resp::tell(redis.addr(), &["CLIENT", "KILL", "TYPE", "normal"])?;
    sleep(Duration::from_millis(200)).await;
    let mut guessed = 0;
    for _ in 0..REQUESTS {
        guessed += u32::from(asker.ask("user", "u").await == Answer::Guessed);
    }
    let ready = http::get(tollgate.admin(), "/ready", &[]).await?.text();
    set(PASSWORD)?;
    let healed = asker.until_store("user", "u").await?;
    let told = tollgate.log_text() + &ready;
    let is_secret = !told.contains(PASSWORD) && !told.contains("another");
    let is_named = ready.contains("degraded") && told.contains("uthentication");
    Ok(Row::new(
        "WRONGPASS: the password was changed",
        "guesses; `/ready` and one log line say why, and none holds a password; back within 1 s",
        format!(
            "{guessed} of {REQUESTS} guessed; the reason is {}told, the password {}; {:.2} s",
            if is_named { "" } else { "not " },
            if is_secret { "is not" } else { "IS" },
            healed.as_secs_f64()
        ),
        guessed == REQUESTS && is_secret && is_named && healed <= Duration::from_secs(1),
    ))
}

/// Whatever stands under our key, it is no bucket.
async fn malformed() -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let (addr, mut decided, kinds) = (trial.redis.addr(), 0, 4);
    for kind in 0..kinds {
        trial.asker.ask("user", "u").await;
        let key = resp::tell(addr, &["RANDOMKEY"])?;
        // The other one is the replicas' own.
        let key = if key == "tg:replicas" { resp::tell(addr, &["RANDOMKEY"])? } else { key };
        let junk: [&[&str]; 4] = [
            &["SET", &key, "hello"],
            &["SET", &key, ""],
            &["SET", &key, "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}"],
            &["LPUSH", &key, "x"],
        ];
        if kind == 3 {
            resp::tell(addr, &["DEL", &key])?;
        }
        resp::tell(addr, junk[kind])?;
        let answer = trial.asker.ask("user", "u").await;
        decided += usize::from(answer == Answer::Admitted { remaining: BURST - 1 });
    }
    let page = http::get(trial.tollgate.admin(), "/metrics", &[]).await?.text();
    let counted = sum(&page, "tollgate_malformed_buckets_total");
    Ok(Row::new(
        "a value under our key that is no bucket (text, nothing, too large a number, a list)",
        "it counts as missing, so the bucket is full, and is counted (a list: overwritten)",
        format!("{decided} of {kinds} decided so, {counted} counted"),
        decided == kinds && counted == 3,
    ))
}

// === impl Trial ===

impl Trial {
    async fn start() -> Result<Trial, FaultsError> {
        let redis = Redis::start().await?;
        let proxy = Proxy::start(redis.addr())
            .await
            .map_err(|source| FaultsError::Io { what: "the proxy cannot listen".to_owned(), source })?;
        // Long enough that a busy machine is no fault, shorter than the faults.
        let args = ["--store-deadline", "30ms"];
        let serve = Serve::new(limits_file("replies", LIMITS)?).store(proxy.url()).args(&args);
        let tollgate = Tollgate::start(&serve).await?;
        let mut asker = Asker::connect(tollgate.grpc()).await?;
        asker.until_store("user", "u").await?;
        Ok(Trial { redis, proxy, tollgate, asker })
    }

    /// How much the bucket was charged so far, this question included.
    async fn charged(&mut self) -> Result<u32, FaultsError> {
        self.asker.until_store("user", "u").await?;
        match self.asker.ask("user", "u").await {
            Answer::Admitted { remaining } => Ok(BURST - remaining),
            other => Err(FaultsError::Unreadable(format!("asked for what was charged: {other:?}"))),
        }
    }

    /// For about half a second.
    async fn ask(&mut self) -> (Vec<Answer>, Duration) {
        let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
        for _ in 0..REQUESTS {
            let asked = Instant::now();
            answers.push(self.asker.ask("user", "u").await);
            slowest = slowest.max(asked.elapsed());
            sleep(Duration::from_millis(10)).await;
        }
        (answers, slowest)
    }

    async fn seen(
        &mut self,
        before: u32,
        (answers, slowest): (Vec<Answer>, Duration),
    ) -> Result<Seen, FaultsError> {
        let (healed, more) = self.asker.count_until_store("user", "u").await?;
        let after = self.charged().await?;
        let count = |is: fn(&Answer) -> bool| {
            u32::try_from(answers.iter().filter(|answer| is(answer)).count()).unwrap_or(u32::MAX)
        };
        Ok(Seen {
            decided: count(|answer| matches!(answer, Answer::Admitted { .. } | Answer::Denied { .. })),
            guessed: count(|answer| matches!(answer, Answer::Guessed)),
            more,
            unanswered: count(|answer| matches!(answer, Answer::None)),
            // The three questions that were asked since.
            charged: after - before - 3,
            healed,
            slowest,
        })
    }
}

impl Seen {
    fn row(&self, fault: &str, reaction: Reaction) -> Row {
        let Seen { decided, guessed, unanswered, more, charged, healed, slowest } = self;
        let (promise, is_so) = match reaction {
            Reaction::Decided => {
                ("sent again, since nothing ran: no guess, charged once", *guessed == 0 && charged == decided)
            }
            Reaction::GuessedUncharged => (
                "guesses, quickly; what was refused is not charged; back within 1 s",
                *guessed > 0 && charged == decided,
            ),
            Reaction::GuessedChargedOnce => (
                "guesses, within the deadline (30 ms) each; none is charged twice; back within 1 s",
                *guessed > 0 && charged >= decided && *charged <= decided + guessed + more,
            ),
        };
        let is_quick = *slowest <= Duration::from_millis(100) && *healed <= Duration::from_secs(1);
        Row::new(
            fault,
            promise,
            format!(
                "{decided} decided, {guessed} guessed, {charged} charged; slowest {} ms; back after {:.2} s",
                slowest.as_millis(),
                healed.as_secs_f64()
            ),
            is_so && is_quick && *unanswered == 0,
        )
    }
}
