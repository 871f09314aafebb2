//! How limits count that do not say.

use super::{Folder, load_text};
use crate::config::Config;
use tollgate_core::{
    limit::{
        Algorithm::{self, FixedWindow, SlidingWindowLog, TokenBucket},
        DefaultAlgorithm,
    },
    rules::{Limits, Pattern},
};

fn algorithms(patterns: &[Pattern]) -> Vec<Algorithm> {
    let algorithms = |pattern: &Pattern| match &pattern.limits {
        Limits::All(limits) => limits.iter().map(|limit| limit.limit.as_ref().unwrap().algorithm()).collect(),
        _ => Vec::new(),
    };
    patterns.iter().flat_map(algorithms).collect()
}

/// Those of one limit for each of these, in a file that begins with `top`.
#[track_caller]
fn of_limits(top: &str, limits: &[&str]) -> Vec<Algorithm> {
    let pattern =
        |(number, limit): (usize, &&str)| format!("- {{key: k{number}, rate_limit: {{{limit}}}}}\n");
    let patterns: String = limits.iter().enumerate().map(pattern).collect();
    let config = load_text(&format!("domain: e\n{top}descriptors:\n{patterns}")).unwrap();
    algorithms(&config.domains[0].descriptors)
}

const SECOND: &str = "unit: second, requests_per_unit: 9";
const DAY: &str = "unit: day, requests_per_unit: 9";

#[test]
fn a_rate_refills_and_a_quota_resets_unless_the_limit_says_otherwise() {
    let limits = [
        (SECOND, TokenBucket),
        ("unit: hour, unit_multiplier: 23, requests_per_unit: 9", TokenBucket),
        ("unit: hour, unit_multiplier: 24, requests_per_unit: 9", FixedWindow),
        (DAY, FixedWindow),
        ("unit: WEEK, requests_per_unit: 0", FixedWindow),
        ("unit: month, requests_per_unit: 9, overdraft: charge", FixedWindow),
        ("unit: year, requests_per_unit: 9, after_store_loss: empty", FixedWindow),
        ("unit: day, requests_per_unit: 9, burst: 3", TokenBucket),
        ("unit: day, requests_per_unit: 9, algorithm: token_bucket", TokenBucket),
        ("unit: second, requests_per_unit: 9, algorithm: fixed_window", FixedWindow),
        ("unit: day, requests_per_unit: 9, algorithm: sliding_window_log", SlidingWindowLog),
    ];
    let (written, expected): (Vec<&str>, Vec<Algorithm>) = limits.into_iter().unzip();
    assert_eq!(of_limits("", &written), expected);
    assert_eq!(of_limits("algorithm: by_period\n", &written), expected);
}

#[test]
fn a_domain_says_how_its_limits_count_that_do_not_say() {
    let log = "unit: day, requests_per_unit: 9, algorithm: sliding_window_log";
    let limits = [SECOND, DAY, "unit: second, requests_per_unit: 9, burst: 1", log];
    let algorithms = |top| of_limits(top, &limits);
    assert_eq!(
        algorithms("algorithm: token_bucket\n"),
        [TokenBucket, TokenBucket, TokenBucket, SlidingWindowLog]
    );
    assert_eq!(
        algorithms("algorithm: fixed_window\n"),
        [FixedWindow, FixedWindow, TokenBucket, SlidingWindowLog]
    );
    assert_eq!(algorithms("algorithm: ~\n"), [TokenBucket, FixedWindow, TokenBucket, SlidingWindowLog]);
    // As yaml.v2 reads maps: the last counts, and `<<` puts in what is not there.
    let twice = "algorithm: by_period\nalgorithm: token_bucket\n";
    assert_eq!(algorithms(twice), [TokenBucket, TokenBucket, TokenBucket, SlidingWindowLog]);
    let merged = "<<: {algorithm: token_bucket}\n";
    assert_eq!(algorithms(merged), [TokenBucket, TokenBucket, TokenBucket, SlidingWindowLog]);
}

#[test]
fn a_domain_comes_before_the_process() {
    let text = |top| format!("domain: e\n{top}descriptors: [{{key: a, rate_limit: {{{DAY}}}}}]");
    for (top, process, expected) in [
        ("", DefaultAlgorithm::ByPeriod, FixedWindow),
        ("", DefaultAlgorithm::TokenBucket, TokenBucket),
        ("algorithm: by_period\n", DefaultAlgorithm::TokenBucket, FixedWindow),
        ("algorithm: token_bucket\n", DefaultAlgorithm::FixedWindow, TokenBucket),
    ] {
        let config = Folder::new().load_with(&[("a.yaml", text(top).as_bytes())], process).unwrap();
        assert_eq!(algorithms(&config.domains[0].descriptors), [expected], "{top:?} and {process:?}");
    }
}

fn files(texts: &[(&str, &str)]) -> Result<Config, String> {
    let files: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    Folder::new().load(&files)
}

#[test]
fn what_one_file_of_a_domain_says_counts_for_its_other_files_and_for_no_other_domain() {
    let silent = format!("domain: e\ndescriptors: [{{key: a, rate_limit: {{{DAY}}}}}, {{key: b, tier: t}}]");
    let says = format!("domain: e\nalgorithm: token_bucket\ntiers: {{t: [{{{DAY}}}]}}");
    let other = format!("domain: o\ndescriptors: [{{key: a, rate_limit: {{{DAY}}}}}]");
    for order in
        [[("1", &silent), ("2", &says), ("3", &other)], [("3", &says), ("2", &other), ("1", &silent)]]
    {
        let config = files(&order.map(|(name, text)| (name, text.as_str()))).unwrap();
        for domain in &config.domains {
            let (expected, default) = match domain.name.as_str() {
                "e" => (vec![TokenBucket, TokenBucket], DefaultAlgorithm::TokenBucket),
                _ => (vec![FixedWindow], DefaultAlgorithm::ByPeriod),
            };
            assert_eq!(algorithms(&domain.descriptors), expected, "{}", domain.name);
            assert_eq!(domain.defaults.algorithm, default, "for limits that requests bring along");
        }
    }
}

#[test]
fn files_of_a_domain_that_disagree_are_refused_with_both_places() {
    let file = |algorithm| format!("domain: e\nalgorithm: {algorithm}\ndescriptors: []");
    let (first, second) = (file("by_period"), file("token_bucket"));
    let refused = files(&[("a.yaml", &first), ("b.yaml", &second), ("c.yaml", &first)]).unwrap_err();
    assert_eq!(
        refused,
        "b.yaml:2:12: e: `algorithm: token_bucket` here, and `algorithm: by_period` of the same domain in a.yaml:2; \
         a domain has only one"
    );
    assert!(files(&[("a.yaml", &first), ("c.yaml", &first)]).is_ok(), "twice the same is one");
}

#[test]
fn a_window_that_is_overdrawn_need_not_fill_up_in_half_of_71_years() {
    let text = "unit: year, unit_multiplier: 70, requests_per_unit: 1, overdraft: charge";
    assert_eq!(of_limits("", &[text]), [FixedWindow]);
}
