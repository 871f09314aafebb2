//! Which limits have leases.

use super::limits;
use tollgate_core::limit::Defaults;

#[test]
fn a_limit_says_for_itself_whether_it_has_leases_or_follows_the_flag() {
    let leased = Defaults { lease_us: 100_000, ..Defaults::default() };
    for (words, by_itself, with_flag) in [
        ("unit: second", 0, 100_000),
        ("unit: day", 0, 100_000),
        ("unit: second, lease: ~", 0, 100_000),
        ("unit: second, lease: off", 0, 0),
        ("unit: second, lease: 'off'", 0, 0),
        ("unit: second, lease: 1.5s", 1_500_000, 1_500_000),
        ("unit: day, lease: 10s", 10_000_000, 10_000_000),
        ("unit: second, algorithm: sliding_window_log", 0, 0),
        ("unit: second, algorithm: sliding_window_log, lease: off", 0, 0),
    ] {
        let limit = format!("{{requests_per_unit: 500, {words}}}");
        for (defaults, expected) in [(Defaults::default(), by_itself), (leased, with_flag)] {
            assert_eq!(limits("", &limit, defaults)[0].lease_us(), expected, "{words}");
        }
    }
}
