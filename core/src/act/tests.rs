use std::collections::HashMap;

use proptest::{
    prelude::{Just, Strategy, prop, prop_oneof, proptest},
    prop_assert, prop_assert_eq, sample,
};

use super::{Act, Level, NonZeroU64, NotALevel, Shown};
use crate::{
    applied::{Applied, QuotaMode},
    decision::{State, Takes, Verdict, decide},
    descriptor::{BucketKey, Descriptor, Hits, KeyForm, Request},
    limit::{Algorithm, Limit, LimitSpec, Overdraft, Unit},
    matcher::Matcher,
    rules::{Domain, Pattern},
};

type Table = HashMap<BucketKey, State>;

const START_US: u64 = 1_800_000_000_000_000;

fn limit(requests_per_unit: u32, unit: Unit, burst: u32) -> Limit {
    Limit::new(requests_per_unit, unit, Some(burst)).unwrap()
}

fn counting(requests_per_unit: u32, unit: Unit, algorithm: Algorithm) -> Limit {
    LimitSpec { algorithm, ..LimitSpec::new(requests_per_unit, unit) }.check().unwrap()
}

fn limits() -> impl Strategy<Value = Limit> {
    sample::select(vec![
        limit(7, Unit::Second, 7),
        limit(7, Unit::Second, 1),
        limit(60, Unit::Minute, 3),
        limit(1_000_003, Unit::Minute, 5),
        counting(4, Unit::Second, Algorithm::FixedWindow),
        counting(4, Unit::Second, Algorithm::SlidingWindowLog),
    ])
}

/// One key under one limit.
struct Bench {
    matcher: Matcher,
    table: Table,
    now_us: u64,
}

impl Bench {
    fn new(limit: Limit) -> Bench {
        let descriptors = vec![Pattern::with_limit("user", None, limit)];
        let domain = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
        Bench { matcher: Matcher::new(vec![domain]), table: Table::new(), now_us: START_US }
    }

    fn applied(&self, hits: Hits) -> Applied<'_> {
        let descriptor = Descriptor::new([(&b"user"[..], &b"ann"[..])], hits);
        let request = Request { domain: b"edge", descriptors: [descriptor].into_iter().collect() };
        let rules = self.matcher.domain(b"edge").unwrap();
        rules.apply(&request, QuotaMode::AsConfigured, KeyForm::Whole).unwrap()
    }

    fn admits(&mut self, hits: u64) -> bool {
        let takes: Takes = self.applied(Hits::Take(hits)).limits.iter().map(|limit| limit.take).collect();
        decide(&takes, self.now_us, &mut self.table).verdict == Verdict::Allow
    }

    fn would_admit(&self, hits: u64, after_us: u64) -> bool {
        let takes: Takes = self.applied(Hits::Take(hits)).limits.iter().map(|limit| limit.take).collect();
        decide(&takes, self.now_us + after_us, &mut self.table.clone()).verdict == Verdict::Allow
    }

    fn act(&mut self, act: Act) -> Shown {
        let applied = self.applied(Hits::One);
        let mut table = self.table.clone();
        let answer = decide(&act.takes(&applied.limits), self.now_us, &mut table);
        assert_eq!(answer.verdict, Verdict::Allow, "an act is never denied");
        let shown = act.shown(&applied.limits, &answer);
        drop(applied);
        self.table = table;
        let [shown] = shown.try_into().unwrap();
        shown
    }
}

fn grant(hits: u64) -> Act {
    Act::Grant(NonZeroU64::new(hits).unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Take(u64),
    Reset,
    Grant(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..400_000_u64).prop_map(Step::Wait),
        6 => (1..=3_u64).prop_map(Step::Take),
        1 => Just(Step::Reset),
        1 => (1..=4_u64).prop_map(Step::Grant),
    ];
    prop::collection::vec(step, 1..60)
}

impl Bench {
    /// The hits that were admitted.
    fn step(&mut self, step: &Step) -> u64 {
        match step {
            Step::Wait(us) => self.now_us += us,
            Step::Take(hits) => return if self.admits(*hits) { *hits } else { 0 },
            Step::Reset => drop(self.act(Act::Reset)),
            Step::Grant(hits) => drop(self.act(grant(*hits))),
        }
        0
    }
}

/// The most hits, in 1/(period in µs) of a hit, that may be admitted over an interval with these acts.
fn most(limit: &Limit, length_us: u64, resets: u64, granted: u64) -> u128 {
    let period_us = u128::from(limit.period().seconds()) * 1_000_000;
    let whole = u128::from(u64::from(limit.burst()) * (1 + resets) + granted) * period_us;
    match limit.algorithm() {
        Algorithm::TokenBucket => whole + u128::from(limit.requests_per_unit()) * u128::from(length_us),
        // As many windows as the interval touches; periods, for a log.
        _ => whole + u128::from(limit.burst()) * (u128::from(length_us).div_ceil(period_us)) * period_us,
    }
}

