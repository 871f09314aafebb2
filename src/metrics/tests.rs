use std::fmt::Write as _;

use super::*;
use crate::{
    decision::Source,
    limit::{Limit, Unit},
};

fn limit(index: usize, domain: &str, name: &str) -> Arc<RuleLimit> {
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    Arc::new(RuleLimit::new(index, domain, name, limit))
}

/// The value of that line of `text`, none if it is not there.
fn value(text: &str, series: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn each_request_outcome_is_counted_under_its_own_word() {
    let metrics = Metrics::new();
    for (position, outcome) in RequestOutcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, position);
        for _ in 0..=position {
            metrics.count_request(outcome);
        }
    }
    let text = metrics.render();
    for (position, word) in ["allow", "deny", "unmatched", "invalid", "unavailable"].into_iter().enumerate() {
        let series = format!("tollgate_requests_total{{outcome=\"{word}\"}}");
        assert_eq!(value(&text, &series), Some(position as u64 + 1), "{word}");
    }
}

#[test]
fn a_decision_is_counted_by_domain_rule_verdict_and_source() {
    let metrics = Metrics::new();
    let limits = [limit(0, "edge", "api_key"), limit(1, "edge", "route_/login")];
    let counters = metrics.for_limits(&limits);
    counters.count(&limits[1], None, Counted::Deny, Source::Store);
    counters.count(&limits[1], None, Counted::Deny, Source::Store);
    counters.count(&limits[0], None, Counted::Allow, Source::Store);
    counters.count(&limits[0], None, Counted::WouldDeny, Source::Local);
    counters.count(&limits[0], None, Counted::Allow, Source::Allow);
    counters.count(&limits[0], None, Counted::Deny, Source::Deny);
    counters.count(&limits[0], None, Counted::Deny, Source::Error);

    let text = metrics.render();
    let count = |rule, verdict, source| {
        let labels = format!("domain=\"edge\",rule=\"{rule}\",source=\"{source}\",verdict=\"{verdict}\"");
        value(&text, &format!("tollgate_decisions_total{{{labels}}}"))
    };
    assert_eq!(count("route_/login", "deny", "store"), Some(2));
    assert_eq!(count("api_key", "allow", "store"), Some(1));
    assert_eq!(count("api_key", "would_deny", "local"), Some(1));
    assert_eq!(count("api_key", "allow", "allow"), Some(1));
    assert_eq!(count("api_key", "deny", "deny"), Some(1));
    assert_eq!(count("api_key", "error", "error"), Some(1));
}

#[test]
fn a_rule_shows_at_zero_for_what_is_decided_and_not_at_all_for_guesses() {
    let metrics = Metrics::new();
    let _counters = metrics.for_limits(&[limit(0, "edge", "api_key")]);
    let text = metrics.render();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("tollgate_decisions_total")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let known = |line: &&str| line.contains("source=\"store\"") || line.contains("source=\"memo\"");
    assert!(lines.iter().all(|line| known(line) && line.ends_with(" 0")), "{lines:?}");
}

#[test]
fn counters_go_on_when_the_rules_are_loaded_anew() {
    let metrics = Metrics::new();
    for limits in [&[limit(0, "edge", "a"), limit(1, "edge", "b")][..], &[limit(0, "edge", "b")]] {
        let last = &limits[limits.len() - 1];
        metrics.for_limits(limits).count(last, None, Counted::Allow, Source::Store);
    }
    let series = "tollgate_decisions_total{domain=\"edge\",rule=\"b\",source=\"store\",verdict=\"allow\"}";
    assert_eq!(value(&metrics.render(), series), Some(2));
}

#[test]
fn a_hostile_name_in_the_configuration_cannot_break_the_text() {
    let metrics = Metrics::new();
    let _counters = metrics.for_limits(&[limit(0, "a\"} 1\nevil 1", "b\\")]);
    let text = metrics.render();
    assert!(text.contains(r#"domain="a\"} 1\nevil 1",rule="b\\""#), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("evil")));
}

#[test]
fn the_time_of_the_store_falls_into_buckets_from_50_us_to_1_s() {
    let metrics = Metrics::new();
    metrics.observe_store(Duration::from_micros(49));
    metrics.observe_store(Duration::from_millis(999));
    metrics.observe_store(Duration::from_secs(2));
    let text = metrics.render();
    assert_eq!(value(&text, "tollgate_store_seconds_bucket{le=\"0.00005\"}"), Some(1), "{text}");
    assert_eq!(value(&text, "tollgate_store_seconds_bucket{le=\"1\"}"), Some(2));
    assert_eq!(value(&text, "tollgate_store_seconds_bucket{le=\"+Inf\"}"), Some(3));
}

#[test]
fn store_errors_and_the_version_are_exposed() {
    let metrics = Metrics::new();
    metrics.count_store_error("deadline");
    let text = metrics.render();
    assert_eq!(value(&text, "tollgate_store_errors_total{kind=\"deadline\"}"), Some(1));
    let version = format!("tollgate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &version), Some(1));
}

#[test]
fn a_flood_of_values_in_paths_ends_in_one_more_label() {
    let metrics = Metrics::new();
    let of = limit(0, "edge", "user");
    let counters = metrics.for_limits(std::slice::from_ref(&of));
    let mut path = String::new();
    for number in 0..20_000 {
        path.clear();
        write!(path, "user_{number}").unwrap();
        counters.count(&of, Some(&path), Counted::Allow, Source::Store);
    }
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.starts_with("tollgate_decisions_total{")).count();
    assert!(lines <= MOST_PATHS + 4, "{lines} lines");
    let other = "tollgate_decisions_total{domain=\"edge\",rule=\"other\",source=\"store\",verdict=\"allow\"}";
    assert_eq!(value(&text, other), Some(20_000 - MOST_PATHS as u64));
    assert_eq!(value(&text, &other.replace("other", "user_7")), Some(1));
}

#[test]
fn a_value_is_looked_up_at_each_scrape() {
    let metrics = Metrics::new();
    let level = Arc::new(std::sync::atomic::AtomicI64::new(3));
    let shown = Arc::clone(&level);
    metrics.show("tollgate_level", "A level.", move || shown.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(value(&metrics.render(), "tollgate_level"), Some(3));
    level.store(5, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(value(&metrics.render(), "tollgate_level"), Some(5));
}
