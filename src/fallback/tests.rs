use std::{num::NonZeroU32, sync::Arc};

use proptest::{prop_assert, prop_assert_eq, proptest, sample};

use super::{Fallback, FallbackAnswer, Local, Source};
use tollgate_core::{
    applied::{AppliedLimit, Figures, LimitRef},
    decision::{Demand, Enforcement, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Limit, LimitSpec, Overdraft, Unit},
    matcher::{LimitIndex, RuleLimit},
    rules::OnStoreFailure,
};

const ONE: Hits = Hits::Take(1);

fn daily(burst: u32) -> Limit {
    Limit::new(10, Unit::Day, Some(burst)).unwrap()
}

fn take(number: u8, limit: &Limit, enforcement: Enforcement) -> Take {
    Take {
        key: BucketKey::from_bytes([number; 16]),
        demand: Demand::new(ONE, limit).enforcement(enforcement),
    }
}

fn fallback(replicas: u32, most_buckets: usize) -> Fallback {
    let local = Local::new(most_buckets, Box::new(move || NonZeroU32::new(replicas)));
    Fallback { default: OnStoreFailure::Local, local: Arc::new(local) }
}

/// The limit of ten a day, as it applies to a request for one hit of this bucket.
fn applied(number: u8, mode: Option<OnStoreFailure>, enforcement: Enforcement) -> AppliedLimit<'static> {
    let limit = RuleLimit::new(LimitIndex::Configured(0), "edge", "user", daily(10));
    let limit = RuleLimit { on_store_failure: mode, ..limit };
    let take = take(number, &limit.limit, enforcement);
    let limit = LimitRef::Requested(Arc::new(limit));
    AppliedLimit { descriptor: 0, limit, enforcement, hits: ONE, overdraft: Overdraft::Never, take }
}

/// A fallback answer for limits of these modes and enforcements, each with a bucket of its own.
fn answer(fallback: &Fallback, limits: &[(OnStoreFailure, Enforcement)]) -> FallbackAnswer {
    let limits: Vec<_> = (0..).zip(limits).map(|(n, (mode, kind))| applied(n, Some(*mode), *kind)).collect();
    fallback.answer(&limits, |_| false)
}

fn verdict(fallback: &Fallback, limits: &[(OnStoreFailure, Enforcement)]) -> (Option<Verdict>, Source) {
    let answer = answer(fallback, limits);
    (answer.verdict, answer.source)
}

#[test]
fn deny_comes_before_error_before_local_and_allow() {
    use OnStoreFailure::{Allow, Deny, Error, Local};
    let enforced = |modes: &[OnStoreFailure]| {
        let limits: Vec<_> = modes.iter().map(|mode| (*mode, Enforcement::Enforced)).collect();
        verdict(&fallback(1, 100), &limits)
    };
    assert_eq!(enforced(&[Allow]), (Some(Verdict::Allow), Source::Allow));
    assert_eq!(enforced(&[Allow, Local]), (Some(Verdict::Allow), Source::Local));
    assert_eq!(enforced(&[Local, Error, Allow]), (None, Source::Error));
    assert_eq!(enforced(&[Local, Error, Deny, Allow]), (Some(Verdict::Deny), Source::Deny));
}

#[test]
fn a_shadow_denies_nothing_and_quotas_deny_only_together() {
    use Enforcement::{Enforced, Quota, Shadow};
    use OnStoreFailure::{Allow, Deny, Local};
    let fallback = fallback(1, 100);
    assert_eq!(
        verdict(&fallback, &[(Deny, Shadow), (Allow, Enforced)]),
        (Some(Verdict::Allow), Source::Allow)
    );
    assert_eq!(verdict(&fallback, &[(Deny, Quota), (Allow, Quota)]), (Some(Verdict::Allow), Source::Allow));
    assert_eq!(verdict(&fallback, &[(Deny, Quota), (Deny, Quota)]), (Some(Verdict::Deny), Source::Deny));
    assert_eq!(verdict(&fallback, &[(Deny, Quota), (Local, Quota)]), (Some(Verdict::Allow), Source::Local));
}

#[test]
fn local_answers_as_error_until_the_replicas_are_known_and_where_there_is_no_room() {
    let local = [(OnStoreFailure::Local, Enforcement::Enforced)];
    assert_eq!(verdict(&fallback(0, 100), &local), (None, Source::Error));
    let without_room = answer(&fallback(1, 0), &local);
    assert_eq!((without_room.verdict, without_room.source), (None, Source::Error));
    let [(source, Figures { verdict, .. })] = without_room.limits[..] else { panic!("{without_room:?}") };
    assert_eq!((source, verdict), (Source::Error, Verdict::Deny));
}

