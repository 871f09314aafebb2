//! The script in Redis and `decision::decide` answer alike, on the same random takes at the same times.

mod support;

use std::collections::HashMap;

use deadpool_redis::redis::{Connection, Pipeline, cmd, pipe};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tollgate::{
    decision::{Answer, Ask, Buckets, Seen, Standing, State, Take, decide},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Exact, Limit, LimitSpec, Overdraft, Period, Unit},
    store::redis::script::{self, Call, EPOCH_KEY, Now, redis_key},
};

const SEQUENCES: u64 = 20_000;
/// As far in the future as tests of ours may run: a key whose expiry has passed is not stored at all.
const START_US: u64 = 4_000_000_000_000_000;

/// What the store holds, and since when.
#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<BucketKey, State>,
    epoch_us: u64,
}

impl Buckets for Table {
    fn state(&self, key: &BucketKey) -> Option<State> {
        self.buckets.get(key).cloned()
    }

    fn set_state(&mut self, key: &BucketKey, state: Option<State>) {
        self.buckets.set_state(key, state);
    }

    fn epoch_us(&mut self, _now_us: u64) -> u64 {
        self.epoch_us
    }
}

impl Table {
    /// The store that a sequence meets: new, or some time old.
    fn of(sequence: u64) -> Table {
        let ages_us = [0, 1, 300_000, 60_000_000, 4_000_000_000_000_000];
        let age_us = *ages_us.iter().cycle().nth(usize::try_from(sequence % 5).expect("small")).expect("one");
        Table { epoch_us: START_US - age_us, ..Table::default() }
    }
}

/// Requests in the order of their times, which may step back.
type Sequence = Vec<(u64, Vec<Take>)>;

#[tokio::test]
async fn lua_and_rust_answer_alike_on_random_sequences_of_takes() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let digest: String =
        cmd("SCRIPT").arg("LOAD").arg(script::text(Now::Argument)).query(&mut connection).expect("loads");
    let mut denied = 0;
    for batch in 0..SEQUENCES / 100 {
        let sequences: Vec<Sequence> =
            (0..100).map(|number| sequence(&mut rng, batch * 100 + number)).collect();
        let replies = replies(&mut connection, &digest, &sequences);
        let mut replies = replies.iter();
        for (number, sequence) in (0..).zip(&sequences) {
            let mut table = Table::of(number);
            for (now_us, takes) in sequence {
                let expected = decide(takes, *now_us, &mut table);
                let reply = replies.next().expect("a reply for each request");
                let answer = answer(reply, takes);
                denied += u64::from(answer.found.iter().any(|found| !found.fits));
                assert_eq!(known(answer), known(expected), "seed {seed}: {takes:#?} at {now_us}");
            }
        }
    }
    assert!(denied > SEQUENCES, "only {denied} requests were denied: the test is too gentle");
}

#[tokio::test]
async fn requests_of_one_flight_that_name_the_same_buckets_see_each_other() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut mixed = 0;
    let () = cmd("SET").arg(EPOCH_KEY).arg(START_US - 100_000).query(&mut connection).expect("sets");
    for number in 0..1_000 {
        let flight: Sequence = sequence(&mut rng, number);
        let mut command = Call::new(flight.iter().map(|(_, takes)| &takes[..]))
            .command("EVAL", &script::text(Now::Argument));
        let reply: Vec<u8> = command.arg(START_US).query(&mut connection).expect("runs");
        let answers =
            script::answers(&reply, flight.iter().map(|(_, takes)| &takes[..])).expect("the script's reply");
        let mut table = Table { epoch_us: START_US - 100_000, ..Table::default() };
        let expected = flight.iter().map(|(_, takes)| known(decide(takes, START_US, &mut table)));
        let answers: Vec<Answer> = answers.into_iter().map(known).collect();
        assert_eq!(answers, expected.collect::<Vec<_>>(), "seed {seed}: {flight:#?}");
        mixed += u32::from(answers.iter().any(|answer| answer.verdict != answers[0].verdict));
    }
    assert!(mixed > 100, "only {mixed} flights were allowed in part: the test is too gentle");
}

