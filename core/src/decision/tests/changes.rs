//! Buckets admit no more than they should while the numbers of their limits change between takes, and replicas disagree
//! about them.

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_oneof, proptest, sample};

use super::{START_US, Table, key};
use crate::{
    decision::{Demand, State, Take, Verdict, decide},
    descriptor::Hits,
    limit::{Algorithm, Exact, Limit, LimitSpec, Overdraft, Unit},
};

const MINUTE_US: i128 = 60_000_000;
/// The parts of a microsecond: a fraction of each rate is a whole number of them.
const PER_US: i128 = 2_520 * 11;
/// Requests per minute whose fractions of a microsecond differ, and a limit that denies everything.
const NUMBERS: [(u32, u32); 8] = [(7, 7), (7, 1), (9, 30), (11, 3), (8, 20), (63, 2), (2_520, 500), (0, 0)];

/// A take under certain numbers.
#[derive(Debug, Clone)]
struct Asked {
    wait: Wait,
    numbers: (u32, u32),
    /// None: all hits that fit are taken.
    hits: Option<Hits>,
    overdraft: Overdraft,
}

#[derive(Debug, Clone)]
enum Wait {
    Us(u64),
    /// Until this number of microseconds before a hit would fit.
    UntilItFits {
        less_us: u64,
    },
}

fn asked(overdraft: impl Strategy<Value = Overdraft>) -> impl Strategy<Value = Asked> {
    let wait = prop_oneof![
        4 => (0..=1_u64).prop_map(Wait::Us),
        2 => (0..30_000_000_u64).prop_map(Wait::Us),
        4 => (0..=1_u64).prop_map(|less_us| Wait::UntilItFits { less_us }),
    ];
    (wait, sample::select(NUMBERS.to_vec()), hits(), overdraft)
        .prop_map(|(wait, numbers, hits, overdraft)| Asked { wait, numbers, hits, overdraft })
}

fn hits() -> impl Strategy<Value = Option<Hits>> {
    let some = prop_oneof![6 => 1..=1_u64, 2 => 1..=9_u64, 1 => 0..=600_u64];
    prop_oneof![
        8 => some.prop_map(|hits| Some(Hits::new(Some(hits), 0, false))),
        6 => Just(None),
        1 => (0..=9_u64).prop_map(|hits| Some(Hits::GiveBack(hits))),
    ]
}

impl Asked {
    fn spec(&self, algorithm: Algorithm) -> LimitSpec {
        let (requests, burst) = self.numbers;
        let burst = Some(burst).filter(|_| algorithm == Algorithm::TokenBucket);
        LimitSpec { algorithm, burst, overdraft: self.overdraft, ..LimitSpec::new(requests, Unit::Minute) }
    }

    fn limit(&self) -> Limit {
        self.spec(Algorithm::TokenBucket).check().unwrap()
    }

    /// The instant of this take, after an earlier one at `now_us`.
    fn at_us(&self, table: &Table, now_us: u64) -> u64 {
        match self.wait {
            Wait::Us(us) => now_us + us,
            Wait::UntilItFits { less_us } => {
                let limit = self.limit();
                let full_at = State::full_at(table.get(&key(1)), limit.per_us());
                let wait_us = limit.wait_us(full_at, limit.cost(1), now_us);
                now_us + if self.numbers.0 == 0 { 0 } else { wait_us.saturating_sub(less_us) }
            }
        }
    }
}

impl Asked {
    /// The hits to ask of a bucket at this level.
    fn hits(&self, level: u32) -> Hits {
        self.hits.unwrap_or(Hits::Take(u64::from(level.max(1))))
    }

    fn hits_of_bucket(&self, table: &Table, now_us: u64) -> Hits {
        let limit = self.limit();
        self.hits(limit.level(State::full_at(table.get(&key(1)), limit.per_us()), now_us))
    }
}

/// The time in parts of a microsecond.
fn parts(time: Exact, limit: &Limit) -> i128 {
    let per_us = i128::from(limit.per_us());
    assert_eq!(PER_US % per_us, 0, "a rate of whole parts");
    i128::from(time.whole_us) * PER_US + i128::from(time.fraction) * (PER_US / per_us)
}

fn largest_burst() -> i128 {
    let times = NUMBERS.iter().map(|(requests, burst)| match requests {
        0 => 0,
        _ => i128::from(*burst) * MINUTE_US * PER_US / i128::from(*requests),
    });
    times.max().unwrap()
}

