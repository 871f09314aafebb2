//! The hits that the script admits while limits change between takes, and replicas disagree about them.

use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};
use redis::{Connection, cmd};
use tollgate::store::redis::script::Call;
use tollgate_core::{
    decision::{Demand, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Exact, Limit, Unit},
};

use crate::{answer, dice, load, sequences::START_US, support};

/// Rates whose fractions of a microsecond differ; each is a whole number of these parts.
const PER_US: i128 = 2_520 * 11;
const MINUTE_US: i128 = 60_000_000;
const NUMBERS: [(u32, u32); 7] = [(7, 7), (7, 1), (9, 30), (11, 3), (8, 20), (63, 2), (2_520, 500)];

fn parts(time: Exact, limit: &Limit) -> i128 {
    i128::from(time.whole_us) * PER_US + i128::from(time.fraction) * (PER_US / i128::from(limit.per_us()))
}

/// A bucket that is asked under one of the limits after the other.
struct Bucket<'c> {
    connection: &'c mut Connection,
    digest: String,
    key: BucketKey,
    now_us: u64,
}

impl Bucket<'_> {
    fn ask(&mut self, limit: &Limit, hits: Hits) -> (Verdict, Exact) {
        let takes = [Take { key: self.key, demand: Demand::new(hits, limit) }];
        let mut command = Call::new([&takes[..]]).command("EVALSHA", &self.digest);
        let reply: Vec<u8> = command.arg(self.now_us).query(self.connection).expect("runs");
        let answer = answer(&reply, &takes);
        assert_eq!(answer.malformed, 0, "no value is damaged");
        (answer.verdict, answer.found[0].full_at())
    }
}

/// Mostly one hit, or all that fit; sometimes a few are given back.
fn hits(rng: &mut SmallRng, level: u32) -> Hits {
    match rng.random_range(0..12) {
        0 => Hits::GiveBack(rng.random_range(0..9)),
        1..6 => Hits::Take(u64::from(level.max(1))),
        _ => Hits::Take(1),
    }
}

#[tokio::test]
async fn whatever_numbers_change_the_script_admits_an_intervals_length_and_the_largest_burst_in_time() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let limits =
        NUMBERS.map(|(requests, burst)| Limit::new(requests, Unit::Minute, Some(burst)).expect("sound"));
    let largest =
        NUMBERS.map(|(requests, burst)| i128::from(burst) * MINUTE_US * PER_US / i128::from(requests));
    let largest = largest.into_iter().max().expect("one");
    let (mut admitted, mut closest) = (0, i128::MAX);
    for number in 0..400_u128 {
        let key = BucketKey::from_bytes(number.to_le_bytes());
        let digest = digest.clone();
        let mut bucket = Bucket { connection: &mut connection, digest, key, now_us: START_US };
        // Admitted minus given back, as time, over the worst interval that ends now.
        let mut worst = 0;
        for _ in 0..60 {
            let limit = limits.choose(&mut rng).expect("one");
            let before_us = bucket.now_us;
            let (_, full_at) = bucket.ask(limit, Hits::Peek);
            bucket.now_us += match rng.random_range(0..8) {
                0..3 => 0,
                3 | 4 => rng.random_range(0..30_000_000),
                _ => limit.wait_us(full_at, limit.cost(1), before_us).saturating_sub(rng.random_range(0..2)),
            };
            worst -= i128::from(bucket.now_us - before_us) * PER_US;
            let hits = hits(&mut rng, limit.level(full_at, bucket.now_us));
            match (hits, bucket.ask(limit, hits).0) {
                (Hits::Take(hits), Verdict::Allow) => {
                    worst = worst.max(0) + parts(limit.cost(hits), limit);
                    admitted += hits;
                }
                (Hits::GiveBack(hits), _) => worst -= parts(limit.worth(hits), limit),
                _ => {}
            }
            assert!(worst <= largest, "seed {seed}: {} parts too much", worst - largest);
            closest = closest.min(largest - worst);
        }
    }
    let () = cmd("FLUSHALL").query(&mut connection).expect("clears");
    assert!(admitted > 10_000 && closest < PER_US, "{admitted} admitted, {closest} parts below: too gentle");
}
