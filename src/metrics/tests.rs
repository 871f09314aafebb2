use std::fmt::Write as _;

use super::{decisions::Record, requests::RequestOutcome, *};
use crate::fallback::Source;
use tollgate_core::{
    applied::WithoutLimit,
    limit::{Limit, Unit},
    matcher::{LimitIndex, RuleLimit},
    rules::{Domain, Pattern},
};

/// A rule for each key, in one domain.
fn rules(domain: &str, keys: &[&str]) -> Matcher {
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    let descriptors = keys.iter().map(|key| Pattern::with_limit(key, None, limit.clone())).collect();
    Matcher::new(vec![Domain { name: domain.to_owned(), descriptors, ..Domain::default() }])
}

/// A decision far from its limit.
fn record(counted: Counted, source: Source) -> Record {
    Record { counted, source, is_near: false, hits: None }
}

/// The series of all decisions with their values, by their labels.
fn decisions(metrics: &Metrics) -> Vec<String> {
    let page = metrics.render();
    page.lines().filter_map(|line| line.strip_prefix("tollgate_decisions_total")).map(str::to_owned).collect()
}

fn domain_count(metrics: &Metrics, domain: &str, verdict: &str) -> Option<u64> {
    let labels = format!("domain=\"{domain}\",verdict=\"{verdict}\"");
    value(&metrics.render(), &format!("tollgate_domain_decisions_total{{{labels}}}"))
}

/// The value of a series in `text`. `None` if it is not there.
fn value(text: &str, series: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn each_request_outcome_is_counted_under_its_own_word_and_so_is_each_descriptor_without_a_limit() {
    let metrics = Metrics::new();
    for (position, outcome) in RequestOutcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, position);
        for _ in 0..=position {
            metrics.requests.count(Door::Rls, outcome);
        }
    }
    let without_limit = WithoutLimit { unknown_domain: 7, unmatched: 8, exempt: 9, unlimited: 10 };
    metrics.requests.count_without_limit(without_limit);
    let text = metrics.render();
    let outcomes = [
        "allow",
        "deny",
        "settled",
        "unknown_domain",
        "unmatched",
        "no_descriptor",
        "no_descriptor_denied",
        "exempt",
        "unlimited",
        "invalid",
        "unavailable",
    ];
    for (position, word) in (0_u64..).zip(outcomes) {
        let series = format!("tollgate_requests_total{{door=\"rls\",outcome=\"{word}\"}}");
        assert_eq!(value(&text, &series), Some(position + 1), "{word}");
    }
    for (position, word) in (0_u64..).zip(["unknown_domain", "unmatched", "exempt", "unlimited"]) {
        let series = format!("tollgate_descriptors_without_limit_total{{kind=\"{word}\"}}");
        assert_eq!(value(&text, &series), Some(position + 7), "{word}");
    }
}

#[test]
fn a_decision_is_counted_by_domain_rule_verdict_and_source() {
    let metrics = Metrics::new();
    let matcher = rules("edge", &["api_key", "route_/login"]);
    let (limits, counters) = (matcher.limits(), metrics.counters_for_rules(&matcher));
    counters.count(&limits[1], None, &record(Counted::Deny, Source::Store));
    counters.count(&limits[1], None, &record(Counted::Deny, Source::Store));
    counters.count(&limits[0], None, &record(Counted::Allow, Source::Store));
    counters.count(&limits[0], None, &record(Counted::WouldDeny, Source::Local));
    counters.count(&limits[0], None, &record(Counted::Allow, Source::Allow));
    counters.count(&limits[0], None, &record(Counted::Deny, Source::Deny));
    counters.count(&limits[0], None, &record(Counted::Deny, Source::Error));
    counters.count(&limits[0], None, &record(Counted::WouldDeny, Source::Error));
    let brought_along = RuleLimit::new(LimitIndex::Requested, "edge", "(override)", limits[0].limit.clone());
    counters.count(&brought_along, None, &record(Counted::Deny, Source::Cache));

    let series = |rule, verdict, source, count| {
        format!("{{domain=\"edge\",rule=\"{rule}\",source=\"{source}\",verdict=\"{verdict}\"}} {count}")
    };
    let all = [
        series("(override)", "deny", "cache", 1),
        series("api_key", "allow", "store", 1),
        series("api_key", "allow", "allow", 1),
        series("api_key", "deny", "deny", 1),
        series("api_key", "would_deny", "local", 1),
        series("api_key", "error", "error", 2),
        series("route_/login", "deny", "store", 2),
    ];
    assert_eq!(decisions(&metrics), all);
    for (verdict, count) in [("allow", 2), ("deny", 4), ("would_deny", 1), ("error", 2)] {
        assert_eq!(domain_count(&metrics, "edge", verdict), Some(count), "{verdict}");
    }
}

