use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

use super::{
    Algorithm, DefaultAlgorithm, Exact, Limit, LimitError, LimitSpec, NoLease, Overdraft, Period, Unit,
    lease_us,
};

const NOW_US: u64 = 1_800_000_000_000_000;

#[test]
fn every_number_of_requests_is_exact_from_second_to_year() {
    for unit in Unit::ALL {
        for requests in [1, 7, 60, 999_983, 1_000_003, u32::MAX] {
            let limit = Limit::new(requests, unit, None).unwrap();
            let worth = limit.worth_of_burst();
            assert_eq!(
                worth,
                Exact::at_us(unit.seconds() * 1_000_000),
                "{requests} per {unit} take one unit"
            );
        }
    }
}

#[test]
fn a_burst_that_would_take_over_71_years_to_fill_is_refused() {
    assert!(Limit::new(1, Unit::Year, Some(71)).is_ok());
    let refused = Limit::new(1, Unit::Year, Some(72)).unwrap_err();
    assert_eq!(refused.to_string(), "a burst of 72 at 1 per year would take over 71 years to fill");
    assert!(Limit::new(2, Unit::Second, Some(u32::MAX)).is_ok(), "68 years");
    assert!(Limit::new(1, Unit::Second, Some(u32::MAX)).is_err(), "136 years");
}

#[test]
fn no_number_of_hits_costs_less_than_a_smaller_one_however_slow_the_limit() {
    for limit in
        [Limit::new(1, Unit::Year, Some(71)), Limit::new(1, Unit::Month, Some(868))].map(Result::unwrap)
    {
        let burst = u64::from(limit.burst());
        assert!(limit.cost(burst + 1) > limit.worth_of_burst());
        assert_eq!(limit.cost(u64::MAX), limit.cost(burst + 1));
        assert!(limit.worth(u64::MAX) > limit.worth(2 * burst));
    }
}

#[test]
fn a_burst_of_nothing_and_a_burst_that_nothing_refills_are_refused() {
    assert_eq!(Limit::new(0, Unit::Hour, Some(3)), Err(LimitError::BurstWithoutRefill));
    assert_eq!(Limit::new(3, Unit::Hour, Some(0)), Err(LimitError::BurstZero));
    assert!(Limit::new(0, Unit::Hour, None).is_ok());
}

#[test]
fn by_period_a_day_is_a_window_however_it_is_written_and_a_second_less_is_a_bucket() {
    let algorithm = |multiplier, unit, burst| {
        DefaultAlgorithm::ByPeriod.algorithm_for(Period { unit, multiplier }, burst)
    };
    for (multiplier, unit) in
        [(86_400, Unit::Second), (1_440, Unit::Minute), (24, Unit::Hour), (1, Unit::Day), (1, Unit::Year)]
    {
        assert_eq!(algorithm(multiplier, unit, None), Algorithm::FixedWindow, "{multiplier} {unit}");
        assert_eq!(
            algorithm(multiplier, unit, Some(1)),
            Algorithm::TokenBucket,
            "{multiplier} {unit} with a burst"
        );
    }
    for (multiplier, unit) in [(86_399, Unit::Second), (1_439, Unit::Minute), (23, Unit::Hour)] {
        assert_eq!(algorithm(multiplier, unit, None), Algorithm::TokenBucket, "{multiplier} {unit}");
    }
    // The protocol means 1 by an absent multiplier.
    assert_eq!(algorithm(0, Unit::Day, None), Algorithm::FixedWindow);
    for (default, without_burst) in [
        (DefaultAlgorithm::TokenBucket, Algorithm::TokenBucket),
        (DefaultAlgorithm::FixedWindow, Algorithm::FixedWindow),
    ] {
        for unit in Unit::ALL {
            assert_eq!(default.algorithm_for(unit.into(), None), without_burst, "{}", default.name());
            assert_eq!(
                default.algorithm_for(unit.into(), Some(1)),
                Algorithm::TokenBucket,
                "{}",
                default.name()
            );
        }
    }
    for default in DefaultAlgorithm::ALL {
        assert_eq!(DefaultAlgorithm::from_name(default.name()), Some(default));
    }
}

#[test]
fn a_lease_is_off_or_a_time_from_10_ms_to_10_s() {
    for (text, us) in [("off", 0), ("Off", 0), ("10ms", 10_000), ("1.5s", 1_500_000), ("10s", 10_000_000)] {
        assert_eq!(lease_us(text), Ok(us), "{text}");
    }
    for text in ["", "none", "0", "0s", "100", "abc", "-1s", "9.999ms", "10.001s", "2h", "99999h"] {
        assert_eq!(lease_us(text), Err(NoLease), "{text}");
    }
}

