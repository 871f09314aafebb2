//! What is legal and surely not meant, and all that envoyproxy/ratelimit loads in silence.

use super::{Folder, descriptors, load_text};
use tollgate_core::rules::{Limits, MetadataValue};

/// The warnings of a file that loads, but for the one that it limits nothing.
fn warnings(text: &str) -> String {
    let folder = Folder::new();
    let config = folder.load(&[("a.yaml", text.as_bytes())]).unwrap();
    let told = config.warnings.iter().map(ToString::to_string);
    // What is warned of needs no limit.
    let told: Vec<String> = told.filter(|told| !told.contains("this domain has no limit")).collect();
    told.join("\n").replace(&format!("{}/", folder.0.display()), "")
}

/// The one warning of a file of domain `e` that continues like this.
#[track_caller]
fn assert_warned(rest: &str, expected: &str) {
    assert_eq!(warnings(&format!("domain: e\n{rest}")), format!("a.yaml:{expected}"));
}

const LIMIT: &str = "rate_limit: {unit: day, requests_per_unit: 1}";

#[test]
fn a_known_key_out_of_place_has_no_effect() {
    assert_warned(
        "unit: day",
        "2:1: warning: e: `unit` has no effect here; it belongs in a limit, such as `rate_limit`",
    );
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, shadow_mode: true}}]",
        "2:70: warning: e.descriptors[0].rate_limit: `shadow_mode` has no effect here; it belongs in a descriptor",
    );
}

#[test]
fn of_two_equal_keys_the_last_counts() {
    assert_warned(
        "descriptors: [{key: a, key: b, rate_limit: {unit: day, requests_per_unit: 1}}]",
        "2:24: warning: e.descriptors[0]: `key` is given twice in this map, and the last counts; the \
             first is at line 2",
    );
    assert_eq!(descriptors("domain: e\ndescriptors: [{key: a, key: b}]")[0].key, "b");
    assert_eq!(load_text("domain: e\ndomain: f").unwrap().domains[0].name, "f");
}

#[test]
fn a_merge_puts_in_what_it_names_and_is_overridden_in_silence() {
    let text = format!(
        "domain: e
descriptors:
- &base {{key: a, {LIMIT}, shadow_mode: true}}
- {{<<: *base, key: b}}
- {{<<: [*base, {{key: c, value: d}}]}}
"
    );
    // The third is the first again, in all but its value.
    assert_eq!(warnings(&text), "");
    let patterns = descriptors(&text);
    assert_eq!((patterns[1].key.as_str(), patterns[1].options.shadow_mode), ("b", true));
    assert_eq!((patterns[2].key.as_str(), patterns[2].value.as_deref()), ("a", Some("d")));
    assert_eq!(patterns[1].limits, patterns[0].limits);
}

#[test]
fn what_follows_the_first_document_is_ignored() {
    assert_warned(
        "---\ndomain: [",
        "2:1: warning: a second YAML document starts here; it and everything after it is ignored",
    );
}

#[test]
fn a_lease_that_is_never_granted_has_no_effect() {
    let asked =
        |limit: &str| format!("domain: e\ndescriptors: [{{key: a, rate_limit: {{unit: second, {limit}}}}}]");
    let too_few = "`lease` has no effect on a limit that admits fewer than 16 hits at once: a lease is of at least 4, and of \
                   at most a quarter of what is left";
    let charge = "`lease` has no effect beside `overdraft: charge`: each of its takes asks Redis";
    for (limit, warning) in [
        ("requests_per_unit: 16, lease: 1s", None),
        ("requests_per_unit: 15, lease: off", None),
        ("requests_per_unit: 15, lease: 1s", Some(too_few)),
        ("requests_per_unit: 500, burst: 15, lease: 1s", Some(too_few)),
        ("requests_per_unit: 500, overdraft: charge, lease: 1s", Some(charge)),
        ("requests_per_unit: 500, overdraft: auto, lease: 1s", None),
    ] {
        let told = warnings(&asked(limit));
        let expected = warning.map(|warning| format!("warning: e.descriptors[0].rate_limit: {warning}"));
        assert!(told.ends_with(expected.as_deref().unwrap_or_default()), "{limit}: {told}");
        assert_eq!(told.is_empty(), warning.is_none(), "{limit}: {told}");
    }
}

