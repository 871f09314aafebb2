use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::Message as _;

use super::{Contract, Group, Jitter};
use crate::{
    fallback::Source,
    limiter::{Decision, Outcome, StoreCall},
    pb::{RateLimitResponse, rate_limit_response::Code},
};
use tollgate_core::{
    applied::{Few, LimitRef, WithoutLimit},
    decision::{Enforcement, Verdict},
    descriptor::BucketKey,
    limit::{Algorithm, Limit, LimitSpec, Unit, Windows},
    matcher::{LimitIndex, RuleLimit},
};

fn rule(name: &str, requests_per_unit: u32, unit: Unit, burst: u32) -> RuleLimit {
    let limit = Limit::new(requests_per_unit, unit, Some(burst)).unwrap();
    RuleLimit::new(LimitIndex::Configured(0), "edge", name, limit)
}

fn decision(
    descriptor: usize,
    rule: &RuleLimit,
    verdict: Verdict,
    remaining: u32,
    reset_ms: u64,
) -> Decision<'_> {
    let limit = LimitRef::Configured(rule);
    let enforcement = Enforcement::Enforced;
    Decision {
        descriptor,
        limit,
        key: BucketKey::from_bytes([0; 16]),
        source: Source::Store,
        enforcement,
        verdict,
        remaining,
        reset_us: reset_ms * 1_000,
        never_fits: false,
        now_us: None,
        settles: false,
    }
}

fn outcome(descriptors: usize, decisions: Vec<Decision<'_>>) -> Outcome<'_> {
    let denied = decisions.iter().any(|decision| decision.verdict == Verdict::Deny);
    let store_call = StoreCall { elapsed: Duration::ZERO, malformed: 0, error: None };
    let verdict = Some(if denied { Verdict::Deny } else { Verdict::Allow });
    let (rules, decisions) = (Few::new(), decisions.into());
    let without_limit = WithoutLimit::default();
    Outcome {
        verdict,
        source: Source::Store,
        descriptors,
        rules,
        without_limit,
        decisions,
        store_call: Some(store_call),
        elapsed: Duration::ZERO,
    }
}

/// The answer without jitter, so that every figure is certain.
fn respond(groups: &[Group], outcome: &Outcome<'_>) -> RateLimitResponse {
    let contract = Contract::new(groups.to_vec(), Jitter::NONE);
    decoded(&contract, outcome)
}

fn decoded(contract: &Contract, outcome: &Outcome<'_>) -> RateLimitResponse {
    let bytes = contract.response(outcome, outcome.verdict.unwrap(), None);
    RateLimitResponse::decode(&bytes[..]).unwrap()
}

fn headers(response: &RateLimitResponse) -> Vec<(&str, &str)> {
    let headers = response.response_headers_to_add.iter();
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    headers.map(|header| (text(&header.key), text(&header.value))).collect()
}

#[test]
fn a_denial_says_when_to_come_back_and_why() {
    let rule = rule("api_key", 10, Unit::Second, 20);
    let outcome = outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, 6_001)]);
    let response = respond(&Group::DEFAULT, &outcome);
    assert_eq!(response.overall_code(), Code::OverLimit);
    assert_eq!(
        headers(&response),
        [
            ("retry-after", "7"),
            ("ratelimit-limit", "20"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "7"),
            ("content-type", "application/problem+json"),
        ]
    );
    let body: serde_json::Value = serde_json::from_slice(&response.raw_body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "The limit of 10 per second, at most 20 at once, is used up.",
            "violated-policies": ["api_key"],
        })
    );
}

#[test]
fn an_allowed_request_is_told_its_limit_and_not_to_retry() {
    let rule = rule("api_key", 10, Unit::Second, 20);
    let response = respond(&Group::DEFAULT, &outcome(1, vec![decision(0, &rule, Verdict::Allow, 19, 100)]));
    assert_eq!(response.overall_code(), Code::Ok);
    assert_eq!(
        headers(&response),
        [("ratelimit-limit", "20"), ("ratelimit-remaining", "19"), ("ratelimit-reset", "1")]
    );
    assert!(response.raw_body.is_empty());
}