#[test]
fn a_series_appears_when_it_first_counts_and_those_of_a_domain_are_there_at_zero() {
    let metrics = Metrics::new();
    let matcher = rules("edge", &["api_key", "user"]);
    let counters = metrics.counters_for_rules(&matcher);
    assert_eq!(decisions(&metrics), Vec::<String>::new());
    for verdict in ["allow", "deny", "would_deny", "error"] {
        assert_eq!(domain_count(&metrics, "edge", verdict), Some(0), "{verdict}");
    }
    counters.count(&matcher.limits()[1], None, &record(Counted::Deny, Source::Cache));
    assert_eq!(decisions(&metrics), ["{domain=\"edge\",rule=\"user\",source=\"cache\",verdict=\"deny\"} 1"]);
    // A domain without limits is shown too.
    let _ = metrics.counters_for_rules(&rules("bare", &[]));
    assert_eq!(
        (domain_count(&metrics, "bare", "deny"), domain_count(&metrics, "edge", "deny")),
        (Some(0), None)
    );
}

#[test]
fn counters_go_on_when_the_rules_are_reloaded() {
    let metrics = Metrics::new();
    for keys in [&["a", "b"][..], &["b"], &["c", "b", "a"]] {
        let matcher = rules("edge", keys);
        let limit = &matcher.limits()[keys.iter().position(|key| *key == "b").unwrap()];
        metrics.counters_for_rules(&matcher).count(limit, None, &record(Counted::Allow, Source::Store));
    }
    assert_eq!(decisions(&metrics), ["{domain=\"edge\",rule=\"b\",source=\"store\",verdict=\"allow\"} 3"]);
}

#[test]
fn a_limit_that_is_gone_is_shown_no_more_and_a_request_under_way_does_not_bring_it_back() {
    let metrics = Metrics::new();
    let before = rules("edge", &["old", "kept"]);
    let (limits, counters) = (before.limits(), metrics.counters_for_rules(&before));
    for limit in limits {
        counters.count(limit, None, &record(Counted::Allow, Source::Store));
    }
    let now = metrics.counters_for_rules(&rules("edge", &["kept", "new"]));
    let kept = "{domain=\"edge\",rule=\"kept\",source=\"store\",verdict=\"allow\"} 1";
    assert_eq!(decisions(&metrics), [kept]);
    // The request counts by the rules that it began with, under a label that has counted and under one that has not.
    counters.count(&limits[0], None, &record(Counted::Allow, Source::Store));
    counters.count(&limits[0], None, &record(Counted::Deny, Source::Store));
    counters.count(&limits[0], Some("old_value"), &record(Counted::Deny, Source::Store));
    assert_eq!(decisions(&metrics), [kept]);
    // The domain has all of them, before and after the last such request. Its sums never fall.
    let sums = || (domain_count(&metrics, "edge", "allow"), domain_count(&metrics, "edge", "deny"));
    assert_eq!(sums(), (Some(3), Some(2)));
    drop(counters);
    assert_eq!(sums(), (Some(3), Some(2)));
    drop(now);
    // A limit that comes back starts at 0.
    let again = rules("edge", &["old"]);
    metrics.counters_for_rules(&again).count(&again.limits()[0], None, &record(Counted::Deny, Source::Store));
    assert_eq!(decisions(&metrics), ["{domain=\"edge\",rule=\"old\",source=\"store\",verdict=\"deny\"} 1"]);
    assert_eq!(sums(), (Some(3), Some(3)));
}