#[test]
fn a_limit_without_a_number_denies_everything() {
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unit: day}}]",
        "2:36: warning: e.descriptors[0].rate_limit: requests_per_unit is missing, so every request is denied",
    );
}

#[test]
fn beside_unlimited_nothing_else_counts() {
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unlimited: true, unit: eon}}]",
        "2:60: warning: e.descriptors[0].rate_limit: unknown unit `eon`; it has no effect with unlimited",
    );
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unlimited: true, requests_per_unit: 5}}]",
        "2:36: warning: e.descriptors[0].rate_limit: with unlimited, the other keys of a limit have no \
             effect",
    );
    let patterns = descriptors("domain: e\ndescriptors: [{key: a, rate_limit: {unlimited: true, name: n}}]");
    let Limits::All(limits) = &patterns[0].limits else { panic!("limits") };
    assert_eq!((&limits[0].limit, limits[0].name.as_str()), (&None, "n"));
}

#[test]
fn a_name_that_is_nowhere_replaces_nothing() {
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, replaces: [{name: b}]}}]",
        "2:88: warning: e.descriptors[0]: no limit of this domain has the name `b`",
    );
    let named = "descriptors:
- {key: a, rate_limit: {unit: day, requests_per_unit: 1, replaces: [{name: b}]}}
- {key: c, descriptors: [{key: d, rate_limit: {unit: day, requests_per_unit: 1, name: b}}]}";
    assert_eq!(warnings(&format!("domain: e\n{named}")), "");
}

#[test]
fn flags_without_a_limit_have_no_effect() {
    assert_warned(
        "descriptors: [{key: a, detailed_metric: true}]",
        "2:15: warning: e.descriptors[0]: detailed_metric has no effect: there is no limit here or below",
    );
    assert_warned(
        "descriptors: [{key: 'a*', share_threshold: true}]",
        "2:15: warning: e.descriptors[0]: share_threshold has no effect: there is no limit here or below",
    );
}

#[test]
fn a_value_without_a_limit_exempts() {
    assert_warned(
        "descriptors: [{key: a, value: b}]",
        "2:15: warning: e.descriptors[0]: no limit: every request with this value passes, whatever the other rules say",
    );
}

#[test]
fn a_value_that_is_surely_not_meant_is_told_beside_its_descriptor() {
    assert_warned(
        &format!("descriptors: [{{key: ':path', value: '/a?b', {LIMIT}}}]"),
        "2:15: warning: e.descriptors[0]: a `?` in the value of a path: clients choose the order of a query, so this \
         is easily evaded, and it never matches where the path comes without its query",
    );
    assert_warned(
        &format!(
            "descriptors:\n- {{key: a, descriptors: [{{key: remote_address, value: 10.0.0.0/8, {LIMIT}}}]}}"
        ),
        "3:26: warning: e.descriptors[0].descriptors[0]: never matches: `remote_address` carries one \
             address, which never equals a range; write `10.*`, or use masked_remote_address in Envoy's \
             actions",
    );
}

#[test]
fn a_domain_without_any_limit_is_told_once_in_its_first_file() {
    let told = |texts: &[&str]| {
        let folder = Folder::new();
        let names = ["a.yaml", "b.yaml"];
        let files: Vec<(&str, &[u8])> =
            names.into_iter().zip(texts.iter().map(|text| text.as_bytes())).collect();
        let config = folder.load(&files).unwrap();
        let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        told.join("\n").replace(&format!("{}/", folder.0.display()), "")
    };
    let none = "a.yaml:1:1: warning: d: this domain has no limit, so all of its requests pass unless they \
        bring their own; write a limit as the `rate_limit` of a descriptor";
    assert_eq!(told(&["domain: d\n"]), none);
    assert_eq!(told(&["domain: d\ndescriptors: []\n"]), none);
    assert_eq!(told(&["domain: d\n", "domain: d\ndescriptors: [{key: a}]\n"]), none);
    assert_eq!(told(&["domain: d\ndescriptors: [{key: a, rate_limit: {unlimited: true}}]\n"]), none);
    let limited = format!("domain: d\ndescriptors: [{{key: a, descriptors: [{{key: b, {LIMIT}}}]}}]\n");
    assert_eq!(told(&["domain: d\n", &limited]), "");
    let tier = "domain: d\ntiers: {t: [{unit: second, requests_per_unit: 1}]}\n";
    assert_eq!(told(&[tier]), none);
    assert_eq!(told(&[&format!("{tier}descriptors: [{{key: a, tier: t}}]\n")]), "");
}

