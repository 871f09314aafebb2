//! The path under which a request is counted.

use std::borrow::Cow;

use super::{super::metric_path::clean, *};
use crate::rules::Options;

const DETAILED: Options = Options { detailed_metric: true, ..OFF };
const VALUE: Options = Options { value_to_metric: true, ..OFF };
const SHARED: Options = Options { share_threshold: true, ..OFF };
const SHARED_VALUE: Options = Options { share_threshold: true, ..VALUE };
const OFF: Options = Options {
    shadow_mode: false,
    quota_mode: false,
    detailed_metric: false,
    value_to_metric: false,
    share_threshold: false,
};

/// The path of a request with these entries, if the only rule has these levels.
fn path(levels: &[(&str, &str, Options)], entries: &[(&str, &[u8])]) -> Cow<'static, str> {
    let below = levels.iter().rfold(Vec::new(), |below, (key, value, options)| {
        vec![Pattern { options: *options, ..pattern(key, value, Some(1), below) }]
    });
    let matcher = matcher(below);
    let entries = entries.iter().map(|(key, value)| (key.as_bytes(), *value));
    let rule = matcher.domain(b"shop").unwrap().find(entries.clone()).unwrap();
    match rule.metric_path(entries) {
        Cow::Borrowed(path) => Cow::Borrowed(path.to_owned().leak()),
        Cow::Owned(path) => Cow::Owned(path),
    }
}

#[track_caller]
fn assert_path(levels: &[(&str, &str, Options)], entries: &[(&str, &[u8])], expected: &str) {
    assert_eq!(path(levels, entries), expected);
}

#[test]
fn by_default_the_path_is_the_configured_one_and_nothing_is_allocated() {
    let levels = [("plan", "gold", OFF), ("host", "c*", OFF), ("user", "", OFF)];
    let path = path(&levels, &[("plan", b"gold"), ("host", b"cdn"), ("user", b"ann")]);
    assert!(matches!(path, Cow::Borrowed("plan_gold.host_c*.user")), "{path:?}");
}

#[test]
fn value_to_metric_shows_the_value_of_its_level_alone() {
    let levels = [("user", "", VALUE), ("host", "c*", OFF), ("op", "", OFF)];
    assert_path(&levels, &[("user", b"ann"), ("host", b"cdn"), ("op", b"x")], "user_ann.host_c*.op");
    assert_path(&levels, &[("user", b""), ("host", b"cdn"), ("op", b"x")], "user.host_c*.op");
    assert_path(&[("host", "c*", VALUE)], &[("host", b"cdn")], "host_cdn");
    assert_path(&[("x-*", "", VALUE)], &[("x-a", b"1")], "x-a_1");
}

#[test]
fn detailed_metric_of_the_last_level_shows_every_key_and_value() {
    let levels = [("user", "", OFF), ("host", "c*", OFF), ("op", "", DETAILED)];
    assert_path(&levels, &[("user", b"ann"), ("host", b"cdn"), ("op", b"")], "user_ann.host_cdn.op_");
    // Only the flag of the last level counts.
    let above = [("user", "", DETAILED), ("op", "", OFF)];
    assert_path(&above, &[("user", b"ann"), ("op", b"x")], "user.op");
}

#[test]
fn a_shared_level_keeps_its_pattern_whatever_else_is_asked() {
    let levels = [("host", "c*", SHARED_VALUE), ("op", "", DETAILED)];
    assert_path(&levels, &[("host", b"cdn"), ("op", b"x")], "host_c*.op_x");
    assert!(matches!(path(&[("host", "c*", SHARED)], &[("host", b"cdn")]), Cow::Borrowed("host_c*")));
}

#[test]
fn an_exact_level_says_all_there_is_to_say_without_an_allocation() {
    let path =
        path(&[("plan", "gold", VALUE), ("op", "buy", DETAILED)], &[("plan", b"gold"), ("op", b"buy")]);
    assert!(matches!(path, Cow::Borrowed("plan_gold.op_buy")), "{path:?}");
}

#[test]
fn colons_bars_control_characters_and_the_dots_of_addresses_become_underscores() {
    assert_path(&[("user", "", VALUE)], &[("user", b"a:b|c\nd")], "user_a_b_c_d");
    assert_path(&[("ip", "", VALUE)], &[("ip", b"10.0.0.127")], "ip_10_0_0_127");
    assert_path(&[("ip", "10.0.0.1:80", OFF)], &[("ip", b"10.0.0.1:80")], "ip_10_0_0_1_80");
    assert_path(&[("user", "", VALUE)], &[("user", b"a.b.c.d.1.2")], "user_a.b.c.d.1.2");
    assert_eq!(clean("v1.2.3.4.5 1234.1.1.1 9.9.9"), "v1_2_3_4.5 1234.1.1.1 9.9.9");
    assert_eq!(clean("1.22.333.4444, 1.2.3.4/32"), "1.22.333.4444, 1_2_3_4/32");
}

#[test]
fn long_values_and_bytes_that_are_no_text_are_cut_and_replaced() {
    let long = "ü".repeat(10_000);
    let path = path(&[("user", "", VALUE)], &[("user", long.as_bytes())]);
    assert_eq!(path.chars().count(), "user_".len() + 64);
    assert_path(&[("user", "", VALUE)], &[("user", b"a\xffb")], "user_a\u{fffd}b");
}
