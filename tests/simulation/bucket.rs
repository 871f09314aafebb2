//! The buckets of a run, and their limits. Replicas may disagree about a limit, and reloads change it.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};

use tollgate_core::{
    descriptor::BucketKey,
    limit::{AfterStoreLoss, Limit, LimitSpec, Unit},
};

/// The number of limits of one bucket. A replica has one of them at a time.
pub(super) const EDITIONS: usize = 3;
const COLD: usize = 500;

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) key: BucketKey,
    /// They have the same period and different numbers. A limit of 0 denies everything.
    pub(super) limits: [Limit; EDITIONS],
    /// Whether clients give back hits.
    pub(super) refunds: bool,
}

impl Bucket {
    pub(super) fn is_guarded(&self) -> bool {
        self.limits[0].after_store_loss() == AfterStoreLoss::Empty
    }
}

/// The hot ones come first and have bursts small enough for an audit of every hit; the cold ones have any limit.
pub(super) fn buckets(rng: &mut SmallRng, hot: usize, refunds: f64) -> Vec<Bucket> {
    let hot_limits = [
        (10, Unit::Second, 1),
        (7, Unit::Second, 7),
        (3, Unit::Second, 1),
        (100, Unit::Second, 20),
        (999, Unit::Second, 1),
        (1_000_003, Unit::Day, 5),
        (60, Unit::Minute, 10),
        (1, Unit::Hour, 2),
        (49_999, Unit::Minute, 3),
    ];
    let cold_limits = [
        (7, Unit::Second, 1),
        (u32::MAX, Unit::Minute, 2),
        (u32::MAX, Unit::Second, u32::MAX),
        (1, Unit::Year, 71),
        (0, Unit::Hour, 0),
        (11, Unit::Minute, 3),
    ];
    (0..hot + COLD)
        .map(|number| {
            let limits = if number < hot { &hot_limits[..] } else { &cold_limits[..] };
            let &(requests_per_unit, unit, burst) = limits.choose(rng).expect("one");
            let after_store_loss = *AfterStoreLoss::ALL.choose(rng).expect("one");
            let burst = Some(burst);
            let spec = LimitSpec { after_store_loss, burst, ..LimitSpec::new(requests_per_unit, unit) };
            let first = spec.check().expect("sound");
            let refunds = rng.random_bool(refunds);
            // A guarded bucket that a refund filled is kept for the time that its own burst takes to fill, even if a
            // limit that takes longer is configured meanwhile.
            let is_one = refunds && after_store_loss == AfterStoreLoss::Empty;
            let mut limits = [(); EDITIONS].map(|()| first.clone());
            for limit in limits[1..].iter_mut().filter(|_| !is_one) {
                *limit = other(rng, spec).check().unwrap_or(first.clone());
            }
            Bucket { key: key(number), limits, refunds }
        })
        .collect()
}

/// Another burst, another rate, or both; sometimes the same, or a limit of 0.
fn other(rng: &mut SmallRng, spec: LimitSpec) -> LimitSpec {
    let (requests, burst) = (spec.requests_per_unit, spec.burst.unwrap_or(0));
    let requests_per_unit = match rng.random_range(0..10) {
        0..5 => requests,
        5 => requests / 2,
        6 | 7 => rng.random_range(1..=200),
        8 => requests.saturating_mul(2),
        _ => *[0, requests].choose(rng).expect("one"),
    };
    let burst = if rng.random_bool(0.5) { burst } else { rng.random_range(0..=burst.saturating_mul(2)) };
    let burst = if requests_per_unit == 0 { 0 } else { burst.max(1) };
    LimitSpec { requests_per_unit, burst: Some(burst), ..spec }
}

/// The key contains only the bucket's number.
fn key(bucket: usize) -> BucketKey {
    BucketKey::from_bytes(u128::try_from(bucket).expect("a count").to_le_bytes())
}

pub(super) fn number_of(key: &BucketKey) -> usize {
    usize::try_from(u128::from_le_bytes(*key.digest())).expect("made from a count")
}
