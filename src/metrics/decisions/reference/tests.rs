use super::*;
use crate::metrics::decisions::{HitsRecord, Record};
use tollgate_core::{
    limit::{Limit, Unit},
    matcher::Matcher,
    rules::{Domain, Pattern},
};

/// A rule for each key, in one domain.
fn rules(domain: &str, keys: &[&str]) -> Matcher {
    let limit = Limit::new(10, Unit::Second, None).unwrap();
    let descriptors = keys.iter().map(|key| Pattern::with_limit(key, None, limit.clone())).collect();
    Matcher::new(vec![Domain { name: domain.to_owned(), descriptors, ..Domain::default() }])
}

fn record(counted: Counted, source: Source, hits: u32, near: u32) -> Record {
    Record { counted, source, is_near: near > 0, hits: Some(HitsRecord { counted, source, hits, near }) }
}

/// The series of one metric, without the beginning of its name.
fn series(decisions: &Decisions, metric: &str) -> Vec<String> {
    let mut page = String::new();
    decisions.write_reference(&mut page);
    let name = format!("ratelimit_service_rate_limit_{metric}{{");
    page.lines().filter_map(|line| line.strip_prefix(&name)).map(str::to_owned).collect()
}

/// What the reference's default mapping makes of these, by its regular expressions: the dots that are left divide.
#[test]
fn a_key_is_divided_where_the_reference_divides_it() {
    for (domain, path, key) in [
        ("edge", "user", ["edge", "user", ""]),
        ("edge", "plan_gold.op_export", ["edge", "plan_gold", "op_export"]),
        ("edge", "a.b.c.d", ["edge", "a", "b"]),
        ("edge.eu", "user", ["edge", "eu", "user"]),
        ("edge", "host_a.example.com", ["edge", "host_a", "example"]),
        ("edge", "ip_10.0.0.1", ["edge", "ip_10_0_0_1", ""]),
        ("edge", "ip_192.168.0.0/16.user", ["edge", "ip_192_168_0_0/16", "user"]),
        ("edge", "version_1.2.3", ["edge", "version_1", "2"]),
        ("edge", "n_1234.5.6.7", ["edge", "n_1234_5_6_7", ""]),
        ("a:b|c", "k_x:y", ["a_b_c", "k_x_y", ""]),
        (
            "default/gw/http",
            "httproute/ns/r/rule/0/match/0/*",
            ["default/gw/http", "httproute/ns/r/rule/0/match/0/*", ""],
        ),
    ] {
        let Key { domain: shown, key1, key2 } = Key::new(domain, path);
        assert_eq!([shown, key1, key2.unwrap_or_default()], key, "{domain} {path}");
    }
}

#[test]
fn hits_are_told_under_the_names_and_labels_of_the_reference() {
    let (decisions, matcher) = (Decisions::default(), rules("edge", &["user", "quiet"]));
    let (limits, counters) = (matcher.limits(), decisions.counters_for_rules(&matcher));
    let count = |counted, source, hits, near| {
        counters.count(&limits[0], None, &record(counted, source, hits, near));
    };
    count(Counted::Allow, Source::Store, 3, 0);
    count(Counted::Allow, Source::Store, 6, 1);
    count(Counted::Deny, Source::Store, 20, 0);
    count(Counted::Deny, Source::Cache, 40, 0);
    count(Counted::WouldDeny, Source::Store, 100, 0);
    count(Counted::Deny, Source::Error, 1_000, 0);
    for (metric, value) in [
        ("total_hits", 1_169),
        ("within_limit", 9),
        ("near_limit", 1),
        ("over_limit", 160),
        ("over_limit_with_local_cache", 40),
        ("shadow_mode", 100),
    ] {
        assert_eq!(
            series(&decisions, metric),
            [format!("domain=\"edge\",key1=\"user\"}} {value}")],
            "{metric}"
        );
    }
}

#[test]
fn the_sums_of_a_rule_never_fall_while_some_rule_has_its_key() {
    let decisions = Decisions::default();
    let total = || series(&decisions, "total_hits");
    let one = record(Counted::Allow, Source::Store, 1, 0);
    // Both of the first have the key `a`, because what lies below the second level is summed up.
    let before = rules("edge", &["a.b.c", "a.b.d"]);
    let counters = decisions.counters_for_rules(&before);
    before.limits().iter().for_each(|limit| counters.count(limit, None, &one));
    let sum = |value: u64| vec![format!("domain=\"edge\",key1=\"a\",key2=\"b\"}} {value}")];
    assert_eq!(total(), sum(2));
    let after = rules("edge", &["a.b.d"]);
    let current = decisions.counters_for_rules(&after);
    assert_eq!(total(), sum(2));
    // A request that is under way counts by the rules that it began with.
    counters.count(&before.limits()[0], None, &one);
    assert_eq!(total(), sum(3));
    drop(counters);
    assert_eq!(total(), sum(3));
    drop(current);
    let _ = decisions.counters_for_rules(&rules("edge", &["other"]));
    assert_eq!(total(), Vec::<String>::new());
    assert!(decisions.shown().gone.is_empty(), "it would pile up with each reload");
}

#[test]
fn rules_beyond_the_maximum_are_left_out_and_the_page_says_how_many() {
    let decisions = Decisions::default();
    let keys: Vec<String> = (0..MAX_REFERENCE_RULES + 7).map(|number| format!("key-{number:06}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let matcher = rules("edge", &keys);
    let (limits, counters) = (matcher.limits(), decisions.counters_for_rules(&matcher));
    let left_out = || {
        let mut page = String::new();
        decisions.write_reference(&mut page);
        let line = page.lines().find_map(|line| line.strip_prefix("tollgate_reference_rules_left_out "));
        line.map(str::to_owned)
    };
    let count = |limit| counters.count(limit, None, &record(Counted::Allow, Source::Store, 1, 0));
    limits[7..].iter().for_each(|limit| count(limit));
    assert_eq!(left_out().as_deref(), Some("0"));
    // They come first in the alphabet, and yet no series that was there may vanish for them.
    limits[..7].iter().for_each(|limit| count(limit));
    assert_eq!(left_out().as_deref(), Some("7"));
    let shown = series(&decisions, "total_hits");
    assert_eq!(shown.len(), MAX_REFERENCE_RULES);
    assert!(shown[0].contains("key-000007"), "{}", shown[0]);
    // A rule that goes makes room.
    let fewer = rules("edge", &keys[..MAX_REFERENCE_RULES]);
    let _current = decisions.counters_for_rules(&fewer);
    assert_eq!(left_out().as_deref(), Some("0"));
    assert!(series(&decisions, "total_hits")[0].contains("key-000000"));
}
