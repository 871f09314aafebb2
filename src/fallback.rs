//! What is answered when the store has no answer: local, allow, deny, or an error.
//!
//! Everything below this module may fail; the limiter above it gets fallback answers, each with its source, never an
//! error of the store. Each limit says which fallback answer it wants; one that says nothing gets the process's default.
//! In a request that mixes them deny comes before error before local and allow, and local buckets are charged
//! only if the request is allowed.

pub mod local;

use std::sync::Arc;

use crate::store::memory::Full;
use local::{Local, LocalTake};
use tollgate_core::{
    decision::{Answer, Demand, Enforcement, Source, Take, Verdict},
    descriptor::Hits,
    limit::Limit,
    rules::OnStoreFailure,
};

/// What a denying fallback answer tells the client to wait.
pub const FALLBACK_WAIT_US: u64 = 1_000_000;

/// How one runtime answers for its store.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// For limits that do not say.
    pub default: OnStoreFailure,
    pub local: Arc<Local>,
}

/// A limit of a request that the store did not answer.
#[derive(Debug)]
pub struct Asking<'a> {
    pub limit: &'a Limit,
    /// What the limit says.
    pub mode: Option<OnStoreFailure>,
    pub take: &'a Take,
    pub hits: Hits,
    /// Memory knows that the store had no room for it.
    pub is_known_empty: bool,
}

/// The fallback answer for one request.
#[derive(Debug)]
pub struct FallbackAnswer {
    /// None: there is none, and the caller is told so.
    pub verdict: Option<Verdict>,
    /// Of what made the verdict.
    pub source: Source,
    /// For each limit, in their order.
    pub limits: Vec<LimitGuess>,
    /// What the local buckets said, in the order of those limits that asked one; none if none was asked.
    pub answer: Option<Answer>,
}

/// The fallback answer for one limit.
#[derive(Debug)]
pub enum LimitGuess {
    /// By its mode alone: allow fits; deny, and local with less than one hit to share out, do not.
    Fits(Source),
    Unfit(Source),
    /// Its mode is error, or local while nobody knows how many replicas share the limit, or without room for its
    /// bucket.
    Unknown,
    /// A local bucket, which holds this share of the limit.
    Asks(Limit),
}

// === impl Fallback ===

impl Fallback {
    /// Guesses for a request that asks for these, at an instant of the local buckets' clock.
    pub fn guess(&self, asking: &[Asking<'_>]) -> FallbackAnswer {
        let mut limits: Vec<LimitGuess> = asking.iter().map(|asking| self.of_limit(asking)).collect();
        loop {
            if let Some((verdict, source)) = settled(asking, &limits) {
                return FallbackAnswer { verdict, source, limits, answer: None };
            }
            let takes = local_takes(asking, &limits);
            if takes.is_empty() {
                return FallbackAnswer {
                    verdict: Some(Verdict::Allow),
                    source: Source::Allow,
                    limits,
                    answer: None,
                };
            }
            match self.local.take(&takes) {
                Ok(answer) => {
                    let (verdict, source) = (Some(answer.verdict), Source::Local);
                    return FallbackAnswer { verdict, source, limits, answer: Some(answer) };
                }
                // For these local means error; the others may not need them.
                Err(Full { takes }) => {
                    let asks = limits.iter_mut().filter(|guess| matches!(guess, LimitGuess::Asks(_)));
                    let without_room = asks.enumerate().filter(|(place, _)| takes.contains(place));
                    without_room.for_each(|(_, guess)| *guess = LimitGuess::Unknown);
                }
            }
        }
    }

    fn of_limit(&self, asking: &Asking<'_>) -> LimitGuess {
        match asking.mode.unwrap_or(self.default) {
            OnStoreFailure::Allow => LimitGuess::Fits(Source::Allow),
            OnStoreFailure::Deny => LimitGuess::Unfit(Source::Deny),
            OnStoreFailure::Error => LimitGuess::Unknown,
            OnStoreFailure::Local => match self.local.replicas() {
                None => LimitGuess::Unknown,
                Some(replicas) => {
                    let share = asking.limit.share(replicas.get());
                    share.map_or(LimitGuess::Unfit(Source::Local), LimitGuess::Asks)
                }
            },
        }
    }
}

/// The verdict, if no local bucket has to be asked for it.
fn settled(asking: &[Asking<'_>], limits: &[LimitGuess]) -> Option<(Option<Verdict>, Source)> {
    let of = |enforcement| {
        let all = asking
            .iter()
            .zip(limits)
            .filter(move |(asking, _)| asking.take.demand.enforcement == enforcement);
        all.map(|(_, guess)| guess)
    };
    let unfit = |guess: &LimitGuess| match guess {
        LimitGuess::Unfit(source) => Some(*source),
        _ => None,
    };
    let is_unknown = |guess: &LimitGuess| matches!(guess, LimitGuess::Unknown);
    let denies = |source| Some((Some(Verdict::Deny), source));
    if of(Enforcement::Enforced).filter_map(unfit).any(|source| source == Source::Deny) {
        return denies(Source::Deny);
    }
    if of(Enforcement::Enforced).any(is_unknown) {
        return Some((None, Source::Error));
    }
    if let Some(source) = of(Enforcement::Enforced).find_map(unfit) {
        return denies(source);
    }
    let is_open = |guess: &LimitGuess| matches!(guess, LimitGuess::Fits(_) | LimitGuess::Asks(_));
    if of(Enforcement::Quota).any(is_open) {
        return None;
    }
    if of(Enforcement::Quota).any(is_unknown) {
        return Some((None, Source::Error));
    }
    of(Enforcement::Quota).find_map(unfit).and_then(denies)
}

fn local_takes(asking: &[Asking<'_>], limits: &[LimitGuess]) -> Vec<LocalTake> {
    let fitting_quota = |(asking, guess): (&Asking<'_>, &LimitGuess)| {
        asking.take.demand.enforcement == Enforcement::Quota && matches!(guess, LimitGuess::Fits(_))
    };
    let a_quota_fits = asking.iter().zip(limits).any(fitting_quota);
    let take = |(asking, guess): (&Asking<'_>, &LimitGuess)| {
        let LimitGuess::Asks(share) = guess else { return None };
        let enforcement = match asking.take.demand.enforcement {
            Enforcement::Quota if a_quota_fits => Enforcement::Shadow,
            enforcement => enforcement,
        };
        let demand = Demand::new(asking.hits, share).enforcement(enforcement);
        Some(LocalTake { take: Take { key: asking.take.key, demand }, is_known_empty: asking.is_known_empty })
    };
    asking.iter().zip(limits).filter_map(take).collect()
}

#[cfg(test)]
mod tests;
