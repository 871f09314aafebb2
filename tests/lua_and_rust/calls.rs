//! Whole calls: several requests of every kind, and what the holders of several leases report and ask for, in one call. The
//! script answers as Rust does, leaves the same values behind, and lets none of them expire early or much too late.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};
use redis::{Connection, cmd, pipe};
use tollgate::store::redis::{
    keys::redis_key,
    script::{self, Call, EPOCH_KEY},
};
use tollgate_core::{
    decision::{
        Answer, Buckets as _, Demand, Enforcement, Granted, LeaseCall, Seen, State, Take, decide, lease,
    },
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, LimitSpec, Overdraft, Unit, Windows},
};

use crate::{Table, dice, known, leases::past_is_full, load, sequences::START_US, support};

const SEQUENCES: u64 = 2_000;
const BUCKETS: u8 = 3;

struct Bucket {
    key: BucketKey,
    /// One limit, or two that replicas disagree on.
    limits: Vec<LimitSpec>,
    /// What two holders of leases believe to hold: the generation, and hits.
    holders: [(u64, u32); 2],
    /// Whether it is asked for plain takes alone, which the script decides without the functions of its long way.
    is_plain: bool,
}

/// Requests and calls about leases that travel together.
#[derive(Debug)]
struct Calls {
    requests: Vec<Vec<Take>>,
    leases: Vec<LeaseCall>,
}

#[tokio::test]
async fn the_script_does_with_whole_calls_what_rust_does_with_their_parts_one_after_the_other() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    for number in 0..SEQUENCES {
        let mut table = Table::new(number);
        let () = cmd("SET").arg(EPOCH_KEY).arg(table.epoch_us).query(&mut connection).expect("sets");
        let is_plain = rng.random_bool(0.5);
        let mut buckets: Vec<Bucket> =
            (0..BUCKETS).map(|index| bucket(&mut rng, number, index, is_plain)).collect();
        let (mut now_us, mut taken, mut edges_us) = (START_US, Vec::new(), Vec::new());
        for _ in 0..rng.random_range(2..=14) {
            now_us = later(&mut rng, now_us, &buckets, &edges_us);
            let holder = usize::from(rng.random_bool(0.2));
            let calls = calls(&mut rng, &buckets, holder, &taken);
            let told = told(&mut connection, &digest, &calls, now_us);
            let expected = expected(&calls, now_us, &mut table);
            assert_eq!(told, expected, "seed {seed}, {number}: {calls:#?} at {now_us}");
            for bucket in &buckets {
                let state = table.state(&bucket.key);
                let context = || format!("seed {seed}, {number}: {state:?} after {calls:#?} at {now_us}");
                is_kept(&mut connection, bucket, state.as_ref(), &context);
            }
            for (lease, granted) in calls.leases.iter().zip(&told.1) {
                let kept = if granted.is_found { lease.kept } else { 0 };
                buckets[index_of(&lease.key)].holders[holder] =
                    (granted.generation_us, kept + granted.granted);
                // Who holds nothing, and finds two generations that are too old to join, has none: 0.
                edges_us.extend(Some(granted.generation_us).filter(|us| *us > 0));
            }
            for (take, found) in
                calls.requests.iter().flatten().zip(told.0.iter().flat_map(|told| &told.found))
            {
                edges_us.extend(edge_us(take, found.seen));
                taken.push((now_us, *take));
            }
        }
    }
}

fn told(
    connection: &mut Connection,
    digest: &str,
    calls: &Calls,
    now_us: u64,
) -> (Vec<Answer>, Vec<Granted>) {
    let requests = || calls.requests.iter().map(|takes| &takes[..]);
    let mut command = Call::with_leases(requests(), &calls.leases).command("EVALSHA", digest);
    let reply: Vec<u8> = command.arg(now_us).query(connection).expect("the call runs");
    let (answers, granted) = script::replies(&reply, requests(), &calls.leases).expect("the script's reply");
    (answers.into_iter().map(known).collect(), granted.into_iter().map(past_is_full).collect())
}

/// What asks for nothing comes before the requests, and what asks for hits behind them.
fn expected(calls: &Calls, now_us: u64, table: &mut Table) -> (Vec<Answer>, Vec<Granted>) {
    let mut granted: Vec<Option<Granted>> = vec![None; calls.leases.len()];
    let mut settle = |asks: bool, table: &mut Table| {
        for (call, granted) in
            calls.leases.iter().zip(&mut granted).filter(|(call, _)| (call.wants > 0) == asks)
        {
            *granted = lease(call, now_us, table).map(past_is_full);
        }
    };
    settle(false, table);
    let answers = calls.requests.iter().map(|takes| known(decide(takes, now_us, table))).collect();
    settle(true, table);
    (answers, granted.into_iter().map(|granted| granted.expect("no log")).collect())
}