#[test]
fn a_shadow_or_a_quota_without_room_for_its_bucket_takes_nothing_from_its_request() {
    // There is room for one bucket in each of 64 shards, and both of these belong into the same one.
    let both = |enforcements: [Enforcement; 2]| {
        let fallback = fallback(1, 64);
        let limits = [applied(5, None, enforcements[0]), applied(9, None, enforcements[1])];
        assert_eq!(fallback.answer(&limits[..1], |_| false).verdict, Some(Verdict::Allow));
        let answers: Vec<_> = (0..10).map(|_| fallback.answer(&limits, |_| false)).collect();
        let verdicts: Vec<_> = answers.iter().map(|answer| answer.verdict).collect();
        assert_eq!(verdicts[..9], [Some(Verdict::Allow); 9], "{enforcements:?}");
        assert_eq!(verdicts[9], Some(Verdict::Deny), "{enforcements:?}");
        assert!(answers.iter().all(|answer| answer.limits[1].0 == Source::Error), "{enforcements:?}");
        assert_eq!(fallback.local.len(), 1, "the other one has no room");
    };
    both([Enforcement::Enforced, Enforcement::Shadow]);
    both([Enforcement::Quota, Enforcement::Quota]);
}

#[test]
fn local_members_are_charged_only_if_the_request_is_allowed() {
    let fallback = fallback(1, 100);
    let limits =
        [(OnStoreFailure::Local, Enforcement::Enforced), (OnStoreFailure::Deny, Enforcement::Enforced)];
    assert_eq!(answer(&fallback, &limits).verdict, Some(Verdict::Deny));
    assert!(fallback.local.is_empty());
}

#[test]
fn a_local_bucket_hands_out_no_burst_when_numbers_or_the_replicas_change() {
    // Shares whose rates have other fractions of a microsecond, and one that takes the same time to fill.
    let limit = |requests, burst| Limit::new(requests, Unit::Hour, Some(burst)).unwrap();
    let local = Local::new(100, Box::new(|| None));
    let now_us = 1_800_000_000_000_000;
    let passes = |limit: &Limit, replicas| {
        let take = take(1, &limit.share(replicas).unwrap(), Enforcement::Enforced);
        (0..1_000)
            .filter(|_| local.take_at(&[take], |_| false, now_us).unwrap().verdict == Verdict::Allow)
            .count()
    };
    assert_eq!(passes(&limit(70, 70), 2), 35);
    let after = [(70, 70, 1), (70, 70, 3), (110, 110, 2), (7, 7, 7), (500, 500, 1)];
    let after = after.map(|(requests, burst, replicas)| passes(&limit(requests, burst), replicas));
    assert_eq!(after, [0; 5]);
    assert_eq!(passes(&limit(70, 105), 2), 17, "half an hour more: 35 hits of 70 an hour, by half");
}

#[test]
fn a_share_of_less_than_one_hit_denies() {
    let local = [(OnStoreFailure::Local, Enforcement::Enforced)];
    assert_eq!(verdict(&fallback(11, 100), &local), (Some(Verdict::Deny), Source::Local));
}

#[test]
fn a_bucket_that_the_store_was_seen_to_have_no_room_for_starts_empty() {
    let fallback = fallback(1, 100);
    let limits = [applied(1, None, Enforcement::Enforced)];
    let ask = |is_known_empty| fallback.answer(&limits, |_| is_known_empty).verdict;
    assert_eq!(ask(true), Some(Verdict::Deny));
    assert_eq!(ask(false), Some(Verdict::Deny), "and is kept");
}

proptest! {
    #[test]
    fn the_shares_of_all_replicas_are_never_more_than_the_limit(
        algorithm in sample::select(Algorithm::ALL.to_vec()),
        requests in 1..10_000_u32, burst in 1..10_000_u32, replicas in 1..20_u32, hits in 1..200_u64,
    ) {
        let burst = (algorithm == Algorithm::TokenBucket).then_some(burst);
        let limit = LimitSpec { algorithm, burst, ..LimitSpec::new(requests, Unit::Hour) }.check().unwrap();
        let Some(share) = limit.share(replicas) else {
            prop_assert!(limit.burst() < replicas);
            return Ok(());
        };
        prop_assert!(u64::from(share.burst()) * u64::from(replicas) <= u64::from(limit.burst()));
        prop_assert!(share.burst() == limit.burst() / replicas);
        if algorithm == Algorithm::TokenBucket {
            // A share refills exactly N times as slowly, to the fraction of a microsecond.
            let hits = hits.min(u64::from(share.burst()));
            let (slow, quick) = (share.cost(hits), limit.cost(hits));
            let ticks = |time: tollgate_core::limit::Exact, per_us: u32| {
                (u128::from(time.whole_us) * u128::from(per_us) + u128::from(time.fraction), u128::from(per_us))
            };
            let ((slow, slow_per), (quick, quick_per)) =
                (ticks(slow, share.per_us()), ticks(quick, limit.per_us()));
            prop_assert_eq!(slow * quick_per, quick * slow_per * u128::from(replicas));
        } else {
            prop_assert_eq!(share.period(), limit.period());
        }
    }
}