#[tokio::test]
async fn a_bucket_is_stored_exactly_and_expires_when_it_would_be_full() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    let request = [Take { key, ask: Ask::new(Hits::Take(3), &limit) }];
    let mut command = Call::new([&request[..]]).command("EVAL", &script::text(Now::Argument));
    let reply: Vec<u8> = command.arg(START_US).query(&mut connection).expect("runs");
    assert_eq!(answer(&reply, &request).now_us, START_US);

    // 3 of 7 a minute: 25,714,285 µs and 5/7.
    let mut stored = (START_US + 25_714_285).to_le_bytes().to_vec();
    stored.extend(5_u32.to_le_bytes());
    let value: Vec<u8> = cmd("GET").arg(&redis_key(&key)[..]).query(&mut connection).expect("is there");
    assert_eq!(value, stored);
    let expiry_s: u64 = cmd("EXPIRETIME").arg(&redis_key(&key)[..]).query(&mut connection).expect("expires");
    assert_eq!(expiry_s, (START_US + 25_714_286).div_ceil(1_000_000), "in the same second, not before");
}

#[tokio::test]
async fn every_stored_bucket_expires_within_the_second_after_its_last_instant() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let digest: String =
        cmd("SCRIPT").arg("LOAD").arg(script::text(Now::Argument)).query(&mut connection).expect("loads");
    let (mut stored, mut gone) = (0, 0);
    for number in 0..2_000 {
        let sequence = sequence(&mut rng, number);
        let mut table = Table::of(number);
        let () = cmd("SET").arg(EPOCH_KEY).arg(table.epoch_us).query(&mut connection).expect("sets");
        for (now_us, takes) in &sequence {
            decide(takes, *now_us, &mut table);
            let mut pipeline = pipe();
            let mut command = Call::new([&takes[..]]).command("EVALSHA", &digest);
            command.arg(*now_us);
            pipeline.add_command(command).ignore();
            for take in takes {
                pipeline.cmd("EXPIRETIME").arg(&redis_key(&take.key)[..]);
            }
            let expiries: Vec<i64> = pipeline.query(&mut connection).expect("every call runs");
            for (take, expiry_s) in takes.iter().zip(expiries) {
                let last_us = table.buckets.get(&take.key).map(State::spent_us);
                // -2 says that there is no such key.
                let Some(last_us) = last_us else {
                    assert_eq!(expiry_s, -2, "seed {seed}: {sequence:#?}");
                    gone += 1;
                    continue;
                };
                let expiry_us = u64::try_from(expiry_s).expect("the key is there, and expires") * 1_000_000;
                // While a missing bucket counts as used up, the key must be there.
                let guarded = take.ask.after_store_loss == AfterStoreLoss::Empty;
                let used_up = take.ask.empty(table.epoch_us);
                let used_up_us = used_up.map_or(table.epoch_us, |used_up| used_up.spent_us());
                let used_up_us = if guarded { used_up_us } else { 0 };
                let first_us = if used_up_us > *now_us { last_us.max(used_up_us) } else { last_us };
                let range = first_us..=last_us.max(used_up_us) + 1_000_000;
                assert!(range.contains(&expiry_us), "seed {seed}: {expiry_us} of {range:?}: {sequence:#?}");
                stored += 1;
            }
        }
    }
    assert!(stored > 2_000 && gone > 1_000, "{stored} stored, {gone} gone: the test is too gentle");
}

#[tokio::test]
async fn what_is_given_back_in_full_leaves_no_key() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    for hits in [Hits::Take(3), Hits::GiveBack(5)] {
        let request = [Take { key, ask: Ask::new(hits, &limit) }];
        let mut command = Call::new([&request[..]]).command("EVAL", &script::text(Now::Argument));
        let _: Vec<u8> = command.arg(START_US).query(&mut connection).expect("runs");
    }
    let keys: u64 = cmd("DBSIZE").query(&mut connection).expect("counts");
    assert_eq!(keys, 0);
}

