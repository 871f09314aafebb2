//! The script and `decision` agree on what is reserved, reported and granted, among ordinary takes of the same buckets.

use std::iter;

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};
use redis::{Pipeline, pipe};
use tollgate::store::redis::{
    keys::redis_key,
    script::{self, Call, EPOCH_KEY},
};
use tollgate_core::{
    decision::{
        Buckets as _, Demand, Found, Granted, LeaseCall, Seen, State, Take, decide, lease,
        lease::{Counted, Generation, Leased},
    },
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Exact, Kept, Limit, LimitSpec, Overdraft, Unit},
};

use crate::{Table, dice, known, load, sequences::START_US, support};

const SEQUENCES: u64 = 8_000;
const IN_A_PIPELINE: u64 = 100;
const DAY_US: u64 = 86_400_000_000;

/// A request, and what the holder of a lease reports in the same call.
struct Step {
    now_us: u64,
    takes: Vec<Take>,
    lease: Option<LeaseCall>,
    buckets: [BucketKey; 2],
    /// How long the stored values of the buckets are afterwards.
    lengths: [usize; 2],
}

/// A bucket, and the limits that ask for it: one, or several that replicas disagree on.
struct Bucket {
    key: BucketKey,
    limits: Vec<LimitSpec>,
}

/// What a holder believes to hold.
#[derive(Clone, Copy, Default)]
struct Holder {
    generation_us: u64,
    held: u32,
}

#[tokio::test]
async fn lua_and_rust_agree_on_leases() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let (mut granted, mut lapsed, mut reserved) = (0, 0, 0);
    for pipeline in 0..SEQUENCES / IN_A_PIPELINE {
        let mut commands: Pipeline = pipe();
        let mut expected = Vec::new();
        for number in pipeline * IN_A_PIPELINE..(pipeline + 1) * IN_A_PIPELINE {
            let mut table = Table::new(number);
            commands.cmd("SET").arg(EPOCH_KEY).arg(table.epoch_us).ignore();
            for (step, answer, grant) in sequence(&mut rng, number, &mut table) {
                let call = Call::with_leases([&step.takes[..]], step.lease.as_slice());
                let mut command = call.command("EVALSHA", &digest);
                command.arg(step.now_us);
                commands.add_command(command);
                for key in &step.buckets {
                    commands.get(&redis_key(key)[..]);
                }
                expected.push((step, answer, grant));
            }
        }
        let replies: Vec<Vec<u8>> = commands.query(&mut connection).expect("every call runs");
        for ([reply, stored @ ..], (step, expected, grant)) in replies.as_chunks::<3>().0.iter().zip(expected)
        {
            let leases = step.lease.as_slice();
            assert_eq!(stored.each_ref().map(Vec::len), step.lengths, "seed {seed}: {:#?}", step.takes);
            let (mut answers, grants) =
                script::replies(reply, iter::once(&step.takes[..]), leases).expect("the script's reply");
            if let (Some(lease), Some(grant)) = (&step.lease, grant) {
                let (told, what) = (grants[0], (&step.takes, lease, step.now_us));
                assert_eq!(past_is_full(told), past_is_full(grant), "seed {seed}: {what:#?}");
                granted += u64::from(told.granted);
                lapsed += u64::from(lease.held > 0 && !told.is_found);
            }
            let told = answers.pop().expect("one");
            reserved += u64::from(told.found.iter().any(|found| found.is_reserved));
            assert_eq!(known(told), known(expected), "seed {seed}: {:#?} at {}", step.takes, step.now_us);
        }
    }
    assert!(granted > 10_000 && lapsed > 100 && reserved > 1_000, "{granted} {lapsed} {reserved}");
}

#[tokio::test]
async fn requests_of_one_batch_see_each_other_in_buckets_with_reservations() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let mut run = |call: &Call, epoch_us: u64| -> Vec<u8> {
        let mut command = call.command("EVALSHA", &digest);
        command.arg(START_US);
        let mut both = pipe();
        both.cmd("SET").arg(EPOCH_KEY).arg(epoch_us).ignore().add_command(command);
        let replies: Vec<Vec<u8>> = both.query(&mut connection).expect("the call runs");
        replies.into_iter().next().expect("a reply")
    };
    for number in 0..2_000 {
        let mut table = Table::new(number);
        let buckets: Vec<Bucket> = (0..2).map(|index| bucket(&mut rng, 1 << 40 | number, index)).collect();
        let reserves = LeaseCall { wants: 10, ..report(&mut rng, &buckets[0], Holder::default()) };
        run(&Call::with_leases(iter::empty(), &[reserves]), table.epoch_us);
        lease(&reserves, START_US, &mut table);
        let requests =
            (0..12).map(|_| (0..rng.random_range(1..=3)).map(|_| take(&mut rng, &buckets)).collect());
        let batch: Vec<Vec<Take>> = requests.collect();
        let reply = run(&Call::new(batch.iter().map(|takes| &takes[..])), table.epoch_us);
        let told = script::answers(&reply, batch.iter().map(|takes| &takes[..])).expect("the script's reply");
        for (told, takes) in told.into_iter().zip(&batch) {
            let expected = decide(takes, START_US, &mut table);
            assert_eq!(known(told), known(expected), "seed {seed}, {number}: {takes:#?} of {batch:#?}");
        }
    }
}

