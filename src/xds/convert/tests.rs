mod random;

use prost::Message as _;
use prost_types::{Any, Value};

use super::*;
use crate::{
    pb::{discovery::DiscoveryResponse, rules::RateLimitReplace},
    xds::answer::TYPE_URL,
};
use tollgate_core::{
    limit::{Algorithm, DefaultAlgorithm, Windows},
    rules::{Limits, MetadataValue, Pattern},
};

fn policy(unit: RateLimitUnit, requests_per_unit: u32) -> RateLimitPolicy {
    RateLimitPolicy { unit: unit.into(), requests_per_unit, ..RateLimitPolicy::default() }
}

fn leaf(key: &str, value: &str, rate_limit: RateLimitPolicy) -> RateLimitDescriptor {
    RateLimitDescriptor { rate_limit: Some(rate_limit), ..with(key, value, Vec::new()) }
}

fn with(key: &str, value: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitDescriptor {
    RateLimitDescriptor { key: key.to_owned(), value: value.to_owned(), descriptors, ..Default::default() }
}

fn config(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitConfig {
    RateLimitConfig { name: domain.to_owned(), domain: domain.to_owned(), descriptors }
}

fn answer(configs: &[RateLimitConfig]) -> Answer {
    let any = |config: &RateLimitConfig| Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() };
    let response = DiscoveryResponse { resources: configs.iter().map(any).collect(), ..Default::default() };
    Answer::read(&response.encode_to_vec().into()).unwrap()
}

fn good(configs: &[RateLimitConfig]) -> Converted {
    convert(&answer(configs), Unsaid::default()).unwrap()
}

fn errors(descriptors: Vec<RateLimitDescriptor>) -> String {
    convert(&answer(&[config("edge", descriptors)]), Unsaid::default()).unwrap_err().to_string()
}

fn only_limit(pattern: &Pattern) -> &tollgate_core::rules::NamedLimit {
    let Limits::All(limits) = &pattern.limits else { panic!("{pattern:?}") };
    assert_eq!(limits.len(), 1);
    &limits[0]
}

/// The domains of a limits file.
fn of_file(yaml: &str) -> Vec<Domain> {
    config::check_bytes(yaml.as_bytes()).domains.unwrap()
}

#[test]
fn a_message_means_what_the_file_with_the_same_words_means() {
    let metadata = Struct {
        fields: [
            ("text", Kind::StringValue("404".to_owned())),
            ("number", Kind::NumberValue(1e-7)),
            ("whole", Kind::NumberValue(5.0)),
            ("yes", Kind::BoolValue(true)),
            ("none", Kind::NullValue(0)),
            (
                "list",
                Kind::ListValue(ListValue {
                    values: vec![Value { kind: Some(Kind::StringValue(String::new())) }],
                }),
            ),
            ("404", Kind::StructValue(Struct::default())),
        ]
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }))
        .collect(),
    };
    let named = RateLimitPolicy {
        name: "per-user".to_owned(),
        replaces: vec![RateLimitReplace { name: "404".to_owned() }],
        ..policy(RateLimitUnit::Week, 4_294_967_295)
    };
    let descriptors = vec![
        RateLimitDescriptor {
            shadow_mode: true,
            detailed_metric: true,
            quota_mode: true,
            metadata: Some(metadata),
            ..leaf("true", "404", policy(RateLimitUnit::Second, 10))
        },
        with("httproute/ns/r/rule/0/match/0/*", "", vec![leaf("a", "null", named)]),
        leaf("free", "", RateLimitPolicy { unlimited: true, name: "404".to_owned(), ..Default::default() }),
        leaf("blocked", "", policy(RateLimitUnit::Hour, 0)),
    ];
    let file = of_file(
        "domain: ns/gateway/http
descriptors:
- key: 'true'
  value: '404'
  shadow_mode: true
  detailed_metric: true
  quota_mode: true
  metadata: { text: '404', number: 1e-7, whole: 5.0, yes: true, none: ~, list: [''], '404': {} }
  rate_limit: { unit: second, requests_per_unit: 10 }
- key: httproute/ns/r/rule/0/match/0/*
  descriptors:
  - key: a
    value: 'null'
    rate_limit: { unit: week, requests_per_unit: 4294967295, name: per-user, replaces: [{ name: '404' }] }
- key: free
  rate_limit: { unlimited: true, name: '404' }
- key: blocked
  rate_limit: { unit: hour, requests_per_unit: 0 }
"
        .replace(" yes: true", " 'yes': true")
        .as_str(),
    );
    let Converted { domains, warnings } = good(&[config("ns/gateway/http", descriptors)]);
    assert_eq!(domains, file);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(domains[0].descriptors[0].metadata["yes"], MetadataValue::Bool(true));
}

#[test]
fn every_error_of_all_domains_is_named_by_domain_keys_and_values() {
    let both = RateLimitPolicy { unlimited: true, ..policy(RateLimitUnit::Hour, 0) };
    let itself = RateLimitPolicy {
        name: "n".to_owned(),
        replaces: vec![RateLimitReplace { name: "n".to_owned() }],
        ..policy(RateLimitUnit::Hour, 1)
    };
    let nine = RateLimitPolicy { unit: 9, ..RateLimitPolicy::default() };
    let edge = vec![
        with("a", "x", vec![leaf("b", "", policy(RateLimitUnit::Unknown, 5)), leaf("c", "c", both)]),
        leaf("", "y", policy(RateLimitUnit::Hour, 1)),
        leaf("d", "", itself),
        leaf("e", "", nine),
    ];
    let nameless = RateLimitConfig { domain: String::new(), ..config("some-name", Vec::new()) };
    let refused = convert(
        &answer(&[
            config("edge", edge),
            nameless,
            config("fine", vec![leaf("k", "", policy(RateLimitUnit::Hour, 1))]),
        ]),
        Unsaid::default(),
    );
    let all = "a second, minute, hour, day, week, month, year";
    let all = all.trim_start_matches("a ");
    let expected = [
        "(resource some-name): domain must not be empty".to_owned(),
        "edge: a=x / b: rate_limit: unit is missing".to_owned(),
        "edge: a=x / c: rate_limit: unit and unlimited exclude each other".to_owned(),
        "edge: =y: key must not be empty".to_owned(),
        "edge: d: rate_limit: a limit cannot replace itself, and `n` is its own name".to_owned(),
        format!("edge: e: rate_limit: unknown unit `9`; it must be one of {all}"),
    ];
    assert_eq!(refused.unwrap_err().to_string().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn siblings_that_disagree_have_all_limits_and_a_warning() {
    let Converted { domains, warnings } = good(&[config(
        "edge",
        vec![
            with("route", "route", vec![leaf("k", "", policy(RateLimitUnit::Hour, 5))]),
            with("route", "route", vec![leaf("k", "", policy(RateLimitUnit::Day, 50))]),
            with("route", "route", vec![leaf("k", "", policy(RateLimitUnit::Day, 7))]),
        ],
    )]);
    let Limits::All(limits) = &domains[0].descriptors[0].descriptors[0].limits else { panic!("{domains:?}") };
    let numbers: Vec<u32> =
        limits.iter().map(|limit| limit.limit.as_ref().unwrap().requests_per_unit()).collect();
    assert_eq!(numbers, [5, 7]);
    assert_eq!(
        warnings.to_string(),
        "edge: route / k: it comes twice, and the limits differ: both apply\n\
         edge: route / k: it comes twice, with two limits for one period: the lower applies"
    );
}

#[test]
fn two_resources_with_one_domain_add_up() {
    let part = |key: &str| config("edge", vec![leaf(key, "", policy(RateLimitUnit::Hour, 5))]);
    let Converted { domains, .. } = good(&[part("a"), config("other", Vec::new()), part("b"), part("a")]);
    let keys: Vec<&str> = domains[0].descriptors.iter().map(|pattern| pattern.key.as_str()).collect();
    assert_eq!((domains.len(), keys), (2, vec!["a", "b"]));
}

#[test]
fn no_resources_are_no_rules_and_no_error() {
    assert!(good(&[]).domains.is_empty());
}

#[test]
fn the_defaults_decide_what_the_messages_do_not_say() {
    let rules = answer(&[config(
        "edge",
        vec![
            leaf("hour", "", policy(RateLimitUnit::Hour, 5)),
            leaf("day", "", policy(RateLimitUnit::Day, 5)),
            leaf("year", "", policy(RateLimitUnit::Year, u32::MAX)),
            leaf("free", "", RateLimitPolicy { unlimited: true, ..Default::default() }),
        ],
    )]);
    let limits = |defaults| {
        let domains = convert(&rules, defaults).unwrap().domains;
        let limit = |pattern: &Pattern| only_limit(pattern).limit.clone();
        let limits: Vec<_> = domains[0].descriptors.iter().filter_map(limit).collect();
        limits.iter().map(|limit| (limit.algorithm(), limit.overdraft())).collect::<Vec<_>>()
    };
    let (bucket, window) = (Algorithm::TokenBucket, Algorithm::FixedWindow);
    for overdraft in Overdraft::ALL {
        let by_period = Unsaid { overdraft, counting: Defaults::default() };
        // 4294967295 a year in a window could not owe as much again.
        assert_eq!(limits(by_period), [(bucket, overdraft), (window, overdraft), (window, Overdraft::Never)]);
    }
    let windows = Unsaid { counting: DefaultAlgorithm::FixedWindow.into(), ..Unsaid::default() };
    assert!(limits(windows).iter().all(|(algorithm, _)| *algorithm == window));
    let calendar = Unsaid {
        counting: Defaults { month: Windows::CalendarMonth, ..Defaults::default() },
        ..Unsaid::default()
    };
    let rules = answer(&[config("edge", vec![leaf("month", "", policy(RateLimitUnit::Month, 5))])]);
    for (unsaid, windows) in [(Unsaid::default(), Windows::Aligned), (calendar, Windows::CalendarMonth)] {
        let domains = convert(&rules, unsaid).unwrap().domains;
        let limit = only_limit(&domains[0].descriptors[0]).limit.clone();
        assert_eq!(limit.unwrap().windows(), windows);
    }
}

#[test]
fn faults_are_bounded() {
    let long = "x".repeat(50);
    let key = |number| if number == 0 { "first".to_owned() } else { format!("{long}{number}") };
    let many = (0..20_000).map(|number| leaf(&key(number), &long, policy(RateLimitUnit::Unknown, 1)));
    let told = errors(many.collect());
    assert!(told.len() < 66 << 10, "{}", told.len());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], format!("edge: first={long}: rate_limit: unit is missing"));
    assert_eq!(*lines.last().unwrap(), format!("{} more", 20_000 - (lines.len() - 1)));
}

#[test]
fn long_and_unprintable_names_are_shortened_in_faults() {
    let told = errors(vec![leaf(&"k".repeat(10_000), "\u{1b}[31m\n", policy(RateLimitUnit::Unknown, 1))]);
    assert!(told.len() < 200 && told.lines().count() == 1 && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn warnings_name_the_rule_and_no_line() {
    let wild = vec![
        leaf("k", "*", policy(RateLimitUnit::Hour, 1)),
        leaf("k", "a*", policy(RateLimitUnit::Hour, 1)),
        with("nothing", "here", Vec::new()),
    ];
    let Converted { warnings, .. } = good(&[config("edge", wild), config("empty", Vec::new())]);
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "edge: k=a*: never reached: all that it matches is matched by `k_*`");
    assert!(
        told[1].starts_with("edge: nothing=here: no limit: every request with this value passes"),
        "{told:?}"
    );
    assert!(told[2].starts_with("empty: this domain has no limit"), "{told:?}");
}