#[test]
fn a_key_of_limits_that_is_left_empty_is_told_but_not_a_null_that_is_written() {
    for key in ["rate_limit", "rate_limits", "tier"] {
        assert_warned(
            &format!("descriptors:\n- key: a\n  value: b\n  {key}:\n"),
            &format!(
                "5:3: warning: e.descriptors[0]: `{key}` is empty, so nothing is limited here; write a \
                     limit, or remove the key"
            ),
        );
    }
    assert_eq!(
        warnings(&format!("domain: e\ndescriptors:\n- {{key: a, rate_limit: ~}}\n- {{key: b, {LIMIT}}}\n")),
        ""
    );
}

#[test]
fn metadata_out_of_place_has_no_effect_and_holds_what_it_likes() {
    assert_warned(
        "descriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, metadata: {foo: [1.5], 1: 2}}}]",
        "2:70: warning: e.descriptors[0].rate_limit: `metadata` has no effect here; it belongs in a descriptor",
    );
    assert_warned(
        "metadata: 1.5",
        "2:1: warning: e: `metadata` has no effect here; it belongs in a descriptor",
    );
}

#[test]
fn keys_of_metadata_are_text_however_they_are_written() {
    let text = "domain: e\ndescriptors: [{key: a, metadata: {1: 1, yes: 2, n: 3, on: [x], 1.5: 4, ~: 5, b: {y: 6}}}]";
    let metadata = &descriptors(text)[0].metadata;
    let keys: Vec<&str> = metadata.keys().map(String::as_str).collect();
    assert_eq!(keys, ["", "1", "1.5", "b", "n", "on", "yes"]);
    let MetadataValue::Map(below) = &metadata["b"] else { panic!("a map") };
    assert_eq!(below.keys().collect::<Vec<_>>(), ["y"]);
}

#[test]
fn a_quota_below_the_rate_beside_it_makes_the_rate_idle() {
    assert_warned(
        "descriptors:
- key: a
  rate_limits: [{unit: minute, requests_per_unit: 60},
    {unit: day, requests_per_unit: 50, algorithm: fixed_window}]",
        "5:5: warning: e.descriptors[0]: 50 per day is less than the 60 per minute beside it, which \
             therefore never takes effect",
    );
}

#[test]
fn a_rule_behind_a_wider_wildcard_is_never_reached() {
    assert_warned(
        &format!(
            "descriptors:
- {{key: a, value: 'x*', {LIMIT}}}
- {{key: a, value: 'xy*z', {LIMIT}}}
- {{key: a, value: 'y*', {LIMIT}}}"
        ),
        "4:3: warning: e.descriptors[1]: never reached: all that it matches is matched by `a_x*` at line 3",
    );
    assert_warned(
        &format!("descriptors:\n- {{key: a, {LIMIT}}}\n- {{key: a, value: '*', {LIMIT}}}"),
        "3:3: warning: e.descriptors[0]: never reached: all that it matches is matched by `a_*` at line 4",
    );
    assert_eq!(
        warnings(&format!(
            "domain: e\ndescriptors:\n- {{key: a, value: 'x*', {LIMIT}}}\n- {{key: b, value: 'x*', {LIMIT}}}\n- {{key: a, {LIMIT}}}"
        )),
        ""
    );
}

#[test]
fn what_the_reference_loads_in_silence_means_the_same_here() {
    let text = "domain: e
descriptors:
- {key: a, value: b_c, rate_limit: {unit: SECOND, requests_per_unit: 010}}
- {key: a_b, value: c, rate_limit: {unit: Week, requests_per_unit: 0x10, name: n}, quota_mode: yes}
- {key: d, value: 'w*', share_threshold: on, metadata: {x: [1, 2.5, y, {z: ~}]}, rate_limit: {unlimited: true}}
";
    let patterns = descriptors(text);
    let requests = |index: usize| {
        let Limits::All(limits) = &patterns[index].limits else { panic!("limits") };
        limits[0].limit.as_ref().map(|limit| limit.requests_per_unit())
    };
    assert_eq!([requests(0), requests(1), requests(2)], [Some(8), Some(16), None]);
    assert!(patterns[1].options.quota_mode && patterns[2].options.share_threshold);
    assert_eq!(patterns[2].metadata.len(), 1);
}