#[test]
fn statuses_stand_one_for_each_descriptor_in_order() {
    let (a, b) = (rule("a", 10, Unit::Minute, 5), rule("b", 3, Unit::Week, 3));
    let decisions = vec![decision(1, &a, Verdict::Allow, 4, 200), decision(3, &b, Verdict::Deny, 0, 61_000)];
    let response = respond(&[], &outcome(4, decisions));
    let status = |index: usize| {
        let status = &response.statuses[index];
        let limit = status.current_limit.as_ref();
        let reset_s = status.duration_until_reset.map(|reset| reset.seconds);
        (
            status.code(),
            limit.map(|limit| (limit.requests_per_unit, limit.unit())),
            status.limit_remaining,
            reset_s,
        )
    };
    use crate::pb::rate_limit_response::rate_limit::Unit as Wire;
    assert_eq!(response.statuses.len(), 4);
    assert_eq!(status(0), (Code::Ok, None, 0, None));
    assert_eq!(status(1), (Code::Ok, Some((10, Wire::Minute)), 4, Some(1)));
    assert_eq!(status(2), (Code::Ok, None, 0, None));
    assert_eq!(status(3), (Code::OverLimit, Some((3, Wire::Week)), 0, Some(61)));
    assert!(response.response_headers_to_add.is_empty(), "no group, no header");
}

#[test]
fn the_denying_limit_with_the_longest_wait_speaks_and_the_first_on_a_tie() {
    let rules = ["a", "b", "c", "d"].map(|name| rule(name, 10, Unit::Minute, 5));
    let decisions = vec![
        decision(0, &rules[0], Verdict::Allow, 0, 99_000),
        decision(1, &rules[1], Verdict::Deny, 0, 2_000),
        decision(2, &rules[2], Verdict::Deny, 0, 3_000),
        decision(3, &rules[3], Verdict::Deny, 0, 3_000),
    ];
    assert_eq!(outcome(4, decisions).speaker().unwrap().limit.label(), "c");
}

#[test]
fn the_allowing_limit_with_the_least_left_speaks_and_the_first_on_a_tie() {
    let rules = ["a", "b", "c"].map(|name| rule(name, 10, Unit::Minute, 5));
    let decisions = vec![
        decision(0, &rules[0], Verdict::Allow, 3, 0),
        decision(1, &rules[1], Verdict::Allow, 2, 0),
        decision(2, &rules[2], Verdict::Allow, 2, 0),
    ];
    assert_eq!(outcome(3, decisions).speaker().unwrap().limit.label(), "b");
}

#[test]
fn structured_headers_hold_nothing_but_printable_ascii() {
    let rule = rule("key_\"a\\b\"\r\nx: é", 50, Unit::Hour, 5);
    let response = respond(&[Group::Structured], &outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, 1)]));
    assert_eq!(
        headers(&response),
        [
            ("ratelimit-policy", r#""key_\"a\\b\"??x: ?";q=50;w=3600;tollgate-burst=5"#),
            ("ratelimit", r#""key_\"a\\b\"??x: ?";r=0;t=1"#),
        ]
    );
}

#[test]
fn a_month_of_the_calendar_is_told_as_long_as_the_current_one_and_ends_at_its_end() {
    const DAY_US: u64 = 86_400_000_000;
    let month = LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Windows::CalendarMonth,
        ..LimitSpec::new(50, Unit::Month)
    };
    let rule = RuleLimit::new(LimitIndex::Configured(0), "edge", "quota", month.check().unwrap());
    let groups = [Group::RateLimit, Group::RetryAfter, Group::Structured, Group::ProblemBody];
    // Some microseconds before the end of 2024-02, 2025-02, 2025-12 and 2026-04, and when it is not known.
    for (now_us, window, reset_ms, seconds) in [
        (Some(19_783 * DAY_US - 1), ";w=2505600", 1, 1),
        (Some(20_148 * DAY_US - 28 * DAY_US), ";w=2419200", 28 * 86_400_000, 2_419_200),
        (Some(20_454 * DAY_US - 999_000), ";w=2678400", 999, 1),
        (Some(20_574 * DAY_US - 1_001_000), ";w=2592000", 1_001, 2),
        (None, "", 1_000, 1),
    ] {
        let denied = Decision { now_us, ..decision(0, &rule, Verdict::Deny, 0, reset_ms) };
        let response = respond(&groups, &outcome(1, vec![denied]));
        let seconds = seconds.to_string();
        let (policy, state) =
            (format!("\"quota\";q=50{window};tollgate-burst=50"), format!("\"quota\";r=0;t={seconds}"));
        for told in [
            ("retry-after", seconds.as_str()),
            ("ratelimit-reset", seconds.as_str()),
            ("ratelimit-policy", policy.as_str()),
            ("ratelimit", state.as_str()),
        ] {
            assert!(headers(&response).contains(&told), "{now_us:?}: {told:?} of {:?}", headers(&response));
        }
        let body = String::from_utf8_lossy(&response.raw_body);
        assert!(body.contains("50 per calendar month"), "{body}");
        use crate::pb::rate_limit_response::rate_limit::Unit as Wire;
        let unit = response.statuses[0].current_limit.as_ref().map(|limit| limit.unit());
        assert_eq!(unit, Some(Wire::Month), "as the reference answers");
    }
}