/// The second in which a key expires, or 0: EXPIRETIME, which Redis 6.2 has not. A key's expiry is a whole second here.
const EXPIRES_S: &str = "
local now, left_ms = redis.call('TIME'), redis.call('PTTL', KEYS[1])
return left_ms < 0 and 0 or math.floor(now[1] + (now[2] / 1000 + left_ms) / 1000 + 0.5)";

fn is_kept(
    connection: &mut Connection,
    bucket: &Bucket,
    state: Option<&State>,
    context: &impl Fn() -> String,
) {
    let key = redis_key(&bucket.key);
    let (stored, expires): (Option<Vec<u8>>, u64) = pipe()
        .get(&key[..])
        .cmd("EVAL")
        .arg(EXPIRES_S)
        .arg(1)
        .arg(&key[..])
        .query(connection)
        .expect("reads");
    assert_eq!(stored, state.map(stored_value), "{}", context());
    let Some(state) = state else { return };
    let (spent_us, expires_us) = (state.spent_us(), expires * 1_000_000);
    assert!(expires_us >= spent_us, "it expires at {expires_us}: {}", context());
    // One that counts as used up while it is missing must stay for longer.
    let is_in_time = expires_us <= spent_us + 1_000_001;
    assert!(is_in_time || is_guarded(bucket), "it expires at {expires_us}: {}", context());
}

fn stored_value(state: &State) -> Vec<u8> {
    match state {
        State::TokenBucket(kept) => {
            let full_at = kept.under(kept.per_us());
            let fraction = [full_at.fraction, kept.per_us()].map(u32::to_le_bytes);
            [&full_at.whole_us.to_le_bytes()[..], fraction.as_flattened()].concat()
        }
        State::FixedWindow(window) => {
            [&window.ends_us.to_le_bytes()[..], &window.count.to_le_bytes()].concat()
        }
        State::Leased(leased) => {
            let mut value = stored_value(&leased.counted.alone());
            for generation in leased.generations {
                value.extend(
                    [generation.lapses_us, generation.amount.whole_us].map(u64::to_le_bytes).as_flattened(),
                );
                value.extend(generation.amount.fraction.to_le_bytes());
            }
            value
        }
        State::SlidingLog(_) => unreachable!("nobody asks for a log here"),
    }
}

// === dice ===

/// The last byte of a key is the number of its bucket.
fn index_of(key: &BucketKey) -> usize {
    usize::from(key.digest()[15])
}

fn is_guarded(bucket: &Bucket) -> bool {
    bucket.limits[0].after_store_loss == AfterStoreLoss::Empty
}

/// When such a take fits, or the window ends, if that is within a day.
fn edge_us(take: &Take, seen: Seen) -> Option<u64> {
    let edge_us = match (take.demand.tokens(), seen) {
        (Some(tokens), Seen::TokenBucket { full_at }) => {
            (full_at.whole_us + tokens.cost.whole_us).checked_sub(tokens.burst.whole_us)?
        }
        (_, Seen::FixedWindow(window)) => window.ends_us,
        _ => return None,
    };
    (START_US..START_US + 86_400_000_000).contains(&edge_us).then_some(edge_us)
}

/// At an edge where a microsecond decides, or any time later; sometimes a step back.
fn later(rng: &mut SmallRng, now_us: u64, buckets: &[Bucket], edges_us: &[u64]) -> u64 {
    let lease_us = u64::from(buckets[0].limits[0].lease_us);
    match rng.random_range(0..12) {
        0..4 => now_us,
        4..6 => now_us + rng.random_range(0..=lease_us),
        6 => now_us + rng.random_range(0..=3 * lease_us),
        7 => now_us + rng.random_range(0..=2_000_000),
        8 => now_us - rng.random_range(0..=lease_us),
        _ => edges_us.choose(rng).map_or(now_us, |us| now_us.max(us - 1 + rng.random_range(0..=2))),
    }
}

fn calls(rng: &mut SmallRng, buckets: &[Bucket], holder: usize, taken: &[(u64, Take)]) -> Calls {
    let asked: Vec<&Bucket> = buckets.iter().filter(|_| rng.random_bool(0.6)).collect();
    let leases: Vec<LeaseCall> = asked.iter().map(|bucket| report(rng, bucket, holder)).collect();
    let fewest = if leases.is_empty() { 1 } else { 0 };
    let requests = (0..rng.random_range(fewest..=4))
        .map(|_| (0..rng.random_range(1..=3)).map(|_| take(rng, buckets, taken)).collect());
    Calls { requests: requests.collect(), leases }
}

