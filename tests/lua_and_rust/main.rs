//! The script in Redis and `decision::decide` give the same answers to the same random takes at the same times.

mod calls;
mod changes;
mod leases;
mod months;
mod sequences;
mod stored;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::HashMap, env};

use rand::{SeedableRng, random, rngs::SmallRng};
use redis::{Connection, Pipeline, cmd, pipe};
use tollgate::store::redis::script::{self, Call, EPOCH_KEY, Now};
use tollgate_core::{
    decision::{Answer, Buckets, Seen, State, Take, decide},
    descriptor::BucketKey,
    limit::Exact,
};

use sequences::{START_US, Sequence, sequence};

const SEQUENCES: u64 = 20_000;

/// The buckets of the store, and its epoch.
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
    /// The store at the start of a sequence: new, or of some age.
    fn new(sequence: u64) -> Table {
        let ages_us = [0, 1, 300_000, 60_000_000, 4_000_000_000_000_000];
        let age_us = *ages_us.iter().cycle().nth(usize::try_from(sequence % 5).expect("small")).expect("one");
        Table { epoch_us: START_US - age_us, ..Table::default() }
    }
}

#[tokio::test]
async fn lua_and_rust_answer_alike_on_random_sequences_of_takes() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let digest = load(&mut connection);
    let mut denied = 0;
    for batch in 0..SEQUENCES / 100 {
        let sequences: Vec<Sequence> =
            (0..100).map(|number| sequence(&mut rng, batch * 100 + number)).collect();
        let replies = replies(&mut connection, &digest, &sequences);
        let mut replies = replies.iter();
        for (number, sequence) in (0..).zip(&sequences) {
            let mut table = Table::new(number);
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
async fn requests_of_one_batch_that_name_the_same_buckets_see_each_other() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let (seed, mut rng) = dice();
    let mut mixed = 0;
    let () = cmd("SET").arg(EPOCH_KEY).arg(START_US - 100_000).query(&mut connection).expect("sets");
    for number in 0..1_000 {
        let batch: Sequence = sequence(&mut rng, number);
        let mut command = Call::new(batch.iter().map(|(_, takes)| &takes[..]))
            .command("EVAL", &script::text(Now::Argument));
        let reply: Vec<u8> = command.arg(START_US).query(&mut connection).expect("runs");
        let answers =
            script::answers(&reply, batch.iter().map(|(_, takes)| &takes[..])).expect("the script's reply");
        let mut table = Table { epoch_us: START_US - 100_000, ..Table::default() };
        let expected = batch.iter().map(|(_, takes)| known(decide(takes, START_US, &mut table)));
        let answers: Vec<Answer> = answers.into_iter().map(known).collect();
        assert_eq!(answers, expected.collect::<Vec<_>>(), "seed {seed}: {batch:#?}");
        mixed += u32::from(answers.iter().any(|answer| answer.verdict != answers[0].verdict));
    }
    assert!(mixed > 100, "only {mixed} batches were allowed in part: the test is too gentle");
}

/// A new seed, which is printed, or the one in `TOLLGATE_SEED`; and its random generator.
fn dice() -> (u64, SmallRng) {
    let seed = env::var("TOLLGATE_SEED").map_or_else(|_| random(), |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    (seed, SmallRng::seed_from_u64(seed))
}

/// Loads the script that takes the time from its arguments, and returns its digest.
fn load(connection: &mut Connection) -> String {
    cmd("SCRIPT").arg("LOAD").arg(script::text(Now::Argument)).query(connection).expect("loads")
}

/// The answer to a call for one request.
fn answer(reply: &[u8], takes: &[Take]) -> Answer {
    script::answers(reply, std::iter::once(takes)).expect("the script's reply").remove(0)
}

/// The two need not agree on the past instant at which a full bucket was full.
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
        pipeline.cmd("SET").arg(EPOCH_KEY).arg(Table::new(number).epoch_us).ignore();
        for (now_us, takes) in sequence {
            let mut command = Call::new([&takes[..]]).command("EVALSHA", digest);
            command.arg(*now_us);
            pipeline.add_command(command);
        }
    }
    pipeline.query(connection).expect("every call runs")
}
