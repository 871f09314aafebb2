//! The bucket that the entries of a request name.

use super::*;
use crate::rules::Options;

fn shared(pattern: Pattern) -> Pattern {
    Pattern { options: Options { share_threshold: true, ..Options::default() }, ..pattern }
}

/// The pairs that name the bucket of a request with these `key=value` pairs.
fn bucket(matcher: &Matcher, entries: &[&str]) -> Vec<String> {
    let pairs = entries.iter().map(|entry| entry.split_once('=').unwrap());
    let entries = pairs.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    let rule = matcher.domain(b"shop").unwrap().find(entries.clone()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    rule.bucket_entries(entries).map(|entry| format!("{}={}", text(entry.key), text(entry.value))).collect()
}

#[test]
fn values_that_match_a_shared_wildcard_name_one_bucket() {
    let matcher = matcher(vec![
        shared(pattern("asset", "js/*", Some(1), vec![])),
        pattern("asset", "js/core", Some(2), vec![]),
        pattern("asset", "css/*", Some(3), vec![]),
    ]);
    assert_eq!(bucket(&matcher, &["asset=js/a"]), ["asset=js/*"]);
    assert_eq!(bucket(&matcher, &["asset=js/b"]), ["asset=js/*"]);
    assert_eq!(bucket(&matcher, &["asset=js/core"]), ["asset=js/core"], "exact, and not shared");
    assert_eq!(bucket(&matcher, &["asset=css/a"]), ["asset=css/a"]);
}

#[test]
fn a_level_shares_for_the_limits_below_it_and_for_itself_alone() {
    let matcher = matcher(vec![
        shared(pattern("zone", "eu-*", None, vec![pattern("size", "*x", Some(1), vec![])])),
        pattern("zone", "us-*", None, vec![shared(pattern("size", "*x", Some(2), vec![]))]),
        shared(pattern("zone", "*", Some(3), vec![])),
    ]);
    assert_eq!(bucket(&matcher, &["zone=eu-1", "size=2x"]), ["zone=eu-*", "size=2x"]);
    assert_eq!(bucket(&matcher, &["zone=us-1", "size=2x"]), ["zone=us-1", "size=*x"]);
    assert_eq!(bucket(&matcher, &["zone=af-1"]), ["zone=*"]);
}

#[test]
fn a_shared_wildcard_in_the_key_stands_for_the_key_too() {
    let matcher = matcher(vec![
        shared(pattern("x-*", "v*", Some(1), vec![])),
        shared(pattern("y-*", "1", Some(2), vec![])),
        shared(pattern("z-*", "", Some(3), vec![])),
        pattern("w-*", "", Some(4), vec![]),
    ]);
    assert_eq!(bucket(&matcher, &["x-a=v1"]), ["x-*=v*"]);
    assert_eq!(bucket(&matcher, &["y-a=1"]), ["y-*=1"]);
    assert_eq!(bucket(&matcher, &["z-a=anything"]), ["z-*=*"]);
    assert_eq!(bucket(&matcher, &["w-a=anything"]), ["w-a=anything"]);
}

#[test]
fn sharing_without_a_wildcard_changes_nothing() {
    let matcher = matcher(vec![shared(pattern("zone", "", Some(1), vec![]))]);
    assert_eq!(bucket(&matcher, &["zone=eu"]), ["zone=eu"]);
}