proptest! {
    #[test]
    fn over_every_interval_a_reset_adds_one_burst_at_most_and_a_grant_its_hits(
        limit in limits(), steps in steps(),
    ) {
        let mut bench = Bench::new(limit.clone());
        let done: Vec<(u64, u64, &Step)> =
            steps.iter().map(|step| { let hits = bench.step(step); (bench.now_us, hits, step) }).collect();
        let period_us = u128::from(limit.period().seconds()) * 1_000_000;
        for from in 0..done.len() {
            let (mut admitted, mut resets, mut granted) = (0, 0, 0);
            for (at_us, hits, step) in &done[from..] {
                admitted += hits;
                match step {
                    Step::Reset => resets += 1,
                    Step::Grant(hits) => granted += hits,
                    Step::Wait(_) | Step::Take(_) => {}
                }
                let most = most(&limit, at_us - done[from].0, resets, granted);
                prop_assert!(u128::from(admitted) * period_us <= most, "from step {from}: {admitted}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_what_happens(limit in limits(), steps in steps()) {
        let mut bench = Bench::new(limit.clone());
        for step in &steps {
            bench.step(step);
            let shown = bench.act(Act::Peek);
            prop_assert_eq!(shown.before, shown.after);
            let remaining = u64::from(shown.after.remaining());
            prop_assert!(remaining == 0 || bench.would_admit(remaining, 0), "{shown:?}");
            prop_assert!(!bench.would_admit(remaining + 1, 0), "{shown:?}");
            let next_us = shown.next_us.unwrap();
            prop_assert!(bench.would_admit(1, next_us), "{shown:?}");
            prop_assert!(next_us == 0 || !bench.would_admit(1, next_us - 1), "{shown:?}");
            let burst = u64::from(limit.burst());
            let full_us = shown.full_at_us.map_or(0, |full_at_us| full_at_us - bench.now_us);
            prop_assert!(bench.would_admit(burst, full_us), "{shown:?}");
            prop_assert!(full_us == 0 || !bench.would_admit(burst, full_us - 1), "{shown:?}");
        }
    }

    #[test]
    fn a_reset_fills_and_a_grant_gives_back_its_hits_up_to_full(
        limit in limits(), steps in steps(), hits in 1..10_u64,
    ) {
        let mut bench = Bench::new(limit.clone());
        for step in &steps {
            bench.step(step);
        }
        let before = bench.act(Act::Peek).after;
        let full = Level(i64::from(limit.burst()) * 1_000);
        let shown = bench.act(grant(hits));
        let sum = Level((before.0 + i64::try_from(hits).unwrap() * 1_000).min(full.0));
        prop_assert_eq!((shown.before, shown.after), (before, sum));
        let shown = bench.act(Act::Reset);
        let found = (shown.before, shown.after, shown.next_us, shown.full_at_us);
        prop_assert_eq!(found, (sum, full, Some(0), None));
        prop_assert!(bench.would_admit(u64::from(limit.burst()), 0));
    }
}

#[test]
fn a_bucket_that_owes_shows_a_level_below_zero_and_a_reset_fills_it_as_well() {
    let spec = LimitSpec { burst: Some(4), ..LimitSpec::new(1, Unit::Second) };
    let spec = LimitSpec { overdraft: Overdraft::Charge, ..spec };
    let mut bench = Bench::new(spec.check().unwrap());
    assert!(!bench.admits(7), "it does not fit, and is charged");
    let shown = bench.act(Act::Peek);
    assert_eq!((shown.after, shown.after.remaining()), (Level(-3_000), 0));
    assert_eq!((shown.next_us, shown.full_at_us), (Some(4_000_000), Some(START_US + 7_000_000)));
    let shown = bench.act(Act::Reset);
    assert_eq!((shown.before, shown.after), (Level(-3_000), Level(4_000)));
}

#[test]
fn a_limit_of_nothing_never_has_a_next_hit() {
    let mut bench = Bench::new(Limit::new(0, Unit::Hour, None).unwrap());
    for act in [Act::Peek, Act::Reset, grant(3)] {
        let shown = bench.act(act);
        assert_eq!((shown.before, shown.after, shown.next_us), (Level(0), Level(0), None), "{act:?}");
    }
}

#[test]
fn a_level_is_written_as_a_decimal_number_without_zeros_at_its_end() {
    for (level, text) in
        [(0, "0"), (7_000, "7"), (7_500, "7.5"), (-3_005, "-3.005"), (-20, "-0.02"), (10_000, "10")]
    {
        assert_eq!((Level(level).to_string(), text.parse()), (text.to_owned(), Ok(Level(level))));
    }
    for text in ["", "-", "1.", ".5", "1.0005", "1e3", "+1", "9999999999999999999"] {
        assert_eq!(text.parse::<Level>(), Err(NotALevel), "{text:?}");
    }
    assert_eq!([-1, 0, 999, 1_000].map(|level| Level(level).remaining()), [0, 0, 0, 1]);
}
