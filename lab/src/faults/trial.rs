//! A Tollgate that reaches Redis through a proxy, with its answers during a fault and the hits that were charged.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
    proxy::Proxy,
};
use crate::{
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

/// The bucket refills nothing during a trial, so the tokens left show how many hits were charged.
pub(super) const BURST: u32 = 10_000;
pub(super) const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: year, algorithm: token_bucket, requests_per_unit: 10000, on_store_failure: allow }
";
pub(super) const REQUESTS: u32 = 40;

/// The required property of the answers during the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The store decided all of them.
    Decided,
    /// Fallback answers, except for decisions made before the fault was noticed. A fallback answer charges nothing.
    FallbackUncharged,
    /// As above, but a request whose reply was lost may be charged once.
    FallbackChargedOnce,
}

pub(super) struct Trial {
    pub(super) redis: Redis,
    pub(super) proxy: Proxy,
    pub(super) tollgate: Tollgate,
    pub(super) asker: Asker,
}

pub(super) struct Aftermath {
    decided: u32,
    by_fallback: u32,
    unanswered: u32,
    charged: u32,
    /// The most that a single request was charged.
    most_charged: u32,
    healed: Duration,
    slowest: Duration,
}

// === impl Trial ===

impl Trial {
    pub(super) async fn start() -> Result<Trial, FaultsError> {
        let redis = Redis::start().await?;
        let proxy = Proxy::start(redis.addr())
            .await
            .map_err(|source| FaultsError::Io { what: "the proxy cannot listen".to_owned(), source })?;
        // Long enough that a busy machine is no fault, shorter than the faults.
        let args = ["--store-deadline", "100ms"];
        let serve = Serve::new(limits_file("replies", LIMITS)?).store(proxy.url()).args(&args);
        let tollgate = Tollgate::start(&serve).await?;
        let mut asker = Asker::connect(tollgate.grpc()).await?;
        asker.until_store("user", "u").await?;
        Ok(Trial { redis, proxy, tollgate, asker })
    }

    /// A bucket for each request, so that each shows how often it was charged; for about half a second.
    pub(super) async fn ask(&mut self) -> (Vec<Answer>, Duration) {
        let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
        for number in 0..REQUESTS {
            let asked = Instant::now();
            answers.push(self.asker.ask("user", &number.to_string()).await);
            slowest = slowest.max(asked.elapsed());
            sleep(Duration::from_millis(10)).await;
        }
        (answers, slowest)
    }

    pub(super) async fn aftermath(
        &mut self,
        (answers, slowest): (Vec<Answer>, Duration),
    ) -> Result<Aftermath, FaultsError> {
        let healed = self.asker.until_store("user", "u").await?;
        let (mut charged, mut most_charged) = (0, 0);
        for number in 0..REQUESTS {
            let of_request = match self.asker.ask("user", &number.to_string()).await {
                // This question included.
                Answer::Admitted { remaining } => BURST - remaining - 1,
                other => {
                    return Err(FaultsError::Unreadable(format!("asked for what was charged: {other:?}")));
                }
            };
            charged += of_request;
            most_charged = of_request.max(most_charged);
        }
        let count = |is: fn(&Answer) -> bool| {
            u32::try_from(answers.iter().filter(|answer| is(answer)).count()).unwrap_or(u32::MAX)
        };
        Ok(Aftermath {
            decided: count(|answer| matches!(answer, Answer::Admitted { .. } | Answer::Denied { .. })),
            by_fallback: count(|answer| matches!(answer, Answer::Fallback { .. })),
            unanswered: count(|answer| matches!(answer, Answer::None)),
            charged,
            most_charged,
            healed,
            slowest,
        })
    }
}

impl Aftermath {
    pub(super) fn row(&self, fault: &str, reaction: Reaction) -> Row {
        let Aftermath { decided, by_fallback, unanswered, charged, most_charged, healed, slowest } = self;
        let (promise, is_so) = match reaction {
            Reaction::Decided => (
                "sent again, since nothing ran: no fallback answer, charged once",
                *by_fallback == 0 && charged == decided && *most_charged == 1,
            ),
            Reaction::FallbackUncharged => (
                "fallback answers, quickly; what was refused is not charged; back within 1 s",
                *by_fallback > 0 && charged == decided,
            ),
            Reaction::FallbackChargedOnce => (
                "fallback answers, within 300 ms each (the deadline is 100); none is charged twice; back within 1 s",
                *by_fallback > 0 && charged >= decided && *most_charged <= 1,
            ),
        };
        let is_quick = *slowest <= Duration::from_millis(300) && *healed <= Duration::from_secs(1);
        Row::new(fault)
            .promised(promise)
            .measured(format!(
                "{decided} decided, {by_fallback} by fallback, {charged} charged, none more than {most_charged} times; \
                 slowest {} ms; back after {:.2} s",
                slowest.as_millis(),
                healed.as_secs_f64()
            ))
            .kept_if(is_so && is_quick && *unanswered == 0)
    }
}