#[test]
fn a_hostile_name_in_the_configuration_cannot_break_the_text() {
    let metrics = Metrics::new();
    let matcher = rules("a\"} 1\nevil 1", &["b\\"]);
    metrics.counters_for_rules(&matcher).count(
        &matcher.limits()[0],
        None,
        &record(Counted::Allow, Source::Store),
    );
    let text = metrics.render();
    assert!(text.contains(r#"domain="a\"} 1\nevil 1",rule="b\\""#), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("evil")));
}

#[test]
fn the_time_of_the_store_falls_into_buckets_from_50_us_to_1_s() {
    let metrics = Metrics::new();
    metrics.store_seconds.observe(0.000_049);
    metrics.store_seconds.observe(0.999);
    metrics.store_seconds.observe(2.0);
    let text = metrics.render();
    assert_eq!(value(&text, "tollgate_store_duration_seconds_bucket{le=\"0.00005\"}"), Some(1), "{text}");
    assert_eq!(value(&text, "tollgate_store_duration_seconds_bucket{le=\"1\"}"), Some(2));
    assert_eq!(value(&text, "tollgate_store_duration_seconds_bucket{le=\"+Inf\"}"), Some(3));
}

#[test]
fn store_errors_and_the_version_are_exposed() {
    let metrics = Metrics::new();
    metrics.store_errors.with_label_values(&["deadline"]).inc();
    let text = metrics.render();
    assert_eq!(value(&text, "tollgate_store_errors_total{kind=\"deadline\"}"), Some(1));
    let version = format!("tollgate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &version), Some(1));
}

#[test]
fn a_flood_of_values_in_paths_ends_in_one_more_label_and_its_rule_takes_its_paths_along() {
    let metrics = Metrics::new();
    let matcher = rules("edge", &["user"]);
    let flood = |counters: &LimitCounters| {
        let mut path = String::new();
        for number in 0..20_000 {
            path.clear();
            write!(path, "user_{number}").unwrap();
            counters.count(&matcher.limits()[0], Some(&path), &record(Counted::Allow, Source::Store));
        }
    };
    let series = |rule: &str, count: usize| {
        format!("{{domain=\"edge\",rule=\"{rule}\",source=\"store\",verdict=\"allow\"}} {count}")
    };
    flood(&metrics.counters_for_rules(&matcher));
    let shown = decisions(&metrics);
    assert_eq!(shown.len(), MAX_PATHS + 1);
    assert!(
        shown.contains(&series("other", 20_000 - MAX_PATHS)) && shown.contains(&series("user_7", 1)),
        "{shown:?}"
    );
    // There is room again for paths of other rules.
    let next = rules("edge", &["client"]);
    let counters = metrics.counters_for_rules(&next);
    let _ = metrics.render();
    counters.count(&next.limits()[0], Some("client_1"), &record(Counted::Allow, Source::Store));
    assert_eq!(decisions(&metrics), [series("client_1", 1), series("other", 20_000 - MAX_PATHS)]);
    assert_eq!(domain_count(&metrics, "edge", "allow"), Some(20_001));
}

#[test]
fn a_path_that_reads_like_the_label_of_another_rule_is_one_series_with_it() {
    let metrics = Metrics::new();
    let matcher = rules("edge", &["user", "user_alice"]);
    let counters = metrics.counters_for_rules(&matcher);
    counters.count(&matcher.limits()[0], Some("user_alice"), &record(Counted::Allow, Source::Store));
    counters.count(&matcher.limits()[1], None, &record(Counted::Allow, Source::Store));
    let series = "{domain=\"edge\",rule=\"user_alice\",source=\"store\",verdict=\"allow\"} 2";
    assert_eq!(decisions(&metrics), [series]);
}

#[test]
fn the_process_is_shown_as_every_exporter_shows_one() {
    let page = Metrics::new().render();
    let number = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {page}")).parse::<f64>().unwrap()
    };
    assert!(number("process_cpu_seconds_total") >= 0.0);
    assert!(number("process_resident_memory_bytes") > 1e6);
    assert!(number("process_threads") >= 1.0);
    let (open, most) = (number("process_open_fds"), number("process_max_fds"));
    assert!((3.0..most).contains(&open), "{open} of {most}");
    let ago_s = crate::clock::unix_us() as f64 / 1e6 - number("process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&ago_s), "started {ago_s} s ago");
}

#[test]
fn a_metric_of_times_says_so_in_its_name() {
    let page = Metrics::new().render();
    let histograms: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")).collect();
    assert!(!histograms.is_empty());
    assert!(histograms.iter().all(|name| name.ends_with("_duration_seconds")), "{histograms:?}");
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