/// For one whose limit says `after_store_loss: empty`.
#[tokio::test]
async fn a_bucket_that_the_store_has_lost_counts_as_used_up_when_the_store_began_anew() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let after_store_loss = AfterStoreLoss::Empty;
    let limit = LimitSpec { after_store_loss, burst: Some(3), ..LimitSpec::new(1, Unit::Second) };
    let limit = limit.check().expect("sound");
    let mut passed = |hits: Hits, after_us: u64| {
        let request = [Take { key: BucketKey::from_bytes([1; 16]), ask: Ask::new(hits, &limit) }];
        let mut command = Call::new([&request[..]]).command("EVAL", &script::text(Now::Argument));
        let reply: Vec<u8> = command.arg(START_US + after_us).query(&mut connection).expect("runs");
        answer(&reply, &request).found[0].fits
    };
    let one = Hits::Take(1);
    assert!(!passed(one, 0), "a store that was never seen is one that may have lost everything");
    assert!(!passed(one, 999_999));
    assert!(passed(one, 1_000_000));
    assert!(!passed(one, 1_000_000), "one token had come back since the epoch");
    // Filled by a refund it is full, though the key could go.
    assert!(passed(Hits::GiveBack(3), 1_000_000));
    assert!(passed(Hits::Take(3), 1_000_000));
    let () = cmd("FLUSHALL").query(&mut support::connection(&redis)).expect("loses all");
    assert!(!passed(one, 10_000_000));
    let epoch: u64 = cmd("GET").arg(EPOCH_KEY).query(&mut support::connection(&redis)).expect("is there");
    assert_eq!(epoch, START_US + 10_000_000);
    for (value, fits) in [("nan", false), ("", false), ("-1", false), ("1e300", false), ("0", true)] {
        let mut connection = support::connection(&redis);
        let () = cmd("SET").arg(EPOCH_KEY).arg(value).query(&mut connection).expect("sets");
        assert_eq!(passed(one, 10_000_000), fits, "{value:?}");
    }
}

#[tokio::test]
async fn a_malformed_bucket_counts_as_missing_and_is_counted() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    let request = [Take { key, ask: Ask::new(Hits::Take(3), &limit) }];
    let too_large = [0xff; 12];
    let mut fraction_of_another_rate = START_US.to_le_bytes().to_vec();
    fraction_of_another_rate.extend(7_u32.to_le_bytes());
    for value in [&b""[..], b"hello", &[0; 13], &too_large, &fraction_of_another_rate] {
        let () = cmd("SET").arg(&redis_key(&key)[..]).arg(value).query(&mut connection).expect("sets");
        let mut command = Call::new([&request[..]]).command("EVAL", &script::text(Now::Argument));
        let reply: Vec<u8> = command.arg(START_US).query(&mut connection).expect("runs");
        let answer = answer(&reply, &request);
        assert_eq!((answer.malformed, answer.found[0].full_at()), (1, Exact::default()), "{value:?}");
    }
    let () = cmd("DEL").arg(&redis_key(&key)[..]).query(&mut connection).expect("deletes");
    let () = cmd("LPUSH").arg(&redis_key(&key)[..]).arg("x").query(&mut connection).expect("pushes");
    let mut command = Call::new([&request[..]]).command("EVAL", &script::text(Now::Argument));
    let reply: Vec<u8> =
        command.arg(START_US).query(&mut connection).expect("a list under the key is no error");
    assert!(answer(&reply, &request).found[0].fits);
}

/// The answer to a call for one request.
fn answer(reply: &[u8], takes: &[Take]) -> Answer {
    script::answers(reply, std::iter::once(takes)).expect("the script's reply").remove(0)
}

