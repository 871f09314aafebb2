use super::Windows;
use crate::limit::{Algorithm, DefaultAlgorithm, Defaults, LimitSpec, Overdraft, Period, Unit};

fn month() -> LimitSpec {
    LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Windows::CalendarMonth,
        ..LimitSpec::new(9, Unit::Month)
    }
}

#[test]
fn a_calendar_goes_with_windows_of_one_month_and_nothing_else() {
    let refused = |spec: LimitSpec| spec.check().unwrap_err().to_string();
    let period = |unit, multiplier| Period { unit, multiplier };
    assert!(month().check().is_ok());
    assert!(LimitSpec { overdraft: Overdraft::Charge, ..month() }.check().is_ok());
    for unit in Unit::ALL.into_iter().filter(|unit| *unit != Unit::Month) {
        let told = refused(LimitSpec { period: unit.into(), ..month() });
        assert_eq!(
            told,
            format!(
                "calendar: true goes with unit: month, found unit: {unit}; write `unit: month`, or leave out \
                 `calendar`"
            )
        );
    }
    assert_eq!(
        refused(LimitSpec { period: period(Unit::Month, 3), ..month() }),
        "calendar: true counts by single months, found 3 months; leave out `unit_multiplier`, or `calendar`"
    );
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindowLog] {
        let told = refused(LimitSpec { algorithm, ..month() });
        let found = algorithm.name();
        assert_eq!(
            told,
            format!(
                "calendar: true goes with algorithm: fixed_window, found {found}; leave out `algorithm`, or \
                 `calendar`"
            )
        );
    }
    assert_eq!(
        refused(LimitSpec { burst: Some(3), ..month() }),
        "calendar: true makes a fixed_window, which takes no burst: it admits requests_per_unit at once; leave out \
         `burst`, or `calendar`"
    );
}

#[test]
fn the_default_of_the_process_is_for_fixed_windows_of_one_month_that_do_not_say_otherwise() {
    let defaults = Defaults { month: Windows::CalendarMonth, ..Defaults::default() };
    let one = Period::from(Unit::Month);
    let day = Period::from(Unit::Day);
    let two = Period { unit: Unit::Month, multiplier: 2 };
    let thirty_days = Period { unit: Unit::Day, multiplier: 30 };
    let (aligned, calendar) = (Windows::Aligned, Windows::CalendarMonth);
    let (window, bucket) = (Algorithm::FixedWindow, Algorithm::TokenBucket);
    for (period, burst, algorithm, own, expected) in [
        (one, None, None, None, (window, calendar)),
        (one, None, Some(window), None, (window, calendar)),
        (one, None, None, Some(aligned), (window, aligned)),
        (one, None, Some(bucket), None, (bucket, aligned)),
        (one, Some(3), None, None, (bucket, aligned)),
        (two, None, None, None, (window, aligned)),
        (thirty_days, None, None, None, (window, aligned)),
        (day, None, None, None, (window, aligned)),
    ] {
        assert_eq!(
            defaults.counting(period, burst, algorithm, own),
            expected,
            "{period} {burst:?} {algorithm:?}"
        );
    }
    assert_eq!(defaults.spec(9, one).check(), month().check(), "a limit that a request brings along");
    let buckets = Defaults { algorithm: DefaultAlgorithm::TokenBucket, ..defaults };
    assert_eq!(buckets.counting(one, None, None, None), (bucket, aligned));
    assert_eq!(buckets.counting(one, None, None, Some(calendar)), (window, calendar), "it names its windows");
    assert_eq!(Defaults::default().counting(one, None, None, None), (window, aligned));
}

#[test]
fn a_month_of_the_calendar_is_told_as_such_and_as_long_as_it_is() {
    let limit = month().check().unwrap();
    assert_eq!(limit.per().to_string(), "calendar month");
    let day_s = |day_us: Option<u64>| limit.period_seconds_at(day_us).map(|seconds| seconds / 86_400);
    let at = |day: u64| Some(day * 86_400_000_000);
    // 2024-02-29, 2025-02-28, 2025-12-31 and 2026-04-30.
    assert_eq!([at(19_782), at(20_147), at(20_453), at(20_573)].map(day_s), [29, 28, 31, 30].map(Some));
    assert_eq!(day_s(None), None);
    let aligned = LimitSpec { windows: Windows::Aligned, ..month() }.check().unwrap();
    assert_eq!(
        (aligned.per().to_string(), aligned.period_seconds_at(None)),
        ("month".to_owned(), Some(2_592_000))
    );
    assert!(!aligned.counts_like(&limit) && limit.counts_like(&limit));
    assert_eq!(
        limit.share(3).unwrap().windows(),
        Windows::CalendarMonth,
        "the share of a replica ends with it"
    );
}
