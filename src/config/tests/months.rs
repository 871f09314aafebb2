//! Which limits count by the months of the calendar.

use super::{Folder, errors, limits};
use tollgate_core::limit::{Algorithm, DefaultAlgorithm, Defaults, Windows};

#[test]
fn a_limit_says_for_itself_or_follows_the_flag() {
    let months = Defaults { month: Windows::CalendarMonth, ..Defaults::default() };
    let (aligned, calendar) = (Windows::Aligned, Windows::CalendarMonth);
    for (words, by_itself, with_flag) in [
        ("unit: month", aligned, calendar),
        ("unit: MONTH", aligned, calendar),
        ("unit: month, calendar: true", calendar, calendar),
        ("unit: month, calendar: false", aligned, aligned),
        ("unit: month, calendar: ~", aligned, calendar),
        ("unit: month, burst: 3", aligned, aligned),
        ("unit: month, algorithm: sliding_window_log", aligned, aligned),
        ("unit: month, unit_multiplier: 2", aligned, aligned),
        ("unit: day, unit_multiplier: 30", aligned, aligned),
    ] {
        let limit = format!("{{requests_per_unit: 9, {words}}}");
        for (defaults, expected) in [(Defaults::default(), by_itself), (months, with_flag)] {
            assert_eq!(limits("", &limit, defaults)[0].windows(), expected, "{words}");
        }
    }
}

#[test]
fn calendar_true_makes_a_window_whatever_the_default_algorithm_is() {
    let limit = "{unit: month, requests_per_unit: 9, calendar: true}";
    let buckets = DefaultAlgorithm::TokenBucket.into();
    for (head, defaults) in [("", Defaults::default()), ("", buckets), ("algorithm: token_bucket", buckets)] {
        let found = limits(head, limit, defaults);
        assert_eq!(
            (found[0].algorithm(), found[0].windows()),
            (Algorithm::FixedWindow, Windows::CalendarMonth)
        );
    }
}

#[test]
fn thirty_days_and_a_month_of_the_calendar_have_a_bucket_each_and_two_calendar_months_need_a_name() {
    let both = "{unit: month, requests_per_unit: 9}, {unit: month, requests_per_unit: 8, calendar: true}";
    assert_eq!(limits("", both, Defaults::default()).len(), 2);
    let twice = "{unit: month, requests_per_unit: 9, calendar: true}, \
                 {unit: month, requests_per_unit: 8, calendar: true}";
    let told = errors(&format!("domain: e\ndescriptors: [{{key: a, rate_limits: [{twice}]}}]\n"));
    assert!(
        told.contains(
            "a fixed_window per calendar month stands at line 2 too, and both would share one bucket; give this one \
             a `name`"
        ),
        "{told}"
    );
}

#[test]
fn a_calendar_beside_unlimited_is_a_warning_as_other_keys_are() {
    let text = "domain: e\ndescriptors: [{key: a, rate_limit: {unlimited: true, calendar: true}}]\n";
    let warnings = Folder::new().load(&[("a.yaml", text.as_bytes())]).unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.to_string().contains("the other keys of a limit have no effect")),
        "{warnings:?}"
    );
}