/// Sources need not agree on what a full bucket's instant in the past is, only that it is full.
fn known(mut answer: Answer) -> Answer {
    for found in &mut answer.found {
        if let Seen::TokenBucket { full_at } = &mut found.seen {
            *full_at = (*full_at).max(Exact::at_us(answer.now_us));
        }
    }
    answer
}

fn replies(connection: &mut Connection, digest: &str, sequences: &[Sequence]) -> Vec<Vec<u8>> {
    let mut pipeline: Pipeline = pipe();
    for (number, sequence) in (0..).zip(sequences) {
        pipeline.cmd("SET").arg(EPOCH_KEY).arg(Table::of(number).epoch_us).ignore();
        for (now_us, takes) in sequence {
            let mut command = Call::new([&takes[..]]).command("EVALSHA", digest);
            command.arg(*now_us);
            pipeline.add_command(command);
        }
    }
    pipeline.query(connection).expect("every call runs")
}

/// Up to 12 requests of up to 4 takes over 3 buckets, each bucket with a limit of its own.
fn sequence(rng: &mut SmallRng, number: u64) -> Sequence {
    let limits: Vec<LimitSpec> = (0..3).map(|_| limit(rng)).collect();
    let mut now_us = START_US;
    (0..rng.random_range(1..=12))
        .map(|_| {
            now_us = step(rng, now_us, &limits[0].check().expect("sound"));
            let takes = (0..rng.random_range(1..=4)).map(|_| take(rng, number, &limits)).collect();
            (now_us, takes)
        })
        .collect()
}

fn take(rng: &mut SmallRng, sequence: u64, limits: &[LimitSpec]) -> Take {
    let index = rng.random_range(0..limits.len());
    let mut bytes = [u8::try_from(index).expect("three buckets"); 16];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    // The same bucket with and without: a request's own limit has no overdraft.
    let overdraft = *[Overdraft::Never, Overdraft::Never, Overdraft::Charge].choose(rng).expect("one");
    let limit = LimitSpec { overdraft, ..limits[index] }.check();
    let limit = limit.or_else(|_| limits[index].check()).expect("sound");
    let burst = u64::from(limit.burst());
    let hits = *[1, 1, 1, 0, burst, burst + 1, burst / 2, 2 * burst, u64::MAX].choose(rng).expect("one");
    let hits = Hits::new(Some(hits), 0, rng.random_bool(0.1));
    let standings = [Standing::Enforced, Standing::Enforced, Standing::Quota, Standing::Shadow];
    let ask = Ask::new(hits, &limit).standing(*standings.choose(rng).expect("one"));
    Take { key: BucketKey::from_bytes(bytes), ask }
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
    ];
    let (requests_per_unit, unit, burst) = *chosen.choose(rng).expect("one");
    let period = Period { unit, multiplier: rng.random_range(1..3) };
    let algorithm = *Algorithm::ALL.choose(rng).expect("one");
    let burst = Some(burst).filter(|_| algorithm == Algorithm::TokenBucket);
    let after_store_loss = *AfterStoreLoss::ALL.choose(rng).expect("one");
    let spec = LimitSpec { algorithm, burst, after_store_loss, ..LimitSpec::new(requests_per_unit, period) };
    if spec.check().is_ok() { spec } else { LimitSpec { requests_per_unit: 9, ..spec } }
}

/// Forward by nothing, by about a token's time, by about the time to full; now and then back.
fn step(rng: &mut impl Rng, now_us: u64, limit: &Limit) -> u64 {
    let token_us = limit.cost(1).whole_us.max(1);
    match rng.random_range(0..8) {
        0..4 => now_us,
        4 | 5 => now_us + rng.random_range(0..=token_us + 1),
        6 => now_us + limit.worth_of_burst().whole_us + rng.random_range(0..2),
        _ => now_us - rng.random_range(0..=token_us.min(1_000_000_000)),
    }
}
