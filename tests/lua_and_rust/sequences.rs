//! Random takes at random times.

use rand::{Rng, RngExt, rngs::SmallRng, seq::IndexedRandom};
use tollgate_core::{
    decision::{Demand, Enforcement, Take},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Overdraft, Period, Unit, Windows},
};

/// Far in the future, since Redis does not store a key whose expiry has passed.
pub(crate) const START_US: u64 = 4_000_000_000_000_000;

/// Requests and their times, which may step back.
pub(crate) type Sequence = Vec<(u64, Vec<Take>)>;

/// Up to 12 requests of up to 4 takes over 3 buckets. Each bucket has one limit, or several with different numbers,
/// as when they change or replicas disagree.
pub(crate) fn sequence(rng: &mut SmallRng, number: u64) -> Sequence {
    let limits: Vec<Vec<LimitSpec>> = (0..3).map(|_| limits(rng)).collect();
    let mut now_us = START_US;
    let mut earlier: Vec<(u64, Take)> = Vec::new();
    (0..rng.random_range(1..=12))
        .map(|_| {
            now_us = step(rng, now_us, &limits[0][0].check().expect("sound"));
            let takes: Vec<Take> = (0..rng.random_range(1..=4))
                .map(|_| match earlier.choose(rng) {
                    Some(&(taken_us, take)) if rng.random_bool(0.2) => undo(rng, taken_us, take),
                    _ => take(rng, number, &limits),
                })
                .collect();
            earlier.extend(
                takes.iter().filter(|take| gives_back(&limits[index_of(take)])).map(|take| (now_us, *take)),
            );
            (now_us, takes)
        })
        .collect()
}

/// The last byte of a key is the number of its bucket.
fn index_of(take: &Take) -> usize {
    usize::from(take.key.digest()[15])
}

/// Undoes an earlier take, whether or not it was charged, or one of about that time.
fn undo(rng: &mut SmallRng, taken_us: u64, take: Take) -> Take {
    let taken_us = if rng.random_bool(0.8) { taken_us } else { taken_us + rng.random_range(0..3) - 1 };
    Take { demand: take.demand.undo(taken_us), ..take }
}

fn take(rng: &mut SmallRng, sequence: u64, limits: &[Vec<LimitSpec>]) -> Take {
    let index = rng.random_range(0..limits.len());
    let mut bytes = [u8::try_from(index).expect("three buckets"); 16];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    // The same bucket with and without overdraft: a request's own limit has none.
    let overdraft = *[Overdraft::Never, Overdraft::Never, Overdraft::Charge].choose(rng).expect("one");
    let spec = *limits[index].choose(rng).expect("one");
    let limit = LimitSpec { overdraft, ..spec }.check().or_else(|_| spec.check()).expect("sound");
    let burst = u64::from(limit.burst());
    let hits = *[1, 1, 1, 0, burst, burst + 1, burst / 2, 2 * burst, u64::MAX].choose(rng).expect("one");
    let hits = Hits::new(Some(hits), 0, gives_back(&limits[index]) && rng.random_bool(0.1));
    let enforcements =
        [Enforcement::Enforced, Enforcement::Enforced, Enforcement::Quota, Enforcement::Shadow];
    let demand = Demand::new(hits, &limit).enforcement(*enforcements.choose(rng).expect("one"));
    Take { key: BucketKey::from_bytes(bytes), demand }
}

/// A guarded bucket that a refund filled is forgotten at once under limits whose burst would be full by then, and is used
/// up under others. The script still knows it within its call, so its answer may differ.
fn gives_back(limits: &[LimitSpec]) -> bool {
    limits.len() == 1 || limits[0].after_store_loss == AfterStoreLoss::Full
}

fn limits(rng: &mut SmallRng) -> Vec<LimitSpec> {
    let first = limit(rng);
    let more = rng.random_range(0..3);
    let changed = (0..more).map(|_| {
        let requests_per_unit = *[0, 1, 7, 9, 10, 60, 1_000_003, u32::MAX].choose(rng).expect("one");
        let burst = first.burst.map(|burst| *[burst, 1, 2, 7, 100].choose(rng).expect("one"));
        LimitSpec { requests_per_unit, burst: burst.filter(|_| requests_per_unit > 0), ..first }
    });
    let sound: Vec<LimitSpec> = changed.filter(|spec| spec.check().is_ok()).collect();
    [first].into_iter().chain(sound).collect()
}

fn limit(rng: &mut SmallRng) -> LimitSpec {
    let chosen = [
        (7, Unit::Second, 1),
        (7, Unit::Second, 7),
        (10, Unit::Second, 3),
        (1_000_003, Unit::Day, 2),
        (u32::MAX, Unit::Minute, 2),
        (u32::MAX, Unit::Second, u32::MAX),
        (1, Unit::Year, 1),
        (1, Unit::Year, 2),
        (60, Unit::Minute, 4),
        (0, Unit::Hour, 0),
        (5, Unit::Month, 5),
    ];
    let (requests_per_unit, unit, burst) = *chosen.choose(rng).expect("one");
    let period = Period { unit, multiplier: rng.random_range(1..3) };
    let algorithm = *Algorithm::ALL.choose(rng).expect("one");
    let burst = Some(burst).filter(|_| algorithm == Algorithm::TokenBucket);
    let after_store_loss = *AfterStoreLoss::ALL.choose(rng).expect("one");
    let spec = LimitSpec { algorithm, burst, after_store_loss, ..LimitSpec::new(requests_per_unit, period) };
    let calendar = LimitSpec { windows: Windows::CalendarMonth, ..spec };
    let spec = if rng.random_bool(0.5) && calendar.check().is_ok() { calendar } else { spec };
    if spec.check().is_ok() { spec } else { LimitSpec { requests_per_unit: 9, ..spec } }
}

/// Forward by nothing, by about a token's time, or by about the time to full; sometimes back.
fn step(rng: &mut impl Rng, now_us: u64, limit: &Limit) -> u64 {
    let token_us = limit.cost(1).whole_us.max(1);
    match rng.random_range(0..8) {
        0..4 => now_us,
        4 | 5 => now_us + rng.random_range(0..=token_us + 1),
        6 => now_us + limit.worth_of_burst().whole_us + rng.random_range(0..2),
        _ => now_us - rng.random_range(0..=token_us.min(1_000_000_000)),
    }
}
