//! What memory answers, held take by take against what the store would have.

use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest, sample, test_runner::TestCaseError};

use super::{DenialCache, LOCAL_US, STORE_US, Shared, Table, Trip};
use tollgate_core::{
    decision::{self, Demand, Enforcement, Found, Seen, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Limit, LimitSpec, Overdraft, Unit},
};

proptest! {
    /// Two runtimes share what they learn, and the store goes on being asked by others; whatever they do, and under whatever numbers, what memory denies the
    /// store would deny.
    #[test]
    fn memory_never_denies_what_the_store_would_admit(
        bursts in proptest::array::uniform3(1..4_u32),
        steps in proptest::collection::vec(
            (0..120_000_u64, 1..4_u64, 0..4_usize, 0..3_000_u64, sample::select(vec![0, 0, 0, 1, 2])),
            1..60,
        ),
        drift in 0..1_000_u64,
    ) {
        let limit = |index: usize| Limit::new([10, 7, 63][index], Unit::Second, Some(bursts[index])).unwrap();
        let limits = [0, 1, 2].map(limit);
        let (shared, mut table) = (Shared::default(), Table::default());
        let mut caches = [0, 1].map(|_| DenialCache::sharing(&shared));
        let (mut local_us, mut store_us) = (LOCAL_US, STORE_US);
        for (step, hits, by, travels, numbers) in steps {
            local_us += step;
            // The store's clock runs faster than ours, by up to one in a thousand.
            store_us += step + step * drift / 1_000_000;
            let demand = Demand::new(Hits::Take(hits), &limits[numbers]);
            let takes = [Take { key: BucketKey::from_bytes([1; 16]), demand }];
            if caches.iter_mut().any(|cache| cache.denial(&takes, local_us).is_some()) {
                let mut copy = table.clone();
                prop_assert_eq!(decision::decide(&takes, store_us, &mut copy).verdict, Verdict::Deny);
            }
            let answer = decision::decide(&takes, store_us, &mut table);
            if let Some(cache) = caches.get_mut(by) {
                let sent_us = local_us - travels;
                cache.learn(&takes, &answer, Trip { sent_us, arrived_us: local_us + travels });
                local_us += travels;
                store_us += travels;
            }
            prop_assert!(caches.iter().all(|cache| cache.entries.current.len() <= 1));
        }
    }

    /// Whatever is asked of several buckets, and whatever others ask: memory answers what the store would answer, for
    /// each of the takes, as far as others left what was learnt.
    #[test]
    fn memory_tells_of_each_take_what_the_store_would(
        steps in proptest::collection::vec(
            (0..150_000_u64, proptest::collection::vec((0..5_usize, 0..9_u64, 0..3_u8), 1..4), any::<bool>(), 0..3_000_u64),
            1..80,
        ),
        drift in 0..1_000_u64,
    ) {
        let limits = several();
        let (mut cache, mut table) = (DenialCache::default(), Table::default());
        let (mut local_us, mut store_us) = (LOCAL_US, STORE_US);
        // What others did since memory last heard of a bucket, and when and how roughly it did.
        let mut heard = [(false, 0, 0); 5];
        for (step, wishes, mine, travels) in steps {
            local_us += step;
            store_us += step + step * drift / 1_000_000;
            let takes: Vec<Take> = wishes.iter().map(|wish| of_wish(*wish, mine, &limits)).collect();
            let buckets = || wishes.iter().map(|(bucket, ..)| *bucket);
            if let Some(told) = cache.denial(&takes, local_us) {
                let asked = decision::decide(&takes, store_us, &mut table.clone());
                prop_assert_eq!((told.verdict, asked.verdict), (Verdict::Deny, Verdict::Deny));
                // No wait is too short, nor longer than the way and the clocks are uncertain.
                let latest = buckets().map(|bucket| heard[bucket].1).max().unwrap_or(0);
                let unclear_us = buckets().map(|bucket| heard[bucket].2).max().unwrap_or(0);
                let drifted_us = (local_us - latest) / 400 + 3;
                prop_assert!(told.now_us <= store_us && store_us - told.now_us <= unclear_us + drifted_us);
                for ((bucket, told), asked) in buckets().zip(&told.found).zip(&asked.found) {
                    is_told_alike(heard[bucket].0, told, asked)?;
                }
            }
            let before = table.clone();
            let answer = decision::decide(&takes, store_us, &mut table);
            if mine {
                let trip = Trip { sent_us: local_us - travels, arrived_us: local_us + travels };
                cache.learn(&takes, &answer, trip);
                buckets().for_each(|bucket| heard[bucket] = (true, local_us, 2 * travels));
                local_us += travels;
                store_us += travels;
            } else {
                let changed = |bucket: &usize| before.get(&key_of(*bucket)) != table.get(&key_of(*bucket));
                buckets().filter(changed).for_each(|bucket| heard[bucket].0 = false);
            }
        }
    }
}

/// One of each kind; the last is charged though it denies.
fn several() -> [Limit; 5] {
    let of = |requests, unit, algorithm| LimitSpec { algorithm, ..LimitSpec::new(requests, unit) };
    [
        LimitSpec { burst: Some(1), ..of(10, Unit::Second, Algorithm::TokenBucket) },
        of(10, Unit::Week, Algorithm::TokenBucket),
        of(3, Unit::Second, Algorithm::FixedWindow),
        of(4, Unit::Second, Algorithm::SlidingWindowLog),
        LimitSpec { overdraft: Overdraft::Charge, ..of(7, Unit::Minute, Algorithm::TokenBucket) },
    ]
    .map(|spec| spec.check().unwrap())
}

fn key_of(bucket: usize) -> BucketKey {
    BucketKey::from_bytes([u8::try_from(bucket).unwrap(); 16])
}

/// Only this replica gives back, since what others give back is seen late.
fn of_wish((bucket, hits, enforcement): (usize, u64, u8), mine: bool, limits: &[Limit]) -> Take {
    let hits = match hits {
        0 => Hits::Peek,
        8 if mine => Hits::GiveBack(2),
        hits => Hits::Take(hits.min(7)),
    };
    let enforcement =
        [Enforcement::Enforced, Enforcement::Quota, Enforcement::Shadow][usize::from(enforcement)];
    Take { key: key_of(bucket), demand: Demand::new(hits, &limits[bucket]).enforcement(enforcement) }
}

fn is_told_alike(is_untouched: bool, told: &Found, asked: &Found) -> Result<(), TestCaseError> {
    prop_assert!(!told.fits && !asked.fits);
    let (is_same, is_less) = match (told.seen, asked.seen) {
        (Seen::TokenBucket { full_at: told }, Seen::TokenBucket { full_at: asked }) => {
            (told == asked, told <= asked)
        }
        (Seen::FixedWindow(told), Seen::FixedWindow(asked)) => {
            (told == asked, told.ends_us == asked.ends_us && told.count <= asked.count)
        }
        (Seen::SlidingLog { fits_at_us: told, .. }, Seen::SlidingLog { fits_at_us: asked, .. }) => {
            (told == asked, told <= asked)
        }
        _ => (false, false),
    };
    // What others took since makes the wait longer than memory can know.
    prop_assert!(is_same || !is_untouched && is_less, "{:?}, but {:?}", told, asked);
    Ok(())
}