#[test]
fn units_are_read_in_any_case() {
    assert_eq!(Unit::from_name("Minute"), Some(Unit::Minute));
    assert_eq!(Unit::from_name("YEAR"), Some(Unit::Year));
    assert_eq!(Unit::from_name("fortnight"), None);
    assert_eq!(Unit::from_name("unknown"), None);
}

#[test]
fn the_next_token_comes_when_the_level_rises() {
    let limit = Limit::new(7, Unit::Minute, Some(7)).unwrap();
    let full_at = Exact::at_us(NOW_US).plus(limit.cost(3), limit.per_us());
    assert_eq!(limit.level(full_at, NOW_US), 4);
    let next_us = limit.next_token_us(full_at, NOW_US);
    assert_eq!(next_us, 8_571_429, "a seventh of a minute, rounded up");
    assert_eq!(limit.level(full_at, NOW_US + next_us - 1), 4);
    assert_eq!(limit.level(full_at, NOW_US + next_us), 5);
    assert_eq!(limit.next_token_us(Exact::default(), NOW_US), 0, "full");
}

#[test]
fn a_long_limit_has_a_share_on_as_many_replicas_as_it_has_hits() {
    let yearly = Limit::new(1_000_000, Unit::Year, None).unwrap();
    let share = |replicas| yearly.share(replicas).map(|share| (share.burst(), share.cost(1)));
    // A hit comes back every 31.536 s, to one of N replicas N times as slowly.
    for (replicas, burst) in [(1, 1_000_000), (71, 14_084), (72, 13_888), (10_000, 100), (1_000_000, 1)] {
        let cost = Exact::at_us(31_536_000 * u64::from(replicas));
        assert_eq!(share(replicas), Some((burst, cost)), "{replicas} replicas");
    }
    assert_eq!(share(1_000_001), None);
}

#[test]
fn the_share_of_the_longest_limits_is_exact_on_any_number_of_replicas() {
    for overdraft in Overdraft::ALL {
        let years = if overdraft.may_owe() { 35 } else { 71 };
        let period = Period { unit: Unit::Year, multiplier: years };
        let spec = LimitSpec { overdraft, ..LimitSpec::new(u32::MAX, period) };
        let limit = spec.check().unwrap();
        for replicas in [1, 2, 72, 10_000, 65_537, u32::MAX / 2, u32::MAX] {
            let share = limit.share(replicas).unwrap();
            assert_eq!(share.burst(), u32::MAX / replicas);
            assert!(share.worth_of_burst() <= limit.worth_of_burst(), "{replicas} replicas");
            assert!(share.cost(1) <= share.worth_of_burst(), "{replicas} replicas");
            assert_eq!(share.level(share.worth_of_burst(), 0), 0);
            assert_eq!(share.level(Exact::default(), 0), share.burst());
        }
    }
}

proptest! {
    #[test]
    fn costs_add_up_without_rounding(requests in 1..=u32::MAX, a in 1..1_000_u64, b in 1..1_000_u64) {
        let limit = Limit::new(requests, Unit::Day, Some(2_000)).unwrap();
        let sum = limit.cost(a).plus(limit.cost(b), limit.per_us());
        prop_assert_eq!(sum, limit.cost(a + b));
        prop_assert_eq!(sum.minus(limit.cost(b), limit.per_us()), limit.cost(a));
        prop_assert!(sum.fraction < limit.per_us());
    }

    #[test]
    fn no_state_that_a_store_may_hold_makes_a_figure_panic(
        requests in 0..=u32::MAX, whole_us in any::<u64>(), fraction in any::<u32>(), now_us in any::<u64>(),
        hits in any::<u64>(),
    ) {
        let limit = Limit::new(requests, Unit::Hour, None).unwrap();
        let full_at = Exact { whole_us, fraction };
        let cost = limit.cost(hits);
        prop_assert!(limit.level(full_at, now_us) <= limit.burst());
        let _ = limit.wait_us(full_at, cost, now_us);
        let _ = limit.next_token_us(full_at, now_us);
        let _ = full_at.plus(cost, limit.per_us());
        let _ = full_at.minus(cost, limit.per_us());
    }
}
