//! One configuration, and the rule, bucket and metric path that each request has in it.

use super::*;
use crate::rules::Options;

fn flagged(pattern: Pattern, options: Options) -> Pattern {
    Pattern { options, ..pattern }
}

fn library() -> Matcher {
    let shared = Options { share_threshold: true, ..Options::default() };
    let detailed = Options { detailed_metric: true, ..Options::default() };
    matcher(vec![
        pattern("shelf", "rare", None, vec![pattern("act", "lend", Some(5), vec![])]),
        pattern("reader", "", Some(13), vec![]),
        pattern("reader", "curator", None, vec![]),
        pattern("branch", "north", Some(250), vec![pattern("act", "return", Some(35), vec![])]),
        flagged(pattern("desk", "", Some(31), vec![]), detailed),
        pattern("client", "app*", Some(42), vec![]),
        pattern("batch", "scan*q", Some(57), vec![]),
        flagged(pattern("cover", "art/*", Some(91), vec![]), shared),
        flagged(pattern("scan", "art/*", None, vec![pattern("form", "*/small", Some(8), vec![])]), shared),
    ])
}

/// What a request has, as `limit path bucket`; none if it is not limited.
fn met(entries: &[&str]) -> Option<String> {
    let matcher = library();
    let pairs = entries.iter().map(|entry| entry.split_once('=').unwrap());
    let entries = pairs.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    let rule = matcher.domain(b"shop").unwrap().find(entries.clone())?;
    let Applies::All(limits) = rule.applies(entries.clone()) else { return None };
    let bucket = rule.bucket_entries(entries.clone());
    let bucket: Vec<_> = bucket.map(|entry| String::from_utf8_lossy(entry.value).into_owned()).collect();
    let (limit, path) = (limits[0].limit.requests_per_unit(), rule.metric_path(entries));
    Some(format!("{limit} {path} {}", bucket.join(",")))
}

#[track_caller]
fn assert_met(entries: &[&str], expected: &str) {
    assert_eq!(met(entries).as_deref(), Some(expected).filter(|text| !text.is_empty()));
}

#[test]
fn requests_meet_in_one_configuration_what_envoyproxy_ratelimit_would_give_them() {
    assert_met(&["shelf=rare"], "");
    assert_met(&["shelf=rare", "act=lend"], "5 shelf_rare.act_lend rare,lend");
    assert_met(&["reader=ann"], "13 reader ann");
    assert_met(&["reader=curator"], "");
    assert_met(&["branch=north"], "250 branch_north north");
    assert_met(&["branch=north", "act=burn"], "");
    assert_met(&["desk=two"], "31 desk_two two");
    assert_met(&["client=app4"], "42 client_app* app4");
    assert_met(&["client=cli"], "");
    assert_met(&["batch=scanq"], "57 batch_scan*q scanq");
    assert_met(&["batch=scan7q"], "57 batch_scan*q scan7q");
    assert_met(&["batch=scan"], "");
    assert_met(&["batch=xscanq"], "");
    assert_met(&["cover=art/a.png"], "91 cover_art/* art/*");
    assert_met(&["cover=art/b.png"], "91 cover_art/* art/*");
    assert_met(&["scan=art/x", "form=a/small"], "8 scan_art/*.form_*/small art/*,a/small");
    assert_met(&["scan=art/y", "form=b/small"], "8 scan_art/*.form_*/small art/*,b/small");
}
