use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

use super::{DAY_US, Month};

/// The days of each month from January 1970 on, as a wall calendar has them.
fn wall_calendar() -> impl Iterator<Item = u64> {
    (1_970_u64..).flat_map(|year| {
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let february = if is_leap { 29 } else { 28 };
        [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    })
}

#[test]
fn every_day_of_500_years_is_in_the_month_of_the_wall_calendar() {
    let mut first_day = 0;
    for (number, days) in (0..).zip(wall_calendar()).take(500 * 12) {
        let month = Month { number, starts_us: first_day * DAY_US, ends_us: (first_day + days) * DAY_US };
        assert_eq!(month.seconds(), days * 86_400);
        for day in first_day..first_day + days {
            for us in [day * DAY_US, day * DAY_US + 1, (day + 1) * DAY_US - 1] {
                assert_eq!(Month::at(us), month, "day {day}");
            }
        }
        first_day += days;
    }
    assert!(first_day * DAY_US > 1 << 53, "beyond every instant that Lua can tell");
}

#[test]
fn the_months_that_people_get_wrong_end_when_they_end() {
    // By `date -u -d 2024-03-01 +%s`.
    for (during_s, ends_s, days) in [
        (1_709_164_800, 1_709_251_200, 29), // 2024-02-29
        (1_677_542_400, 1_677_628_800, 28), // 2023-02-28
        (951_782_400, 951_868_800, 29),     // 2000-02-29, a century that is leap
        (4_107_456_000, 4_107_542_400, 28), // 2100-02-28, a century that is not
        (1_798_675_200, 1_798_761_600, 31), // 2026-12-31
        (1_793_404_800, 1_793_491_200, 31), // 2026-10-31
        (1_796_083_199, 1_796_083_200, 30), // 2026-11-30 23:59:59
        (0, 2_678_400, 31),
    ] {
        let month = Month::at(during_s * 1_000_000);
        assert_eq!((month.ends_us / 1_000_000, month.seconds()), (ends_s, days * 86_400), "{during_s}");
    }
}

proptest! {
    #[test]
    fn months_follow_each_other_without_a_gap(us in any::<u64>()) {
        let month = Month::at(us);
        prop_assert!(month.starts_us <= us && us <= month.ends_us);
        if month.ends_us < u64::MAX {
            let next = Month::at(month.ends_us);
            prop_assert_eq!((next.number, next.starts_us), (month.number + 1, month.ends_us));
            prop_assert_eq!(Month::at(month.ends_us - 1), month);
        }
    }
}
