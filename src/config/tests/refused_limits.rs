//! One fixture per error of a limit and its words, with the whole message.

use super::refused::{assert_descriptor_refused, assert_limit_refused};

#[test]
fn a_unit_must_be_there_and_be_one() {
    let place = "e.descriptors[0].rate_limit:";
    assert_limit_refused("requests_per_unit: 1", &format!("4:16: {place} unit is missing"));
    assert_limit_refused("unit: ''", &format!("4:23: {place} unit must not be empty"));
    assert_limit_refused("unit: [day]", &format!("4:23: {place} unit must be a string, found a list"));
    let all = "second, minute, hour, day, week, month, year";
    assert_limit_refused(
        "unit: days",
        &format!("4:23: {place} unknown unit `days`; it must be one of {all}"),
    );
}

#[test]
fn a_limit_that_cannot_hold_is_refused_where_its_burst_stands() {
    let place = "e.descriptors[0].rate_limit:";
    assert_limit_refused(
        "unit: day, burst: 5",
        &format!(
            "4:35: {place} burst must be 0 when requests_per_unit is 0, since nothing would ever refill it"
        ),
    );
    assert_limit_refused(
        "burst: 0, unit: day, requests_per_unit: 1",
        &format!("4:24: {place} burst must be at least 1; to deny every request, say requests_per_unit: 0"),
    );
    assert_limit_refused(
        "unit: year, requests_per_unit: 1, burst: 100",
        &format!("4:58: {place} a burst of 100 at 1 per year would take over 71 years to fill"),
    );
}

#[test]
fn calendar_months_are_refused_where_the_words_stand_that_contradict_them() {
    let place = "e.descriptors[0].rate_limit:";
    assert_limit_refused(
        "unit: week, requests_per_unit: 1, calendar: true",
        &format!(
            "4:61: {place} calendar: true goes with unit: month, found unit: week; write `unit: month`, or leave out \
             `calendar`"
        ),
    );
    assert_limit_refused(
        "unit: month, requests_per_unit: 1, calendar: true, unit_multiplier: 3",
        &format!(
            "4:85: {place} calendar: true counts by single months, found 3 months; leave out `unit_multiplier`, or \
             `calendar`"
        ),
    );
    assert_limit_refused(
        "unit: month, requests_per_unit: 1, calendar: true, algorithm: sliding_window_log",
        &format!(
            "4:79: {place} calendar: true goes with algorithm: fixed_window, found sliding_window_log; leave out \
             `algorithm`, or `calendar`"
        ),
    );
    assert_limit_refused(
        "unit: month, requests_per_unit: 1, burst: 4, calendar: true",
        &format!(
            "4:59: {place} calendar: true makes a fixed_window, which takes no burst: it admits requests_per_unit at \
             once; leave out `burst`, or `calendar`"
        ),
    );
    assert_limit_refused(
        "unit: month, requests_per_unit: 1, calendar: monthly",
        &format!("4:62: {place} calendar must be true or false, found a string"),
    );
}

#[test]
fn a_wrong_number_is_not_blamed_a_second_time_on_the_limit() {
    assert_limit_refused(
        "unit: day, requests_per_unit: '9', burst: 5",
        "4:47: e.descriptors[0].rate_limit: \
         requests_per_unit must be a whole number from 0 to 4294967295, found a string",
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 9, burst: -5",
        "4:57: e.descriptors[0].rate_limit: burst must be a whole number from 0 to 4294967295, found the number -5",
    );
}

#[test]
fn flags_and_words_must_be_those_known() {
    assert_descriptor_refused(
        "key: a, shadow_mode: 'true'",
        "3:25: e.descriptors[0]: shadow_mode must be true or false, found a string",
    );
    assert_descriptor_refused(
        "key: a, quota_mode: 1",
        "3:24: e.descriptors[0]: quota_mode must be true or false, found the number 1",
    );
    let place = "e.descriptors[0].rate_limit:";
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, algorithm: leaky_bucket",
        &format!(
            "4:61: {place} unknown algorithm `leaky_bucket`; it must be one of token_bucket, sliding_window_log, fixed_window"
        ),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, overdraft: yes",
        &format!("4:61: {place} unknown overdraft `yes`; it must be one of never, charge, auto"),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, on_store_failure: open",
        &format!(
            "4:68: {place} unknown on_store_failure `open`; it must be one of local, allow, deny, error"
        ),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, unit_multiplier: 0",
        &format!("4:67: {place} unit_multiplier must be at least 1"),
    );
}