/// Buckets in which a take fits, or does not, by a few microseconds or by less than one.
#[tokio::test]
async fn what_is_reserved_counts_to_the_last_fraction_of_a_microsecond() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let mut fitted = 0;
    for number in 0..4_000 {
        let limit =
            Limit::new(*[7, 11, 1_000_003].choose(&mut rng).expect("one"), Unit::Minute, Some(1_000_000));
        let limit = limit.expect("sound");
        let take = Take { key: bucket(&mut rng, number, 0).key, demand: Demand::new(Hits::One, &limit) };
        let tokens = take.demand.tokens().expect("a token bucket");
        let mut part = |most_us: u64| Exact {
            whole_us: rng.random_range(0..=most_us),
            fraction: rng.random_range(0..tokens.per_us),
        };
        let (older, younger, spent) = (part(1_000), part(1_000), part(0));
        let left_us = tokens.burst.whole_us - tokens.cost.whole_us - older.whole_us - younger.whole_us;
        let full_at = Exact { whole_us: START_US + left_us + 1 - rng.random_range(0..=4), ..spent };
        let (lapses_1, lapses_2) = (START_US + 1_000, START_US + 2_000);
        let mut stored = full_at.whole_us.to_le_bytes().to_vec();
        stored.extend([full_at.fraction, tokens.per_us].map(u32::to_le_bytes).as_flattened());
        for (lapses_us, amount) in [(lapses_1, older), (lapses_2, younger)] {
            stored.extend([lapses_us, amount.whole_us].map(u64::to_le_bytes).as_flattened());
            stored.extend(amount.fraction.to_le_bytes());
        }
        let state = State::Leased(Box::new(Leased {
            counted: Counted::TokenBucket(Kept::new(full_at, tokens.per_us)),
            generations: [(lapses_1, older), (lapses_2, younger)]
                .map(|(lapses_us, amount)| Generation { lapses_us, amount }),
        }));
        let mut table = Table::new(0);
        table.set_state(&take.key, Some(state));
        let mut command = Call::new([&[take][..]]).command("EVALSHA", &digest);
        command.arg(START_US);
        let mut both = pipe();
        both.cmd("SET").arg(&redis_key(&take.key)[..]).arg(stored).ignore().add_command(command);
        let replies: Vec<Vec<u8>> = both.query(&mut connection).expect("the call runs");
        let told = script::answers(&replies[0], iter::once(&[take][..])).expect("the script's reply");
        let expected = decide(&[take], START_US, &mut table);
        fitted += u64::from(expected.found[0].fits);
        assert_eq!(
            known(told[0].clone()),
            known(expected),
            "seed {seed}: {take:#?}, {full_at:?}, {older:?}, {younger:?}"
        );
    }
    assert!((1_000..3_000).contains(&fitted), "{fitted}");
}

pub(crate) fn past_is_full(mut granted: Granted) -> Granted {
    if let Seen::TokenBucket { full_at } = &mut granted.seen {
        *full_at = (*full_at).max(Exact::at_us(granted.now_us));
    }
    granted
}

/// The steps of a sequence with Rust's answers.
fn sequence(
    rng: &mut SmallRng,
    number: u64,
    table: &mut Table,
) -> Vec<(Step, tollgate_core::decision::Answer, Option<Granted>)> {
    let buckets = [0, 1].map(|index| bucket(rng, number, index));
    let mut holders = [Holder::default(); 4];
    let mut now_us = START_US;
    let mut fits_us = Vec::new();
    let mut steps = Vec::new();
    for _ in 0..rng.random_range(4..=24) {
        let lease_us = u64::from(buckets[0].limits[0].lease_us);
        now_us = match rng.random_range(0..10) {
            0..3 => now_us,
            // Where a microsecond, or less, decides.
            8.. => fits_us
                .choose(rng)
                .map_or(now_us, |fits_us| now_us.max(fits_us - 1 + rng.random_range(0..=2))),
            3..6 => now_us + rng.random_range(0..=lease_us),
            6 => now_us + rng.random_range(0..=3 * lease_us),
            _ => now_us - rng.random_range(0..=lease_us / 2),
        };
        let takes = (0..rng.random_range(1..=2)).map(|_| take(rng, &buckets)).collect();
        let holder = rng.random_range(0..holders.len());
        let call = rng.random_bool(0.7).then(|| report(rng, &buckets[holder % 2], holders[holder]));
        let [first, second] = &buckets;
        let mut step = Step { now_us, takes, lease: call, buckets: [first.key, second.key], lengths: [0; 2] };
        // What asks for nothing comes first, as the call has it.
        let first = call.filter(|call| call.wants == 0).and_then(|call| lease(&call, now_us, table));
        let answer = decide(&step.takes, now_us, table);
        fits_us =
            step.takes.iter().zip(&answer.found).filter_map(|(take, found)| next_us(take, found)).collect();
        let behind = call.filter(|call| call.wants > 0).and_then(|call| lease(&call, now_us, table));
        let granted = first.or(behind);
        if let (Some(call), Some(granted)) = (call, granted) {
            let kept = if granted.is_found { call.kept } else { 0 };
            holders[holder] = Holder { generation_us: granted.generation_us, held: kept + granted.granted };
        }
        step.lengths = step.buckets.map(|key| table.buckets.get(&key).map_or(0, stored_length));
        steps.push((step, answer, granted));
    }
    steps
}

