//! Redis refuses, lies, falls silent or breaks off: what is answered then, and that nothing is charged twice.

use std::time::Duration;

use tokio::time::sleep;
use tollgate_core::limit::{Limit, Unit};

use super::{
    FaultsError, Row,
    asker::{Answer, Asker, bucket_name},
    limits_file,
    proxy::Mode,
    stack::sum,
    trial::{BURST, LIMITS, REQUESTS, Reaction, Trial},
};
use crate::{
    bench::resp,
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const PASSWORD: &str = "correct-horse-battery";

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    use Reaction::{Decided, FallbackChargedOnce, FallbackUncharged};
    let mut rows = vec![
        by_redis(
            "READONLY: Redis was demoted",
            &["REPLICAOF 127.0.0.1 1"],
            &["REPLICAOF NO ONE"],
            FallbackUncharged,
        )
        .await?,
        by_proxy(
            "LOADING",
            Mode::Refuse("LOADING Redis is loading the dataset in memory"),
            FallbackUncharged,
        )
        .await?,
        by_proxy("MASTERDOWN", Mode::Refuse("MASTERDOWN Link with MASTER is down"), FallbackUncharged)
            .await?,
        by_redis(
            "OOM: maxmemory is reached, noeviction",
            &["CONFIG SET maxmemory 1"],
            &["CONFIG SET maxmemory 0"],
            FallbackUncharged,
        )
        .await?,
        by_redis("NOSCRIPT: SCRIPT FLUSH", &["SCRIPT FLUSH"], &[], Decided).await?,
        busy().await?,
        by_redis("CLIENT KILL of each connection", &["CLIENT KILL TYPE normal"], &[], FallbackChargedOnce)
            .await?,
        by_proxy("the connection closes in place of a reply", Mode::CloseForReply, FallbackChargedOnce)
            .await?,
        by_proxy("half a reply, then the connection closes", Mode::HalfAReply, FallbackChargedOnce).await?,
        by_proxy("a reply never comes", Mode::Mute, FallbackChargedOnce).await?,
        by_proxy(
            "each reply comes 150 ms late",
            Mode::Delay(Duration::from_millis(150)),
            FallbackChargedOnce,
        )
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
    tell(inject)?;
    let answers = trial.ask().await;
    tell(heal)?;
    trial.aftermath(answers).await.map(|aftermath| aftermath.row(fault, reaction))
}

async fn by_proxy(fault: &str, mode: Mode, reaction: Reaction) -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    trial.proxy.set(mode);
    let answers = trial.ask().await;
    trial.proxy.set(Mode::Pass);
    trial.aftermath(answers).await.map(|aftermath| aftermath.row(fault, reaction))
}

/// Somebody else's script runs and runs.
async fn busy() -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let addr = trial.redis.addr();
    resp::tell(addr, &["CONFIG", "SET", "lua-time-limit", "20"])?;
    let endless = tokio::task::spawn_blocking(move || resp::tell(addr, &["EVAL", "while true do end", "0"]));
    sleep(Duration::from_millis(50)).await;
    let answers = trial.ask().await;
    resp::tell(addr, &["SCRIPT", "KILL"])?;
    // It ends with an error, which is what was asked for.
    let _ = endless.await;
    trial
        .aftermath(answers)
        .await
        .map(|aftermath| aftermath.row("BUSY: an endless script", Reaction::FallbackUncharged))
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
    let mut by_fallback = 0;
    for _ in 0..REQUESTS {
        by_fallback += u32::from(matches!(asker.ask("user", "u").await, Answer::Fallback { .. }));
    }
    let ready = http::get(tollgate.admin(), "/ready", &[]).await?.text();
    set(PASSWORD)?;
    let healed = asker.until_store("user", "u").await?;
    let told = tollgate.log_text() + &ready;
    let is_secret = !told.contains(PASSWORD) && !told.contains("another");
    let is_named = ready.contains("degraded") && told.contains("uthentication");
    Ok(Row::new("WRONGPASS: the password was changed")
        .promised(
            "fallback answers; `/ready` and one log line say why, and none holds a password; back within 1 s",
        )
        .measured(format!(
            "{by_fallback} of {REQUESTS} by fallback; the reason is {}told, the password {}; {:.2} s",
            if is_named { "" } else { "not " },
            if is_secret { "is not" } else { "IS" },
            healed.as_secs_f64()
        ))
        .kept_if(by_fallback == REQUESTS && is_secret && is_named && healed <= Duration::from_secs(1)))
}

/// Whatever stands under our key, it is no bucket.
async fn malformed() -> Result<Row, FaultsError> {
    let mut trial = Trial::start().await?;
    let (addr, mut decided, kinds) = (trial.redis.addr(), 0, 4);
    let limit = Limit::new(BURST, Unit::Year, None).expect("a limit of the trial's file");
    let key = bucket_name("user", "u", &limit);
    for kind in 0..kinds {
        trial.asker.ask("user", "u").await;
        // Or something else would be spoilt, and the bucket stay sound.
        if resp::tell(addr, &["EXISTS", &key])? != "1" {
            return Err(FaultsError::Unreadable(format!("no bucket at {key}")));
        }
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
    Ok(Row::new("a value under our key that is no bucket (text, nothing, too large a number, a list)")
        .promised("it counts as missing, so the bucket is full, and is counted (a list: overwritten)")
        .measured(format!("{decided} of {kinds} decided so, {counted} counted"))
        .kept_if(decided == kinds && counted == 3))
}