fn report(rng: &mut SmallRng, bucket: &Bucket, holder: usize) -> LeaseCall {
    let (generation_us, held) = bucket.holders[holder];
    let spent = *[0, held, rng.random_range(0..=held)].choose(rng).expect("one");
    LeaseCall {
        key: bucket.key,
        one: Demand::new(Hits::One, &bucket.limits.choose(rng).expect("one").check().expect("sound")),
        generation_us: if rng.random_bool(0.05) { 7 } else { generation_us },
        held,
        spent,
        kept: if rng.random_bool(0.3) { 0 } else { held - spent },
        wants: *[0, 0, 3, 4, 10, 1_000, 1_000_000].choose(rng).expect("one"),
    }
}

fn take(rng: &mut SmallRng, buckets: &[Bucket], taken: &[(u64, Take)]) -> Take {
    let bucket = buckets.choose(rng).expect("one");
    if bucket.is_plain {
        let limit = bucket.limits.choose(rng).expect("one").check().expect("sound");
        let hits = *[1, 1, 2, u64::from(limit.burst()) / 3 + 1].choose(rng).expect("one");
        return Take { key: bucket.key, demand: Demand::new(Hits::Take(hits), &limit) };
    }
    // What was given back to a guarded bucket under one limit may leave it used up under another: see `sequences`.
    let may_give_back = bucket.limits.len() == 1 || !is_guarded(bucket);
    let earlier = taken.choose(rng).filter(|_| rng.random_bool(0.1));
    if let Some((taken_us, take)) = earlier.filter(|(_, take)| take.key == bucket.key && may_give_back) {
        return Take { demand: take.demand.undo(*taken_us), ..*take };
    }
    let spec = *bucket.limits.choose(rng).expect("one");
    let overdraft = if rng.random_bool(0.15) { Overdraft::Charge } else { Overdraft::Never };
    let limit = LimitSpec { overdraft, ..spec }.check().or_else(|_| spec.check()).expect("sound");
    let burst = u64::from(limit.burst());
    let hits = *[1, 1, 1, 0, 2, burst / 3, burst, 2 * burst, u64::MAX].choose(rng).expect("one");
    let hits = Hits::new(Some(hits), 0, may_give_back && rng.random_bool(0.1));
    let enforcement = [
        Enforcement::Enforced,
        Enforcement::Enforced,
        Enforcement::Enforced,
        Enforcement::Quota,
        Enforcement::Shadow,
    ];
    let enforcement = *enforcement.choose(rng).expect("one");
    Take { key: bucket.key, demand: Demand::new(hits, &limit).enforcement(enforcement) }
}

fn bucket(rng: &mut SmallRng, sequence: u64, index: u8, is_plain: bool) -> Bucket {
    let mut bytes = [index; 16];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    bytes[8] = 0xDD;
    let numbers = [
        (1_000, Unit::Second, 100),
        (7, Unit::Second, 70),
        (3, Unit::Second, 50),
        (1_000_003, Unit::Minute, 999),
        (u32::MAX, Unit::Second, u32::MAX),
        (u32::MAX / 2, Unit::Second, u32::MAX / 2),
        (u32::MAX - 1, Unit::Month, u32::MAX),
        (40, Unit::Month, 40),
        (1, Unit::Year, 35),
    ];
    let (requests_per_unit, unit, burst) = *numbers.choose(rng).expect("one");
    let algorithm = *[Algorithm::TokenBucket, Algorithm::FixedWindow].choose(rng).expect("one");
    let algorithm = if is_plain { Algorithm::TokenBucket } else { algorithm };
    let is_window = algorithm == Algorithm::FixedWindow;
    let is_calendar = is_window && unit == Unit::Month && rng.random_bool(0.5);
    let first = LimitSpec {
        algorithm,
        burst: Some(burst).filter(|_| !is_window),
        windows: if is_calendar { Windows::CalendarMonth } else { Windows::Aligned },
        after_store_loss: if !is_plain && rng.random_bool(0.2) {
            AfterStoreLoss::Empty
        } else {
            AfterStoreLoss::Full
        },
        lease_us: *[10_000, 100_000, 1_000_000, 10_000_000].choose(rng).expect("one"),
        ..LimitSpec::new(requests_per_unit, unit)
    };
    let mut bucket =
        Bucket { key: BucketKey::from_bytes(bytes), limits: vec![first], holders: [(0, 0); 2], is_plain };
    if rng.random_bool(0.3) {
        let (requests_per_unit, burst) = *[(999, 300), (7, 31), (1, 1)].choose(rng).expect("one");
        let other = LimitSpec { requests_per_unit, burst: first.burst.map(|_| burst), ..first };
        let other = if is_guarded(&bucket) { first } else { other };
        bucket
            .limits
            .extend(Some(LimitSpec { lease_us: 20_000, ..other }).filter(|other| other.check().is_ok()));
    }
    bucket
}
