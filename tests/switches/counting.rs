//! The limits that a request brings along, and by what limits count.

use std::time::Duration;

use tollgate::{
    clock,
    pb::rate_limit_response::{Code as Overall, rate_limit::Unit},
};
use tollgate_core::calendar::Month;
use tonic::Code;

use super::{descriptor, service, service_with, with_limit};

#[tokio::test]
async fn a_limit_of_the_request_takes_the_place_of_the_rule() {
    let mut service = service("override", &[]).await;
    let asked = || vec![with_limit("user", 3, 2, Some(5))];
    for remaining in [2, 1, 0] {
        let response = service.ask(asked()).await;
        let status = &response.statuses[0];
        let limit = status.current_limit.as_ref().expect("a limit");
        assert_eq!(
            (limit.requests_per_unit, limit.unit(), limit.unit_multiplier),
            (3, Unit::Minute, Some(5))
        );
        assert_eq!(status.limit_remaining, remaining);
    }
    assert_eq!(service.ask(asked()).await.overall_code(), Overall::OverLimit);
    assert_eq!(
        service.ask(vec![descriptor("user", "x")]).await.overall_code(),
        Overall::Ok,
        "another bucket"
    );
    let unmatched = service.ask(vec![with_limit("nobody", 1, 7, None)]).await;
    let limit = unmatched.statuses[0].current_limit.as_ref().expect("it needs no rule");
    assert_eq!(limit.unit(), Unit::Week, "7 is a week");
}

/// 1 a year, which is used up: a bucket has its next token a year later, and a window ends with its year, which has 365
/// days and is counted from 1970.
#[tokio::test]
async fn limits_of_files_and_of_requests_count_as_the_limit_says_else_the_domain_else_the_flag() {
    const YEAR_S: u64 = 31_536_000;
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let until_window_ends = YEAR_S - clock::unix_us() / 1_000_000 % YEAR_S;
    let one = "unit: year, requests_per_unit: 1";
    for (number, (top, flag, expected)) in [
        ("", "by_period", until_window_ends),
        ("", "token_bucket", YEAR_S),
        ("algorithm: by_period\n", "token_bucket", until_window_ends),
        ("algorithm: token_bucket\n", "fixed_window", YEAR_S),
    ]
    .into_iter()
    .enumerate()
    {
        let limits = format!(
            "domain: edge\n{top}descriptors:\n- {{ key: silent, rate_limit: {{ {one} }} }}\n\
             - {{ key: bucket, rate_limit: {{ {one}, algorithm: token_bucket }} }}\n\
             - {{ key: window, rate_limit: {{ {one}, algorithm: fixed_window }} }}\n"
        );
        let (test, flag) = (format!("algorithm-{number}"), ["--default-algorithm", flag]);
        let mut service = service_with(&test, &limits, &flag).await;
        for (asked, expected) in [
            (descriptor("silent", "s"), expected),
            (with_limit("own", 1, 6, None), expected),
            (descriptor("bucket", "b"), YEAR_S),
            (descriptor("window", "w"), until_window_ends),
        ] {
            service.ask(vec![asked.clone()]).await;
            let denied = service.ask(vec![asked.clone()]).await;
            assert_eq!(denied.overall_code(), Overall::OverLimit);
            let told = denied.statuses[0].duration_until_reset.as_ref().expect("a wait").seconds;
            let told = u64::try_from(told).expect("a wait");
            assert!(told.abs_diff(expected) <= 60, "{told} of {expected} with {flag:?}, {top:?}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn quotas_of_a_month_follow_the_calendar_if_they_say_so_or_the_flag_does() {
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let now_us = clock::unix_us();
    let until_aligned = 2_592_000 - now_us / 1_000_000 % 2_592_000;
    let until_month_ends = (Month::at(now_us).ends_us - now_us) / 1_000_000;
    let limits = "domain: edge\ndescriptors:\n\
        - { key: silent, rate_limit: { unit: month, requests_per_unit: 1 } }\n\
        - { key: calendar, rate_limit: { unit: month, requests_per_unit: 1, calendar: true } }\n\
        - { key: aligned, rate_limit: { unit: month, requests_per_unit: 1, calendar: false } }\n";
    for (switch, expected) in [("off", until_aligned), ("on", until_month_ends)] {
        let flag = ["--calendar-months", switch];
        let mut service = service_with(&format!("months-{switch}"), limits, &flag).await;
        for (asked, expected) in [
            (descriptor("silent", "s"), expected),
            (with_limit("own", 1, 5, None), expected),
            (descriptor("calendar", "c"), until_month_ends),
            (descriptor("aligned", "a"), until_aligned),
        ] {
            service.ask(vec![asked.clone()]).await;
            let denied = service.ask(vec![asked.clone()]).await;
            assert_eq!(denied.overall_code(), Overall::OverLimit);
            let told = denied.statuses[0].duration_until_reset.as_ref().expect("a wait").seconds;
            let told = u64::try_from(told).expect("a wait");
            assert!(told.abs_diff(expected) <= 60, "{told} of {expected}, {switch}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_limit_of_the_request_that_makes_no_sense_is_the_callers_fault() {
    let mut service = service("bad-override", &[]).await;
    for (unit, message) in
        [(0, "unknown unit 0 in a descriptor's limit"), (8, "unknown unit 8 in a descriptor's limit")]
    {
        let status = service.try_ask(vec![with_limit("user", 3, unit, None)]).await.expect_err("an error");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(message), "{status}");
    }
    let status = service.try_ask(vec![with_limit("user", 1, 6, Some(72))]).await.expect_err("an error");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("over 71 years"), "{status}");
    let fine = service.ask(vec![descriptor("user", "u")]).await;
    assert_eq!(fine.statuses[0].limit_remaining, 0, "the process lives, and nothing was charged");
}
