//! A client whose request never fits is told not to come back every second.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{Limited, ONE, decide};
use crate::{
    fallback::{Fallback, Source, local::Local},
    limiter::{Decision, Limiter},
    store::Backend,
};
use tollgate_core::{
    decision::Verdict,
    descriptor::Hits,
    limit::{Algorithm, Limit, LimitSpec, Overdraft, Unit},
    matcher::Matcher,
    rules::{Domain, OnStoreFailure, Pattern},
};

const MINUTE_US: u64 = 60_000_000;
const SECOND_US: u64 = 1_000_000;

fn limit(requests_per_unit: u32, unit: Unit, algorithm: Algorithm) -> Limit {
    LimitSpec { algorithm, ..LimitSpec::new(requests_per_unit, unit) }.check().unwrap()
}

/// A limiter of one of three replicas, in memory or without a store, with one limit for `user`.
fn limited(limit: Limit, backend: &Backend, on_store_failure: OnStoreFailure) -> Limited {
    let descriptors = vec![Pattern::with_limit("user", None, limit)];
    let domain = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
    let local = Local::new(1_000, Box::new(|| NonZeroU32::new(3)));
    let fallback = Fallback { default: on_store_failure, local: Arc::new(local) };
    let limiter = Limiter::new(backend.open(Duration::from_secs(1)), fallback);
    Limited { limiter, matcher: Matcher::new(vec![domain]) }
}

async fn asked(limited: &Limited, hits: Hits) -> Decision<'_> {
    let mut outcome = decide(limited, &[("user", "u", hits)]).await;
    assert_eq!(outcome.verdict, Some(Verdict::Deny));
    outcome.decisions.remove(0)
}

#[tokio::test]
async fn what_never_fits_is_told_the_longer_of_its_period_and_a_minute_however_it_is_counted() {
    let memory = Backend::memory(1_000);
    for algorithm in Algorithm::ALL {
        for (unit, wait_us) in [
            (Unit::Second, MINUTE_US),
            (Unit::Minute, MINUTE_US),
            (Unit::Hour, 60 * MINUTE_US),
            (Unit::Day, 24 * 60 * MINUTE_US),
        ] {
            // One hit, and a peek, with a burst of 0; and more than the burst, of a full bucket and of one in use.
            for (requests, before, hits) in [
                (0, None, ONE),
                (0, None, Hits::Peek),
                (2, None, Hits::Take(3)),
                (2, Some(ONE), Hits::Take(9)),
            ] {
                let limited = limited(limit(requests, unit, algorithm), &memory, OnStoreFailure::Error);
                if let Some(before) = before {
                    decide(&limited, &[("user", "u", before)]).await;
                }
                let decision = asked(&limited, hits).await;
                assert_eq!(
                    (decision.never_fits, decision.reset_us),
                    (true, wait_us),
                    "{hits:?} of {requests} a {unit}, {algorithm:?}"
                );
            }
        }
    }
}

/// The time that the bucket takes to fill does not matter, since the request does not fit a full one either.
#[tokio::test]
async fn what_never_fits_is_told_no_more_where_the_bucket_takes_longer_to_fill() {
    for overdraft in Overdraft::ALL {
        let burst = Some(1_000);
        let slow = LimitSpec { burst, overdraft, ..LimitSpec::new(1, Unit::Second) }.check().unwrap();
        let limited = limited(slow, &Backend::memory(1_000), OnStoreFailure::Error);
        decide(&limited, &[("user", "u", Hits::Take(1_000))]).await;
        let decision = asked(&limited, Hits::Take(1_001)).await;
        assert_eq!((decision.never_fits, decision.reset_us), (true, MINUTE_US), "{overdraft:?}");
    }
}

#[tokio::test]
async fn without_a_store_too_what_never_fits_is_told_so() {
    // Nothing listens on port 1 of loopback.
    let nowhere = Backend::parse("redis://127.0.0.1:1").unwrap();
    for algorithm in Algorithm::ALL {
        for on_failure in [OnStoreFailure::Deny, OnStoreFailure::Local] {
            for (requests, hits) in [(0, ONE), (9, Hits::Take(10))] {
                let limited = limited(limit(requests, Unit::Second, algorithm), &nowhere, on_failure);
                let decision = asked(&limited, hits).await;
                assert!(decision.source.is_fallback_answer(), "{:?}", decision.source);
                assert_eq!(
                    (decision.never_fits, decision.reset_us),
                    (true, MINUTE_US),
                    "{hits:?} of {requests}, {algorithm:?}, {on_failure:?}"
                );
            }
        }
    }
}

/// The local bucket holds a third of the limit.
#[tokio::test]
async fn what_does_not_fit_a_share_fits_when_the_store_is_back_and_is_told_a_second() {
    let nowhere = Backend::parse("redis://127.0.0.1:1").unwrap();
    for algorithm in Algorithm::ALL {
        let limited = limited(limit(9, Unit::Hour, algorithm), &nowhere, OnStoreFailure::Local);
        let decision = asked(&limited, Hits::Take(4)).await;
        assert_eq!((decision.source, decision.never_fits), (Source::Local, false), "{algorithm:?}");
        assert_eq!(decision.reset_us, SECOND_US, "{algorithm:?}");
    }
}