#[test]
fn jitter_spreads_from_zero_to_the_share_at_least_to_one_second_and_at_most_to_its_bound() {
    let rule = rule("a", 1, Unit::Hour, 1);
    let spread_within = |jitter: Jitter, wait_ms| {
        let contract = Contract::new(vec![Group::RetryAfter], jitter);
        let outcome = outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, wait_ms)]);
        let mut seen = HashMap::new();
        for _ in 0..3_000 {
            let response = decoded(&contract, &outcome);
            let after: u64 = headers(&response)[0].1.parse().unwrap();
            *seen.entry(after).or_insert(0) += 1;
        }
        let (least, most) = (seen.keys().min().copied().unwrap(), seen.keys().max().copied().unwrap());
        (least, most, seen.len())
    };
    let spread = |share: &str, wait_ms| spread_within(share.parse().unwrap(), wait_ms);
    let at_most = |most_ms| Jitter::default().at_most(Duration::from_millis(most_ms));
    assert_eq!(spread("0.2", 50_000), (50, 60, 11));
    assert_eq!(spread("0.2", 86_400_000), (86_400, 86_430, 31), "a day is not raised by hours");
    assert_eq!(spread("1", 86_400_000), (86_400, 86_430, 31));
    assert_eq!(spread_within(at_most(5_999), 86_400_000), (86_400, 86_405, 6));
    assert_eq!(spread_within(at_most(5_999), 1), (1, 2, 2));
    assert_eq!(spread_within(at_most(999), 86_400_000), (86_400, 86_400, 1), "less than a second adds none");
    assert_eq!(spread("0.2", 1), (1, 2, 2), "a wait of a second is spread too");
    assert_eq!(spread("0", 50_000), (50, 50, 1));
    assert!("1.5".parse::<Jitter>().is_err() && "NaN".parse::<Jitter>().is_err());
}

#[test]
fn a_fallback_answer_that_allows_shows_no_figures() {
    let rule = rule("a", 10, Unit::Minute, 5);
    let mut outcome = outcome(1, vec![decision(0, &rule, Verdict::Allow, 0, 1_000)]);
    outcome.source = Source::Allow;
    outcome.decisions.iter_mut().for_each(|decision| decision.source = Source::Allow);
    let response = respond(&Group::DEFAULT, &outcome);
    assert_eq!(response.overall_code(), Code::Ok);
    assert!(response.response_headers_to_add.is_empty());
    assert_eq!(response.statuses[0].current_limit, None);
}

#[test]
fn a_fallback_answer_that_denies_says_that_it_is_one() {
    let rule = rule("a", 10, Unit::Minute, 5);
    let mut outcome = outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, 1_000)]);
    outcome.source = Source::Deny;
    outcome.decisions.iter_mut().for_each(|decision| decision.source = Source::Deny);
    let response = respond(&Group::DEFAULT, &outcome);
    assert!(headers(&response).contains(&("retry-after", "1")));
    assert!(String::from_utf8_lossy(&response.raw_body).contains("cannot be checked"));
}

#[test]
fn a_fallback_answer_that_denies_what_never_fits_says_that() {
    let rule = rule("a", 10, Unit::Minute, 5);
    let mut outcome = outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, 60_000)]);
    outcome.source = Source::Deny;
    outcome.decisions[0].source = Source::Deny;
    outcome.decisions[0].never_fits = true;
    let response = respond(&[Group::RetryAfter, Group::Structured, Group::ProblemBody], &outcome);
    assert!(headers(&response).contains(&("retry-after", "60")));
    assert!(headers(&response).contains(&("ratelimit", r#""a";r=0;t=60"#)));
    assert_eq!(response.statuses[0].duration_until_reset.unwrap().seconds, 60);
    assert!(
        String::from_utf8_lossy(&response.raw_body).contains("more than 5 at once, so it will never fit")
    );
}

#[test]
fn a_body_made_in_advance_is_the_one_that_would_be_made() {
    let rule = Arc::new(rule("api_key", 10, Unit::Second, 20));
    let outcome = outcome(1, vec![decision(0, &rule, Verdict::Deny, 0, 6_001)]);
    let ready = decoded(&Contract::default().for_limits(&[Arc::clone(&rule)]), &outcome);
    assert_eq!(ready.raw_body, decoded(&Contract::default(), &outcome).raw_body);
}
