//! Requests over several slots, against one store that decides them whole.

use std::collections::{BTreeMap, HashMap};

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use super::{Legs, Todo};
use crate::store::{
    StoreError,
    redis::denial_cache::{DenialCache, Trip},
};
use tollgate_core::{
    decision::{Answer, Demand, Enforcement, Kind, Seen, State, Take, Takes, Verdict, decide},
    descriptor::{BucketKey, Hits},
    limit::{Algorithm, Exact, Limit, LimitSpec, Overdraft, Unit},
};

const START_US: u64 = 1_800_000_000_000_000;
/// How far the clock of each master is ahead of the first one's.
const AHEAD_US: [u64; 3] = [0, 100_000, 7_300_000];
const LOCAL_US: u64 = 5_000_000;

type Table = HashMap<BucketKey, State>;

fn slot(key: &BucketKey) -> u16 {
    u16::from(key.digest()[0] % 3)
}

/// Three masters, each of one slot.
#[derive(Debug, Default)]
struct Masters {
    tables: [Table; 3],
    /// The slots that were asked, in order.
    asked: Vec<u16>,
    /// What was given back.
    given_back: Vec<(u16, Takes)>,
    /// This one does not answer.
    silent: Option<u16>,
}

impl Masters {
    fn clock_us(slot: u16, now_us: u64) -> u64 {
        now_us + AHEAD_US[usize::from(slot)]
    }

    fn decide(&mut self, slot: u16, takes: &[Take], now_us: u64) -> Answer {
        decide(takes, Masters::clock_us(slot, now_us), &mut self.tables[usize::from(slot)])
    }

    /// Decides a request, whose legs are answered in a random order.
    fn take(
        &mut self,
        takes: &Takes,
        memory: &mut DenialCache,
        now_us: u64,
        rng: &mut SmallRng,
    ) -> Result<Answer, StoreError> {
        let local_us = LOCAL_US + now_us - START_US;
        let trip = Trip { sent_us: local_us, arrived_us: local_us };
        let mut legs = Legs::new(takes.clone(), slot);
        let (mut under_way, mut outcome) = (Vec::new(), None);
        let mut todos = legs.begin(memory, local_us);
        loop {
            for todo in todos {
                match todo {
                    Todo::Ask { leg, slot, takes } => {
                        self.asked.push(slot);
                        under_way.push((leg, slot, takes));
                    }
                    Todo::GiveBack { slot, over, takes } => {
                        assert_eq!(slot, over, "it goes to the master that was charged");
                        let answer = self.decide(slot, &takes, now_us);
                        memory.learn(&takes, &answer, trip);
                        self.given_back.push((slot, takes));
                    }
                    Todo::Done(result) => assert!(outcome.replace(result).is_none(), "one outcome"),
                }
            }
            if under_way.is_empty() {
                return outcome.expect("an outcome");
            }
            let (leg, slot, takes) = under_way.swap_remove(rng.random_range(0..under_way.len()));
            let answer = if self.silent == Some(slot) {
                Err(StoreError::Deadline)
            } else {
                let answer = self.decide(slot, &takes, now_us);
                memory.learn(&takes, &answer, trip);
                Ok((answer, slot))
            };
            todos = legs.answered(leg, answer);
        }
    }
}

fn dice() -> (u64, SmallRng) {
    let seed = rand::random();
    (seed, SmallRng::seed_from_u64(seed))
}

fn limit(number: u8) -> Limit {
    let spec = match number % 5 {
        0 => LimitSpec { burst: Some(3), ..LimitSpec::new(7, Unit::Second) },
        1 => LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(4, Unit::Minute) },
        2 => LimitSpec { algorithm: Algorithm::SlidingWindowLog, ..LimitSpec::new(4, Unit::Second) },
        3 => LimitSpec { overdraft: Overdraft::Charge, ..LimitSpec::new(3, Unit::Second) },
        _ => LimitSpec { burst: Some(2), ..LimitSpec::new(1, Unit::Minute) },
    };
    spec.check().unwrap()
}

fn take(number: u8, hits: Hits, enforcement: Enforcement) -> Take {
    let demand = Demand::new(hits, &limit(number)).enforcement(enforcement);
    Take { key: BucketKey::from_bytes([number; 16]), demand }
}