/// A bucket without a value has the length 0.
fn stored_length(state: &State) -> usize {
    const RESERVATIONS: usize = 40;
    match state {
        State::TokenBucket(_) => 16,
        State::FixedWindow(_) => 12,
        State::SlidingLog(_) => unreachable!("nobody asks for a log here"),
        State::Leased(leased) => stored_length(&leased.counted.alone()) + RESERVATIONS,
    }
}

/// When such a take fits into the bucket that this one saw, if that is within a day.
fn next_us(take: &Take, found: &Found) -> Option<u64> {
    let (Some(tokens), Seen::TokenBucket { full_at }) = (take.demand.tokens(), found.seen) else {
        return None;
    };
    (full_at.whole_us + tokens.cost.whole_us)
        .checked_sub(tokens.burst.whole_us)
        .filter(|us| (START_US..START_US + DAY_US).contains(us))
}

fn report(rng: &mut SmallRng, bucket: &Bucket, holder: Holder) -> LeaseCall {
    let limit = bucket.limits.choose(rng).expect("one").check().expect("sound");
    let spent = rng.random_range(0..=holder.held);
    let rest = holder.held - spent;
    LeaseCall {
        key: bucket.key,
        one: Demand::new(Hits::One, &limit),
        generation_us: if rng.random_bool(0.05) { 7 } else { holder.generation_us },
        held: holder.held,
        spent,
        kept: if rng.random_bool(0.3) { 0 } else { rest },
        wants: *[0, 0, 3, 4, 10, 1_000_000].choose(rng).expect("one"),
    }
}

fn take(rng: &mut SmallRng, buckets: &[Bucket]) -> Take {
    let bucket = buckets.choose(rng).expect("one");
    let spec = *bucket.limits.choose(rng).expect("one");
    let overdraft = if rng.random_bool(0.1) { Overdraft::Charge } else { Overdraft::Never };
    let limit = LimitSpec { overdraft, ..spec }.check().or_else(|_| spec.check()).expect("sound");
    let burst = u64::from(limit.burst());
    let hits = *[1, 1, 1, 0, 2, burst / 3, burst, u64::MAX].choose(rng).expect("one");
    let gives_back = spec.after_store_loss == AfterStoreLoss::Full && rng.random_bool(0.1);
    Take { key: bucket.key, demand: Demand::new(Hits::new(Some(hits), 0, gives_back), &limit) }
}

fn bucket(rng: &mut SmallRng, sequence: u64, index: u8) -> Bucket {
    let mut bytes = [index; 16];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    bytes[8] = 0xEE;
    let numbers = [
        (1_000, Unit::Second, 100),
        (1_000, Unit::Second, 1_000),
        (7, Unit::Second, 70),
        (1_000_003, Unit::Minute, 999),
        (u32::MAX, Unit::Second, u32::MAX),
        // A window that is charged twice this much, with reservations on top, would count further than 32 bits do.
        (u32::MAX / 2, Unit::Second, u32::MAX / 2),
        (1_000_000, Unit::Year, 2_000),
        (40, Unit::Second, 40),
    ];
    let (requests_per_unit, unit, burst) = *numbers.choose(rng).expect("one");
    let algorithm = *[Algorithm::TokenBucket, Algorithm::FixedWindow].choose(rng).expect("one");
    let first = LimitSpec {
        algorithm,
        burst: Some(burst).filter(|_| algorithm == Algorithm::TokenBucket),
        after_store_loss: if rng.random_bool(0.2) { AfterStoreLoss::Empty } else { AfterStoreLoss::Full },
        lease_us: *[10_000, 100_000, 1_000_000].choose(rng).expect("one"),
        ..LimitSpec::new(requests_per_unit, unit)
    };
    let mut limits = vec![first];
    if rng.random_bool(0.3) {
        let lease_us = *[10_000, 100_000, 1_000_000].choose(rng).expect("one");
        let mut changed = LimitSpec { lease_us, ..first };
        // A report may make a bucket full, which is then the same as a missing one. Rust forgets it before the take that comes
        // with the report, and the script after it. So both limits must count a missing bucket as used up for the same time.
        if first.after_store_loss == AfterStoreLoss::Full {
            changed = LimitSpec { requests_per_unit: 999, burst: first.burst.map(|_| 300), ..changed };
        }
        limits.push(changed);
    }
    Bucket { key: BucketKey::from_bytes(bytes), limits }
}
