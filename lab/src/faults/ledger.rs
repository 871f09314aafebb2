//! Clients that never pause on many keys, and what each bucket holds afterwards against what they were answered.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::clock::Clock;
use tollgate_core::limit::{Limit, Unit};

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
};
use crate::tollgate::{Serve, Tollgate};

/// No bucket gets a token back within five minutes, so the tokens left show how many hits were charged.
const BURST: u32 = 100_000;
const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: year, algorithm: token_bucket, requests_per_unit: 100000, on_store_failure: allow }
";
const CLIENTS: u32 = 32;
const KEYS: u32 = 1_024;
/// Longer than a busy machine is late, so that silence means a fault.
const DEADLINE: &str = "500ms";
/// Before the fault, and after it.
const UNDISTURBED: Duration = Duration::from_millis(500);
const READ_TRIES: u32 = 500;

/// The required property of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// All are decided, and the buckets hold exactly what was answered.
    Exact,
    /// The same, but some may be refused, which charges nothing, for a second.
    ExactButRefused,
    /// Fallback answers for this time at most. A request whose reply was lost may be charged, and what the new master
    /// had not received when the old one went is admitted once more: of a batch at most where only the process went.
    Replaced(Duration),
    /// Fallback answers for this time at most. What was under way may be charged; nothing is admitted twice.
    Late(Duration),
}

struct Visit {
    number: u32,
    start_us: u64,
    end_us: u64,
    answer: Answer,
}

/// What was answered during a fault, and what was charged.
pub(super) struct Ledger {
    visits: Vec<Visit>,
    /// Takes that the buckets hold and nobody was told of, and those that were told and no bucket holds.
    more: u32,
    fewer: u32,
    fault_us: u64,
}

pub(super) fn limit() -> Limit {
    Limit::new(BURST, Unit::Year, None).expect("sound")
}

/// The value that a client asks for.
pub(super) fn value(number: u32) -> String {
    format!("user-{number}")
}