/// Up to six takes of ten buckets, some of them twice. What gives back has buckets of its own, since within one request
/// it comes last.
fn request(rng: &mut SmallRng) -> Takes {
    let mut one = || {
        let number = rng.random_range(0..10);
        let hits = match rng.random_range(0..12) {
            0 => Hits::Peek,
            1 => Hits::Take(rng.random_range(2..6)),
            _ => Hits::Take(1),
        };
        let enforcements = [Enforcement::Enforced, Enforcement::Quota, Enforcement::Shadow];
        let enforcement = *enforcements.choose(rng).unwrap();
        match rng.random_range(0..10) {
            0 => take(number + 10, Hits::GiveBack(rng.random_range(1..3)), enforcement),
            1 => take(number + 10, Hits::Take(1), Enforcement::Shadow),
            _ => take(number, hits, enforcement),
        }
    };
    let count = 1 + usize::from(one().key.digest()[0] % 6);
    let mut takes: Takes = (0..count).map(|_| one()).collect();
    let is_given_back = |key: &BucketKey, takes: &Takes| {
        takes.iter().any(|take| take.key == *key && take.demand.kind == Kind::GiveBack)
    };
    let whole = takes.clone();
    takes.retain(|take| take.demand.kind == Kind::GiveBack || !is_given_back(&take.key, &whole));
    takes
}

/// The states by the clock of the first master.
fn states(tables: &[Table; 3], now_us: u64) -> BTreeMap<u8, (u64, Option<u32>)> {
    let mut states = BTreeMap::new();
    for (table, ahead_us) in tables.iter().zip(AHEAD_US) {
        let kept = table.iter().filter(|(_, state)| state.spent_us() > now_us + ahead_us);
        states.extend(kept.map(|(key, state)| {
            let peek = [take(key.digest()[0], Hits::Peek, ENFORCED)];
            let counted = match decide(&peek, now_us + ahead_us, &mut table.clone()).found[0].seen {
                Seen::TokenBucket { .. } => None,
                Seen::FixedWindow(window) => Some(window.count),
                // Hits that have left may still be kept.
                Seen::SlidingLog { held, .. } => Some(held),
            };
            let is_window = matches!(state, State::FixedWindow(_));
            (key.digest()[0], (if is_window { 0 } else { state.spent_us() - ahead_us }, counted))
        }));
    }
    states
}

/// What clients are told of it, apart from windows, which end by the clock of their master.
fn told(answer: &Answer) -> Vec<(bool, Option<Exact>, Option<u32>)> {
    let told = answer.found.iter().map(|found| match found.seen {
        Seen::TokenBucket { full_at } => (
            found.fits,
            Some(full_at.max(Exact::at_us(answer.now_us)).minus(Exact::at_us(answer.now_us), 1_000)),
            None,
        ),
        Seen::FixedWindow(window) => (found.fits, None, Some(window.count)),
        Seen::SlidingLog { held, .. } => (found.fits, None, Some(held)),
    });
    told.collect()
}

/// While nothing else happens.
#[test]
fn legs_decide_charge_and_tell_as_one_store_would() {
    let (seed, mut rng) = dice();
    let (mut denied, mut several, mut gave_back) = (0, 0, 0);
    for _ in 0..3_000 {
        let (mut masters, mut one, mut now_us) = (Masters::default(), Table::default(), START_US);
        for _ in 0..rng.random_range(1..12) {
            now_us += *[0, 1, 90_000, 700_000].choose(&mut rng).unwrap();
            let takes = request(&mut rng);
            // Without memory, which tells the same a little later.
            let answer = masters.take(&takes, &mut DenialCache::off(), now_us, &mut rng).unwrap();
            let expected = decide(&takes, now_us, &mut one);
            assert_eq!(answer.verdict, expected.verdict, "seed {seed}: {takes:#?}");
            let slots = Legs::<()>::new(takes.clone(), slot).slots().count();
            // A metering take shows the bucket that it charged, and that is undone only later. And legs of a denied request
            // give nothing back, so the second of two that do to one bucket finds it as the first did.
            let meters = |take: &Take| take.demand.meters();
            let gives_back = |key: &BucketKey| {
                takes.iter().filter(|take| take.key == *key && take.demand.kind.gives_back()).count()
            };
            let differs = |take: &Take| meters(take) || gives_back(&take.key) > 1;
            if expected.verdict == Verdict::Allow || !takes.iter().any(differs) {
                assert_eq!(told(&answer), told(&expected), "seed {seed}: {takes:#?}");
            }
            let alone = [one.clone(), Table::default(), Table::default()];
            assert_eq!(states(&masters.tables, now_us), states(&alone, now_us), "seed {seed}: {takes:#?}");
            denied += u32::from(answer.verdict == Verdict::Deny);
            several += u32::from(slots > 1);
        }
        gave_back += masters.given_back.len();
    }
    assert!(denied > 1_000 && several > 1_000 && gave_back > 100, "{denied} {several} {gave_back}");
}