proptest! {
    #[test]
    fn whatever_numbers_change_an_interval_admits_its_length_and_the_largest_burst_in_time(
        all in prop::collection::vec(asked(sample::select(Overdraft::ALL.to_vec())), 1..80),
    ) {
        let (mut table, mut now_us) = (Table::default(), START_US);
        // The costs that were admitted, less those that were given back, over the worst interval that ends now.
        let (mut worst, mut last_us) = (0, now_us);
        for asked in all {
            now_us = asked.at_us(&table, now_us);
            worst -= i128::from(now_us - last_us) * PER_US;
            last_us = now_us;
            let (limit, hits) = (asked.limit(), asked.hits_of_bucket(&table, now_us));
            let take = Take { key: key(1), demand: Demand::new(hits, &limit) };
            let verdict = decide(&[take], now_us, &mut table).verdict;
            match hits {
                Hits::Take(hits) if verdict == Verdict::Allow => {
                    worst = worst.max(0) + parts(limit.cost(hits), &limit);
                }
                Hits::GiveBack(hits) if asked.numbers.0 > 0 => worst -= parts(limit.worth(hits), &limit),
                _ => {}
            }
            let too_much = worst - largest_burst();
            prop_assert!(too_much <= 0, "{} parts too much, at {}", too_much, now_us);
        }
    }

    #[test]
    fn whatever_numbers_change_a_take_fits_if_and_only_if_what_is_owed_in_time_leaves_room(
        all in prop::collection::vec(asked(Just(Overdraft::Never)), 1..80),
    ) {
        let (mut table, mut now_us) = (Table::default(), START_US);
        // The least and the most time that is owed: a fraction may round up at each change of numbers.
        let (mut least, mut most) = (0_i128, 0_i128);
        for asked in all {
            let before_us = now_us;
            now_us = asked.at_us(&table, now_us);
            for owed in [&mut least, &mut most] {
                *owed = (*owed - i128::from(now_us - before_us) * PER_US).max(0);
            }
            let (limit, hits) = (asked.limit(), asked.hits_of_bucket(&table, now_us));
            let take = Take { key: key(1), demand: Demand::new(hits, &limit) };
            let fits = decide(&[take], now_us, &mut table).found[0].fits;
            let burst = parts(limit.worth_of_burst(), &limit);
            let cost = match hits {
                Hits::Take(hits) => parts(limit.cost(hits), &limit),
                Hits::One | Hits::Peek => parts(limit.cost(1), &limit),
                Hits::GiveBack(hits) if asked.numbers.0 > 0 => -parts(limit.worth(hits), &limit),
                Hits::GiveBack(_) => 0,
            };
            let gives = matches!(hits, Hits::GiveBack(_));
            let rounded = most + PER_US - 1;
            prop_assert!(!fits || gives || least + cost <= burst, "{:?} fits at {}", asked, now_us);
            prop_assert!(fits || rounded + cost > burst, "{:?} does not fit at {}", asked, now_us);
            if fits && hits != Hits::Peek && cost != 0 {
                least = (least + cost).max(0);
                most = (rounded + cost).max(0);
            }
        }
    }

    #[test]
    fn whatever_numbers_change_a_window_and_a_log_admit_no_more_than_the_largest(
        all in prop::collection::vec(asked(Just(Overdraft::Never)), 1..80),
        is_log in any::<bool>(),
    ) {
        let algorithm = if is_log { Algorithm::SlidingWindowLog } else { Algorithm::FixedWindow };
        let (mut table, mut now_us) = (Table::default(), START_US);
        let (mut admitted, mut given_back): (Vec<(u64, u64)>, u64) = (Vec::new(), 0);
        let length_us = u64::try_from(MINUTE_US).unwrap();
        for asked in all {
            now_us += if let Wait::Us(us) = asked.wait { us } else { 500_000 };
            admitted.retain(|(at_us, _)| match algorithm {
                Algorithm::FixedWindow => at_us / length_us == now_us / length_us,
                _ => at_us + length_us > now_us,
            });
            let before: u64 = admitted.iter().map(|(_, hits)| hits).sum();
            let most = u64::from(asked.numbers.0);
            let hits = asked.hits(u32::try_from(most.saturating_sub(before)).unwrap());
            let limit = asked.spec(algorithm).check().unwrap();
            let take = Take { key: key(1), demand: Demand::new(hits, &limit) };
            let verdict = decide(&[take], now_us, &mut table).verdict;
            match hits {
                Hits::Take(hits) if verdict == Verdict::Allow => {
                    prop_assert!(before + hits <= most + given_back, "{} of {} were taken", before, most);
                    admitted.push((now_us, hits));
                }
                Hits::Take(hits) => {
                    prop_assert!(before + hits > most, "{} more would fit {} of {}", hits, before, most);
                }
                Hits::GiveBack(hits) if most > 0 => given_back += hits,
                _ => {}
            }
        }
    }
}