/// Starts Tollgate on this store, and does this to the store while clients ask.
pub(super) async fn of(
    store: &str,
    disturb: impl AsyncFnOnce() -> Result<(), FaultsError>,
) -> Result<Ledger, FaultsError> {
    let serve = Serve::new(limits_file("ledger", LIMITS)?).store(store);
    let tollgate = Tollgate::start(&serve.args(&["--store-deadline", DEADLINE])).await?;
    let mut asker = Asker::connect(tollgate.grpc()).await?;
    // Each master is reached by now.
    for number in 0..64 {
        asker.until_store("user", &format!("warm-{number}")).await?;
    }
    let (clock, stop) = (Clock::start(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let asker = Asker::connect(tollgate.grpc()).await?;
        clients.spawn(ask(asker, client, clock, Arc::clone(&stop)));
    }
    sleep(UNDISTURBED).await;
    let fault_us = clock.now_us();
    disturb().await?;
    sleep(UNDISTURBED).await;
    stop.store(true, Ordering::Relaxed);
    let visits = clients.join_all().await.into_iter().flatten().collect::<Vec<Visit>>();
    let mut told: HashMap<u32, u32> = HashMap::new();
    for visit in visits.iter().filter(|visit| matches!(visit.answer, Answer::Admitted { .. })) {
        *told.entry(visit.number).or_default() += 1;
    }
    let (mut more, mut fewer) = (0, 0);
    for number in 0..KEYS {
        let (held, told) = (held(&mut asker, number).await?, told.get(&number).copied().unwrap_or(0));
        more += held.saturating_sub(told);
        fewer += told.saturating_sub(held);
    }
    Ok(Ledger { visits, more, fewer, fault_us })
}

async fn ask(mut asker: Asker, client: u32, clock: Clock, stop: Arc<AtomicBool>) -> Vec<Visit> {
    let mut visits = Vec::new();
    let mut own = (client..KEYS).step_by(CLIENTS as usize).cycle();
    while let (false, Some(number)) = (stop.load(Ordering::Relaxed), own.next()) {
        let start_us = clock.now_us();
        let answer = asker.ask("user", &value(number)).await;
        visits.push(Visit { number, start_us, end_us: clock.now_us(), answer });
        if let Answer::Fallback { .. } | Answer::None = answer {
            // Fallback answers are so fast that they would leave the others no CPU.
            sleep(Duration::from_millis(5)).await;
        }
    }
    visits
}

/// How many hits a bucket holds. A question that the store does not answer charges nothing, and is put again.
async fn held(asker: &mut Asker, number: u32) -> Result<u32, FaultsError> {
    for _ in 0..READ_TRIES {
        if let Answer::Admitted { remaining } = asker.ask("user", &value(number)).await {
            // This question included.
            return Ok(BURST - remaining - 1);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(FaultsError::Unreadable(format!("the store does not say what {} has left", value(number))))
}

// === impl Ledger ===

impl Ledger {
    fn count(&self, is_so: impl Fn(&Answer) -> bool) -> usize {
        self.visits.iter().filter(|visit| is_so(&visit.answer)).count()
    }

    /// The users who got fallback answers.
    pub(super) fn by_fallback(&self) -> impl Iterator<Item = u32> {
        let is_fallback = |visit: &&Visit| matches!(visit.answer, Answer::Fallback { .. });
        self.visits.iter().filter(is_fallback).map(|visit| visit.number)
    }

    /// From the fault until the last fallback answer.
    fn recovered_after(&self) -> Duration {
        let last = self.visits.iter().filter(|visit| matches!(visit.answer, Answer::Fallback { .. }));
        let last_us = last.map(|visit| visit.end_us).max().unwrap_or(0);
        Duration::from_micros(last_us.saturating_sub(self.fault_us))
    }

    pub(super) fn row(&self, fault: impl Into<String>, promise: Promise) -> Row {
        let Ledger { more, fewer, .. } = self;
        let decided = self.count(|answer| matches!(answer, Answer::Admitted { .. }));
        let fallback = self.by_fallback().count();
        let others = self.visits.len() - decided - fallback;
        let took_us = self.visits.iter().map(|visit| visit.end_us - visit.start_us).max().unwrap_or(0);
        let back = self.recovered_after();
        let is_exact = (*more, *fewer) == (0, 0);
        // A fallback answer may stand for a take whose reply was lost.
        let is_explained = usize::try_from(*more).is_ok_and(|more| more <= fallback);
        let (words, is_so) = match promise {
            Promise::Exact => (
                "all are decided; each bucket holds exactly what was answered".to_owned(),
                is_exact && fallback == 0,
            ),
            Promise::ExactButRefused => (
                "each bucket holds exactly what was answered; fallback answers for a second at most"
                    .to_owned(),
                is_exact && back <= Duration::from_secs(1),
            ),
            Promise::Replaced(within) => (
                format!(
                    "fallback answers for {} s at most; a take without a reply may be charged; where only the \
                     process went, at most {CLIENTS} takes are admitted once more",
                    within.as_secs()
                ),
                is_explained && *fewer <= CLIENTS && back <= within,
            ),
            Promise::Late(within) => (
                format!(
                    "fallback answers for its keys alone, for {} s at most; what was under way may be charged, \
                     nothing is admitted twice",
                    within.as_secs()
                ),
                is_explained && *fewer == 0 && fallback > 0 && back <= within,
            ),
        };
        Row::new(fault)
            .promised(words)
            .measured(format!(
                "{decided} decided, {fallback} by fallback; the buckets hold {more} takes more and {fewer} fewer than \
                 was answered; longest wait {} ms; {}",
                took_us / 1_000,
                if fallback == 0 {
                    "never away".to_owned()
                } else {
                    format!("all decided again after {:.2} s", back.as_secs_f64())
                }
            ))
            .kept_if(is_so && others == 0 && decided > 1_000)
    }
}