#[test]
fn what_memory_knows_changes_no_verdict_and_charges_nothing_else() {
    let (seed, mut rng) = dice();
    let mut remembered = 0;
    for _ in 0..1_000 {
        let (mut masters, mut one, mut now_us) = (Masters::default(), Table::default(), START_US);
        let mut memory = DenialCache::default();
        for _ in 0..rng.random_range(1..20) {
            now_us += *[0, 1, 90_000, 700_000].choose(&mut rng).unwrap();
            let takes = request(&mut rng);
            let asked = masters.asked.len();
            let answer = masters.take(&takes, &mut memory, now_us, &mut rng).unwrap();
            let expected = decide(&takes, now_us, &mut one);
            let fits = |answer: &Answer| answer.found.iter().map(|found| found.fits).collect::<Vec<_>>();
            assert_eq!(
                (answer.verdict, fits(&answer)),
                (expected.verdict, fits(&expected)),
                "seed {seed}: {takes:#?}"
            );
            let alone = [one.clone(), Table::default(), Table::default()];
            assert_eq!(states(&masters.tables, now_us), states(&alone, now_us), "seed {seed}: {takes:#?}");
            let slots = Legs::<()>::new(takes.clone(), slot).slots().count();
            remembered += u32::from(masters.asked.len() - asked < slots);
        }
    }
    assert!(remembered > 100, "{remembered} legs were answered from memory");
}

const ENFORCED: Enforcement = Enforcement::Enforced;

fn takes(numbers: &[u8]) -> Takes {
    numbers.iter().map(|number| take(*number, Hits::Take(1), ENFORCED)).collect()
}

#[test]
fn a_leg_that_was_without_room_lately_goes_first_and_alone() {
    let (_, mut rng) = dice();
    let (mut masters, mut memory) = (Masters::default(), DenialCache::default());
    // Bucket 5, in slot 2, is emptied; a token comes back within half a second.
    let emptying: Takes =
        [take(5, Hits::Take(3), ENFORCED), take(0, Hits::Take(1), ENFORCED)].into_iter().collect();
    masters.take(&emptying, &mut memory, START_US, &mut rng).unwrap();
    masters.asked.clear();
    let answer = masters.take(&takes(&[0, 10, 5]), &mut memory, START_US + 150_000, &mut rng).unwrap();
    assert_eq!((answer.verdict, &masters.asked[..1]), (Verdict::Allow, &[2][..]));
    // Until then it is known to deny, so that nothing is taken.
    masters.asked.clear();
    let answer = masters.take(&takes(&[0, 10, 5]), &mut memory, START_US + 160_000, &mut rng).unwrap();
    assert_eq!((answer.verdict, &masters.asked[..]), (Verdict::Deny, &[0, 1][..]));
    assert!(masters.given_back.is_empty());
}

#[test]
fn if_a_leg_is_lost_the_others_are_undone_and_the_request_fails() {
    let (_, mut rng) = dice();
    let mut masters = Masters { silent: Some(1), ..Masters::default() };
    let memory = &mut DenialCache::default();
    let outcome = masters.take(&takes(&[0, 10, 5]), memory, START_US, &mut rng);
    assert!(matches!(outcome, Err(StoreError::Deadline)), "{outcome:?}");
    assert_eq!(states(&masters.tables, START_US).len(), 0, "nothing is left charged");
    assert_eq!(masters.given_back.len(), 2);
}

#[test]
fn a_request_that_never_fits_takes_nothing() {
    let (_, mut rng) = dice();
    let mut masters = Masters::default();
    let too_much: Takes =
        [take(0, Hits::Take(1), ENFORCED), take(10, Hits::Take(99), ENFORCED)].into_iter().collect();
    let answer = masters.take(&too_much, &mut DenialCache::off(), START_US, &mut rng).unwrap();
    assert_eq!((answer.verdict, masters.given_back.len()), (Verdict::Deny, 0));
    assert_eq!(answer.found.iter().map(|found| found.fits).collect::<Vec<_>>(), [true, false]);
}
