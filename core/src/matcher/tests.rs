use super::*;
use crate::{
    limit::{Limit, Unit},
    rules::{Limits, Pattern},
};

mod cost;
mod ending;
mod examples;
mod members;
mod metric_path;
mod replaced;
mod share;
mod trace;
mod walk;
mod wildcards;

fn pattern(key: &str, value: &str, per_second: Option<u32>, descriptors: Vec<Pattern>) -> Pattern {
    let limit = per_second.map(|requests| Limit::new(requests, Unit::Second, None).unwrap());
    Pattern {
        key: key.to_owned(),
        value: Some(value.to_owned()).filter(|value| !value.is_empty()),
        limits: limit.map_or(Limits::None, |limit| Limits::All(vec![limit.into()])),
        descriptors,
        ..Pattern::default()
    }
}

fn matcher(descriptors: Vec<Pattern>) -> Matcher {
    Matcher::new(vec![Domain { name: "shop".to_owned(), descriptors, ..Domain::default() }])
}

fn shop() -> Matcher {
    let descriptors = vec![
        pattern("plan", "gold", None, vec![pattern("op", "export", Some(6), vec![])]),
        pattern("seat", "", Some(12), vec![]),
        pattern("seat", "vip", None, vec![]),
        pattern("tenant", "acme", Some(300), vec![pattern("op", "import", Some(40), vec![])]),
        pattern("tenant", "", None, vec![pattern("op", "delete", Some(2), vec![])]),
    ];
    Matcher::new(vec![
        Domain { name: "shop".to_owned(), descriptors, ..Domain::default() },
        Domain {
            name: "edge".to_owned(),
            descriptors: vec![pattern("seat", "", Some(1), vec![])],
            ..Domain::default()
        },
    ])
}

/// `key=value` pairs to the name of the rule and what it allows.
fn find(matcher: &Matcher, domain: &str, entries: &[&str]) -> Option<(String, u32)> {
    let pairs = entries.iter().map(|entry| entry.split_once('=').unwrap());
    let pairs = pairs.map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    let rule = matcher.domain(domain.as_bytes())?.find(pairs.clone())?;
    let Applies::All(limits) = rule.applies(pairs) else { panic!("limited") };
    Some((rule.path.to_string(), limits[0].limit.requests_per_unit()))
}

#[track_caller]
fn assert_rule(entries: &[&str], name: &str, requests_per_unit: u32) {
    assert_eq!(find(&shop(), "shop", entries), Some((name.to_owned(), requests_per_unit)));
}

#[track_caller]
fn assert_no_rule(entries: &[&str]) {
    assert_eq!(find(&shop(), "shop", entries), None);
}

#[test]
fn a_rule_is_found_at_the_last_entry_and_named_by_its_path() {
    assert_rule(&["plan=gold", "op=export"], "plan_gold.op_export", 6);
    assert_rule(&["tenant=acme", "op=import"], "tenant_acme.op_import", 40);
    assert_rule(&["tenant=acme"], "tenant_acme", 300);
}

#[test]
fn a_bare_key_takes_every_value_that_has_no_rule_of_its_own() {
    assert_rule(&["seat=anything"], "seat", 12);
    assert_rule(&["seat="], "seat", 12);
    assert_rule(&["tenant=other", "op=delete"], "tenant.op_delete", 2);
}

#[test]
fn a_child_without_a_limit_blocks_the_bare_key() {
    assert_no_rule(&["seat=vip"]);
}

#[test]
fn an_empty_value_matches_only_the_bare_key() {
    assert_no_rule(&["plan="]);
    assert_no_rule(&["plan=", "op=export"]);
}

#[test]
fn the_depth_must_agree() {
    assert_no_rule(&[]);
    assert_no_rule(&["plan=gold"]);
    assert_no_rule(&["seat=anything", "op=export"]);
    // Not even the limit of the parent applies.
    assert_no_rule(&["tenant=acme", "op=delete2"]);
}

#[test]
fn a_chosen_child_is_final_though_a_sibling_would_have_matched() {
    // `tenant` with `op=delete` has a limit, but `tenant=acme` was chosen.
    assert_no_rule(&["tenant=acme", "op=delete"]);
}

#[test]
fn keys_and_values_match_whole_and_in_their_case() {
    assert_no_rule(&["Seat=vip2"]);
    assert_no_rule(&["plan=Gold", "op=export"]);
    // The reference, which joins key and value by `_`, takes this for `tenant=acme`.
    assert_no_rule(&["tenant_acme=x"]);
}

#[test]
fn a_domain_sees_only_its_own_rules() {
    let matcher = shop();
    assert_eq!(find(&matcher, "edge", &["seat=a"]), Some(("seat".to_owned(), 1)));
    assert_eq!(find(&matcher, "edge", &["plan=gold", "op=export"]), None);
    assert!(matcher.domain(b"Shop").is_none());
    assert!(matcher.domain(b"").is_none());
}

#[test]
fn bytes_that_are_no_text_match_a_bare_key() {
    let matcher = shop();
    let rules = matcher.domain(b"shop").unwrap();
    let seat: (&[u8], &[u8]) = (b"seat", b"\xff\xfe");
    assert_eq!(&*rules.find([seat]).unwrap().path, "seat");
    let broken: (&[u8], &[u8]) = (b"\xff", b"");
    assert!(rules.find([broken]).is_none());
}

#[test]
fn rules_stand_in_the_order_of_configuration_and_know_their_place() {
    let matcher = shop();
    let rules = matcher.limits();
    let names: Vec<&str> = rules.iter().map(|rule| &*rule.path).collect();
    assert_eq!(
        names,
        ["plan_gold.op_export", "seat", "tenant_acme", "tenant_acme.op_import", "tenant.op_delete", "seat"]
    );
    assert!(rules.iter().enumerate().all(|(index, rule)| rule.index == LimitIndex::Configured(index)));
    assert_eq!((&*rules[0].domain, &*rules[5].domain), ("shop", "edge"));
}

#[test]
fn the_last_of_two_equal_patterns_or_domains_counts_and_the_first_leaves_no_rule() {
    let twice = vec![
        pattern("a", "x", Some(1), vec![pattern("b", "", Some(2), vec![])]),
        pattern("a", "x", Some(3), vec![]),
    ];
    let domain = |descriptors| Domain { name: "shop".to_owned(), descriptors, ..Domain::default() };
    let matcher = Matcher::new(vec![domain(vec![pattern("z", "", Some(9), vec![])]), domain(twice)]);
    assert_eq!(find(&matcher, "shop", &["a=x"]), Some(("a_x".to_owned(), 3)));
    assert_eq!(find(&matcher, "shop", &["a=x", "b=1"]), None);
    assert_eq!(find(&matcher, "shop", &["z=1"]), None);
    assert_eq!(matcher.limits().len(), 1);
}
