//! What the script stores in Redis and for how long, and how it reads values that others stored.

use std::collections::HashMap;

use redis::{Connection, cmd, pipe};
use tollgate::store::redis::{
    keys::redis_key,
    script::{self, Call, EPOCH_KEY, Now},
};
use tollgate_core::{
    decision::{Answer, Demand, State, Take, decide},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Exact, Limit, LimitSpec, MOST_LOGGED, Unit},
};

use crate::{
    Table, answer, dice, load,
    sequences::{START_US, sequence},
    support,
};

/// One request at that time.
fn ask(connection: &mut Connection, request: &[Take], now_us: u64) -> Answer {
    let mut command = Call::new([request]).command("EVAL", &script::text(Now::Argument));
    let reply: Vec<u8> = command.arg(now_us).query(connection).expect("runs");
    answer(&reply, request)
}

#[tokio::test]
async fn a_bucket_is_stored_exactly_and_expires_when_it_would_be_full() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    let request = [Take { key, demand: Demand::new(Hits::Take(3), &limit) }];
    assert_eq!(ask(&mut connection, &request, START_US).now_us, START_US);

    // 3 of 7 a minute: 25,714,285 µs and 5/7.
    let stored = full_at(START_US + 25_714_285, 5, 7);
    let value: Vec<u8> = cmd("GET").arg(&redis_key(&key)[..]).query(&mut connection).expect("is there");
    assert_eq!(value, stored);
    let expiry_s: u64 = cmd("EXPIRETIME").arg(&redis_key(&key)[..]).query(&mut connection).expect("expires");
    assert_eq!(expiry_s, (START_US + 25_714_286).div_ceil(1_000_000), "in the same second, not before");
}

/// The stored value of a token bucket: when it is full, with a fraction in parts of a microsecond.
fn full_at(whole_us: u64, fraction: u32, per_us: u32) -> Vec<u8> {
    [&whole_us.to_le_bytes()[..], &fraction.to_le_bytes(), &per_us.to_le_bytes()].concat()
}

/// The length in bytes. Hits of one instant are one run of a log.
fn stored_length(state: &State) -> usize {
    match state {
        State::TokenBucket(_) => 16,
        State::FixedWindow(_) => 12,
        State::SlidingLog(log) => 4 + 12 * log.len(),
        State::Leased(_) => unreachable!("nobody leases here"),
    }
}

/// The instant until which the bucket counts as used up if it is missing.
fn used_up_until_us(take: &Take, epoch_us: u64) -> u64 {
    match take.demand.after_store_loss {
        AfterStoreLoss::Full => 0,
        AfterStoreLoss::Empty => take.demand.empty(epoch_us).map_or(epoch_us, |used_up| used_up.spent_us()),
    }
}

#[tokio::test]
async fn every_stored_bucket_is_no_longer_than_it_must_be_and_expires_within_the_second_after_its_last_instant()
 {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let (mut stored, mut gone) = (0, 0);
    for number in 0..2_000 {
        let sequence = sequence(&mut rng, number);
        let mut table = Table::new(number);
        let () = cmd("SET").arg(EPOCH_KEY).arg(table.epoch_us).query(&mut connection).expect("sets");
        let mut used_up: HashMap<BucketKey, (u64, u64)> = HashMap::new();
        for (now_us, takes) in &sequence {
            decide(takes, *now_us, &mut table);
            for take in takes {
                let until_us = used_up_until_us(take, table.epoch_us);
                let (least_us, most_us) = used_up.entry(take.key).or_insert((until_us, until_us));
                (*least_us, *most_us) = (until_us.min(*least_us), until_us.max(*most_us));
            }
            let mut pipeline = pipe();
            let mut command = Call::new([&takes[..]]).command("EVALSHA", &digest);
            command.arg(*now_us);
            pipeline.add_command(command).ignore();
            for take in takes {
                pipeline.cmd("EXPIRETIME").arg(&redis_key(&take.key)[..]);
                pipeline.cmd("STRLEN").arg(&redis_key(&take.key)[..]);
            }
            let told: Vec<i64> = pipeline.query(&mut connection).expect("every call runs");
            for (take, told) in takes.iter().zip(told.as_chunks().0) {
                let [expiry_s, length] = *told;
                let state = table.buckets.get(&take.key);
                assert_eq!(
                    usize::try_from(length),
                    Ok(state.map_or(0, stored_length)),
                    "seed {seed}: {sequence:#?}"
                );
                let last_us = state.map(State::spent_us);
                // -2 says that there is no such key.
                let Some(last_us) = last_us else {
                    assert_eq!(expiry_s, -2, "seed {seed}: {sequence:#?}");
                    gone += 1;
                    continue;
                };
                let expiry_us = u64::try_from(expiry_s).expect("the key is there, and expires") * 1_000_000;
                // While the bucket would count as used up if it were missing, under the limit that charged it last, the
                // key must exist.
                let (least_us, most_us) = used_up[&take.key];
                let first_us = if least_us > *now_us { last_us.max(least_us) } else { last_us };
                let range = first_us..=last_us.max(most_us) + 1_000_000;
                assert!(range.contains(&expiry_us), "seed {seed}: {expiry_us} of {range:?}: {sequence:#?}");
                stored += 1;
            }
        }
    }
    assert!(stored > 2_000 && gone > 1_000, "{stored} stored, {gone} gone: the test is too gentle");
}