#[test]
fn a_limit_that_its_algorithm_cannot_keep_is_refused_where_the_key_stands() {
    let place = "e.descriptors[0].rate_limit:";
    assert_limit_refused(
        "unit: day, requests_per_unit: 9, algorithm: fixed_window, burst: 3",
        &format!(
            "4:82: {place} fixed_window takes no burst: it admits requests_per_unit at once; leave out `burst`, or `algorithm`"
        ),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 9, algorithm: sliding_window_log, overdraft: charge",
        &format!(
            "4:92: {place} a sliding_window_log cannot have overdraft: charge; use a token_bucket or a \
                 fixed_window"
        ),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 10001, algorithm: sliding_window_log",
        &format!(
            "4:47: {place} a sliding_window_log keeps each request: at most 10000 per period, found 10001"
        ),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 3000000000, algorithm: fixed_window, overdraft: charge",
        &format!(
            "4:47: {place} overdraft: charge in a fixed_window: at most 2147483647 per period, found 3000000000; algorithm: token_bucket takes more"
        ),
    );
    // By its period it is a window, too.
    assert_limit_refused(
        "unit: hour, unit_multiplier: 24, requests_per_unit: 3000000000, overdraft: charge",
        &format!(
            "4:69: {place} overdraft: charge in a fixed_window: at most 2147483647 per period, found 3000000000; algorithm: token_bucket takes more"
        ),
    );
    assert_limit_refused(
        "unit: year, requests_per_unit: 1, unit_multiplier: 72",
        &format!("4:68: {place} a period of 72 years is over 71 years"),
    );
    assert_limit_refused(
        "unit: year, requests_per_unit: 1, overdraft: charge, burst: 36",
        &format!("4:77: {place} a burst of 36 at 1 per year would take over 35 years to fill"),
    );
}

#[test]
fn unlimited_excludes_a_unit() {
    assert_limit_refused(
        "unlimited: true, unit: day",
        "4:40: e.descriptors[0].rate_limit: unit and unlimited exclude each other",
    );
}

#[test]
fn a_limit_replaces_others_by_a_name_that_is_not_its_own() {
    let place = "e.descriptors[0].rate_limit";
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, name: a, replaces: [{name: a}]",
        &format!("4:77: {place}: a limit cannot replace itself, and `a` is its own name"),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, replaces: [{name: ''}]",
        &format!("4:68: {place}.replaces[0]: name must not be empty"),
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, replaces: [{}]",
        &format!("4:61: {place}.replaces[0]: name is missing"),
    );
}

#[test]
fn a_shared_threshold_needs_a_wildcard() {
    assert_descriptor_refused(
        "key: a, value: b, share_threshold: true",
        "3:39: e.descriptors[0]: share_threshold needs a `*` in the key or the value",
    );
    assert!(super::load_text("domain: e\ndescriptors: [{key: 'a*', share_threshold: true}]").is_ok());
}

#[test]
fn a_descriptor_says_its_limits_in_one_way() {
    let limit = "{unit: second, requests_per_unit: 1}";
    assert_descriptor_refused(
        &format!("key: a, rate_limit: {limit}, rate_limits: [{limit}]"),
        "3:62: e.descriptors[0]: `rate_limits` cannot be combined with `rate_limit`",
    );
    assert_descriptor_refused(
        "key: a, rate_limits: []",
        "3:25: e.descriptors[0]: rate_limits must have at least one limit",
    );
    assert_descriptor_refused(
        &format!("key: a, rate_limits: [{limit}, {{unlimited: true}}]"),
        "3:64: e.descriptors[0]: unlimited cannot be combined with other limits",
    );
}

#[test]
fn limits_that_differ_in_nothing_but_numbers_need_names() {
    let hourly = |keys: &str| format!("{{unit: hour, requests_per_unit: 5{keys}}}");
    let shared = |line: usize, period: &str, wanted: &str| {
        format!(
            "{line}:4: e.descriptors[0]: a token_bucket per {period} stands at line 3 too, and both would share one \
             bucket; give this one {wanted}"
        )
    };
    let list = |rest: &str| format!("key: a, rate_limits: [{},\n   {rest}]", hourly(", name: x"));
    assert_descriptor_refused(&list(&hourly(", burst: 9")), &shared(4, "hour", "a `name`"));
    // What counts is the length, and 60 minutes are an hour.
    assert_descriptor_refused(
        &list("{unit: minute, unit_multiplier: 60, requests_per_unit: 7}"),
        &shared(4, "60 minutes", "a `name`"),
    );
    assert_descriptor_refused(
        &list(&hourly(", name: x")),
        &shared(4, "hour", "a `name` that none of the others has"),
    );
    assert_descriptor_refused(
        &list(&format!("{},\n   {}", hourly(", name: y"), hourly(", name: y"))),
        &shared(5, "hour", "a `name` that none of the others has"),
    );
    for sound in [
        hourly(", name: y"),
        format!("{}, {}", hourly(", name: y"), hourly(", name: z")),
        hourly(", algorithm: sliding_window_log"),
        "{unit: minute, requests_per_unit: 5}".to_owned(),
    ] {
        let text = format!("domain: e\ndescriptors:\n- {{{}}}\n", list(&sound));
        assert!(super::load_text(&text).is_ok(), "{text}");
    }
}