fn hourly(requests: u32, algorithm: Algorithm) -> Limit {
    LimitSpec { algorithm, ..LimitSpec::new(requests, Unit::Hour) }.check().unwrap()
}

/// The number of a hundred single hits that pass at that time.
fn admitted(table: &mut Table, limit: &Limit, now_us: u64) -> usize {
    let one = Take { key: key(1), demand: Demand::new(Hits::Take(1), limit) };
    (0..100).filter(|_| decide(&[one], now_us, table).verdict == Verdict::Allow).count()
}

#[test]
fn a_changed_number_keeps_the_share_that_is_used_and_hands_out_no_fresh_bucket() {
    let used = |hits, algorithm| {
        let (mut table, five) = (Table::default(), hourly(5, algorithm));
        let take = Take { key: key(1), demand: Demand::new(Hits::Take(hits), &five) };
        assert_eq!(decide(&[take], START_US, &mut table).verdict, Verdict::Allow);
        table
    };
    let bucket = Algorithm::TokenBucket;
    assert_eq!(admitted(&mut used(4, bucket), &hourly(6, bucket), START_US), 1);
    let (mut table, five_hundred) = (used(5, bucket), hourly(500, bucket));
    assert_eq!(admitted(&mut table, &five_hundred, START_US), 0);
    assert_eq!(admitted(&mut table, &five_hundred, START_US + 7_199_999), 0);
    assert_eq!(admitted(&mut table, &five_hundred, START_US + 7_200_000), 1, "one each 7.2 s");
    for counted in [Algorithm::FixedWindow, Algorithm::SlidingWindowLog] {
        assert_eq!(admitted(&mut used(4, counted), &hourly(6, counted), START_US), 2, "{counted:?}");
        assert_eq!(admitted(&mut used(4, counted), &hourly(3, counted), START_US), 0, "{counted:?}");
    }
}

#[test]
fn a_larger_burst_that_was_used_up_keeps_a_smaller_one_waiting_until_it_fits() {
    let (slow, quick) = [(1, 100), (10, 100)]
        .map(|(requests, burst)| Limit::new(requests, Unit::Minute, Some(burst)).unwrap())
        .into();
    let mut table = Table::default();
    assert_eq!(admitted(&mut table, &slow, START_US), 100);
    // 100 minutes are owed, and the new burst is worth 10.
    let until_us = START_US + 90 * 60_000_000 + quick.cost(1).whole_us;
    assert_eq!(admitted(&mut table, &quick, until_us - 1), 0);
    assert_eq!(admitted(&mut table, &quick, until_us), 1);
}

#[test]
fn a_limit_of_zero_changes_nothing_of_what_is_there() {
    for algorithm in Algorithm::ALL {
        let (five, none) = (hourly(5, algorithm), hourly(0, algorithm));
        let mut table = Table::default();
        decide(&[Take { key: key(1), demand: Demand::new(Hits::Take(3), &five) }], START_US, &mut table);
        let before = table.clone();
        for hits in [Hits::Take(1), Hits::Peek, Hits::GiveBack(1), Hits::GiveBack(u64::MAX)] {
            let owing =
                LimitSpec { overdraft: Overdraft::Charge, algorithm, ..LimitSpec::new(0, Unit::Hour) };
            for limit in [Some(none.clone()), owing.check().ok()].into_iter().flatten() {
                let answer =
                    decide(&[Take { key: key(1), demand: Demand::new(hits, &limit) }], START_US, &mut table);
                assert_eq!(answer.verdict == Verdict::Allow, matches!(hits, Hits::GiveBack(_)), "{hits:?}");
                assert_eq!(table, before, "{hits:?} under {limit:?}");
            }
        }
        assert_eq!(admitted(&mut table, &five, START_US), 2, "{algorithm:?}");
    }
}

#[test]
fn what_was_taken_under_a_large_burst_can_be_given_back_under_a_small_one() {
    for algorithm in Algorithm::ALL {
        let (large, small) = (hourly(1_000, algorithm), hourly(1, algorithm));
        let mut table = Table::default();
        decide(&[Take { key: key(1), demand: Demand::new(Hits::Take(1_000), &large) }], START_US, &mut table);
        decide(
            &[Take { key: key(1), demand: Demand::new(Hits::GiveBack(1_000), &small) }],
            START_US,
            &mut table,
        );
        assert_eq!(table, Table::default(), "{algorithm:?}");
    }
}