#[tokio::test]
async fn a_bucket_that_is_given_back_in_full_leaves_no_key() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    for hits in [Hits::Take(3), Hits::GiveBack(5)] {
        let request = [Take { key, demand: Demand::new(hits, &limit) }];
        ask(&mut connection, &request, START_US);
    }
    let keys: u64 = cmd("DBSIZE").query(&mut connection).expect("counts");
    assert_eq!(keys, 0);
}

/// The limit has `after_store_loss: empty`.
#[tokio::test]
async fn a_bucket_that_the_store_has_lost_counts_as_used_up_when_the_store_began_anew() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let after_store_loss = AfterStoreLoss::Empty;
    let limit = LimitSpec { after_store_loss, burst: Some(3), ..LimitSpec::new(1, Unit::Second) };
    let limit = limit.check().expect("sound");
    let mut passed = |hits: Hits, after_us: u64| {
        let request = [Take { key: BucketKey::from_bytes([1; 16]), demand: Demand::new(hits, &limit) }];
        ask(&mut connection, &request, START_US + after_us).found[0].fits
    };
    let one = Hits::Take(1);
    assert!(!passed(one, 0), "a store that was never seen is one that may have lost everything");
    assert!(!passed(one, 999_999));
    assert!(passed(one, 1_000_000));
    assert!(!passed(one, 1_000_000), "one token had come back since the epoch");
    // After a refund it is full, although its key would otherwise expire.
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
    let request = [Take { key, demand: Demand::new(Hits::Take(3), &limit) }];
    let damaged = [
        Vec::new(),
        b"hello".to_vec(),
        vec![0; 12],
        vec![0; 17],
        vec![0xff; 16],
        full_at(1 << 53, 0, 7),
        full_at(START_US, 7, 7),
        full_at(START_US, 0, 0),
    ];
    for value in damaged {
        let () = cmd("SET").arg(&redis_key(&key)[..]).arg(&value).query(&mut connection).expect("sets");
        let answer = ask(&mut connection, &request, START_US);
        assert_eq!((answer.malformed, answer.found[0].full_at()), (1, Exact::default()), "{value:?}");
    }
    let () = cmd("DEL").arg(&redis_key(&key)[..]).query(&mut connection).expect("deletes");
    let () = cmd("LPUSH").arg(&redis_key(&key)[..]).arg("x").query(&mut connection).expect("pushes");
    assert!(ask(&mut connection, &request, START_US).found[0].fits, "a list under the key is no error");
}

#[tokio::test]
async fn a_fraction_that_was_written_under_another_rate_rounds_up_and_is_not_malformed() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let limit = Limit::new(7, Unit::Minute, Some(7)).expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    let request = [Take { key, demand: Demand::new(Hits::Take(8), &limit) }];
    let at = |whole_us, fraction| Exact { whole_us: START_US + whole_us, fraction };
    for (stored, found) in [
        (full_at(START_US + 9, 6, 7), at(9, 6)),
        (full_at(START_US + 9, 6, 11), at(10, 0)),
        (full_at(START_US + 9, 10, 11), at(10, 0)),
        (full_at(START_US + 9, u32::MAX - 1, u32::MAX), at(10, 0)),
        (full_at(START_US + 9, 0, 11), at(9, 0)),
    ] {
        let () = cmd("SET").arg(&redis_key(&key)[..]).arg(&stored).query(&mut connection).expect("sets");
        let answer = ask(&mut connection, &request, START_US);
        assert_eq!((answer.malformed, answer.found[0].full_at()), (0, found), "{stored:?}");
        let left: Vec<u8> = cmd("GET").arg(&redis_key(&key)[..]).query(&mut connection).expect("is there");
        assert_eq!(left, stored, "a denied take leaves the bucket as it is");
    }
}

/// Redis does nothing else during that time.
#[tokio::test]
async fn giving_back_all_of_the_longest_log_costs_redis_a_few_milliseconds() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let spec = LimitSpec { algorithm: Algorithm::SlidingWindowLog, ..LimitSpec::new(MOST_LOGGED, Unit::Day) };
    let limit = spec.check().expect("sound");
    let key = BucketKey::from_bytes([1; 16]);
    let mut log = MOST_LOGGED.to_le_bytes().to_vec();
    for number in 0..u64::from(MOST_LOGGED) {
        log.extend((START_US + 1_000_000 + number).to_le_bytes());
        log.extend(1_u32.to_le_bytes());
    }
    let mut took = |hits: Hits| {
        let () = cmd("SET").arg(&redis_key(&key)[..]).arg(&log).query(&mut connection).expect("sets");
        let () = cmd("CONFIG").arg("RESETSTAT").query(&mut connection).expect("resets");
        assert!(
            ask(&mut connection, &[Take { key, demand: Demand::new(hits, &limit) }], START_US).found[0].fits
        );
        let stats: String = cmd("INFO").arg("commandstats").query(&mut connection).expect("tells");
        let of_script = stats.lines().find(|line| line.starts_with("cmdstat_eval:")).expect("it ran");
        let us = of_script.split("usec=").nth(1).and_then(|text| text.split(',').next()).expect("a figure");
        us.parse::<u64>().expect("a number")
    };
    // It parses each run once; to cut the text for each run would copy 600 MB. The least of five is Redis' own time.
    let least_us = (0..5).map(|_| took(Hits::GiveBack(u64::MAX))).min().expect("five");
    assert!(least_us < 20_000, "{least_us} µs");
}
