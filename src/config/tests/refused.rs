//! One fixture per error, with the whole message.

use super::{Folder, errors};

/// The one error of a file of domain `e` that continues like this.
#[track_caller]
pub(super) fn assert_refused(rest: &str, expected: &str) {
    assert_eq!(errors(&format!("domain: e\n{rest}")), format!("a.yaml:{expected}"));
}

/// The one error of a file with one descriptor like this, in braces from 3:3.
#[track_caller]
pub(super) fn assert_descriptor_refused(descriptor: &str, expected: &str) {
    assert_refused(&format!("descriptors:\n- {{{descriptor}}}"), expected);
}

#[track_caller]
pub(super) fn assert_limit_refused(limit: &str, expected: &str) {
    assert_descriptor_refused(&format!("key: a,\n   rate_limit: {{{limit}}}"), expected);
}

#[test]
fn an_unknown_key_is_refused_at_every_level() {
    assert_refused("foo: 1", "2:1: e: unknown key `foo`");
    assert_descriptor_refused("key: a, foo: 1", "3:12: e.descriptors[0]: unknown key `foo`");
    assert_limit_refused("unit: day, foo: 1", "4:28: e.descriptors[0].rate_limit: unknown key `foo`");
    assert_descriptor_refused(
        "key: a, descriptors: [{key: b, foo: 1}]",
        "3:35: e.descriptors[0].descriptors[0]: unknown key `foo`",
    );
}

#[test]
fn a_misspelled_key_gets_the_name_that_was_meant() {
    assert_refused("descriptor: []", "2:1: e: unknown key `descriptor`; did you mean `descriptors`?");
    let at = "3:12: e.descriptors[0]: unknown key";
    assert_descriptor_refused("key: a, valeu: b", &format!("{at} `valeu`; did you mean `value`?"));
    assert_descriptor_refused("key: a, valu: b", &format!("{at} `valu`; did you mean `value`?"));
    assert_descriptor_refused(
        "key: a, rateLimit: ~",
        &format!("{at} `rateLimit`; did you mean `rate_limit`?"),
    );
}

#[test]
fn a_domain_must_be_there_and_hold_something() {
    assert_eq!(errors("descriptors: []"), "a.yaml:1:1: domain is missing");
    assert_eq!(errors("domain:\n"), "a.yaml:1:7: domain is missing");
    assert_eq!(errors("domain: ''\n"), "a.yaml:1:9: domain must not be empty");
    assert_eq!(errors("domain: [e]\n"), "a.yaml:1:9: domain must be a string, found a list");
    assert_eq!(errors("domain: {e: f}\n"), "a.yaml:1:9: domain must be a string, found a map");
}

#[test]
fn a_key_must_be_there_and_hold_something() {
    assert_descriptor_refused("value: b", "3:3: e.descriptors[0]: key is missing");
    assert_descriptor_refused("key: ~", "3:9: e.descriptors[0]: key is missing");
    assert_descriptor_refused("key: ''", "3:9: e.descriptors[0]: key must not be empty");
    assert_descriptor_refused(
        "key: 1.5",
        "3:9: e.descriptors[0]: key must be a string, found the number 1.5",
    );
}

#[test]
fn lists_and_maps_must_be_lists_and_maps() {
    assert_eq!(errors("- domain: e"), "a.yaml:1:1: the file must be a map, found a list");
    assert_eq!(errors("domain"), "a.yaml:1:1: the file must be a map, found a string");
    assert_refused("descriptors: {key: a}", "2:14: e: descriptors must be a list, found a map");
    assert_refused("descriptors: yes", "2:14: e: descriptors must be a list, found the boolean yes");
    assert_refused("descriptors: [a]", "2:15: e: descriptors[0] must be a map, found a string");
    assert_refused("descriptors:\n- key: a\n-\n", "4:2: e: descriptors[1] must be a map, found nothing");
    assert_descriptor_refused(
        "key: a, rate_limit: 5",
        "3:24: e.descriptors[0]: rate_limit must be a map, found the number 5",
    );
    assert_descriptor_refused(
        "key: a, value: [b]",
        "3:19: e.descriptors[0]: value must be a string, found a list",
    );
}

#[test]
fn the_key_of_a_map_must_be_a_string() {
    assert_refused("? [a]\n: 1", "2:3: e: a key must be a string, found a list");
    assert_refused("~: 1", "2:1: e: a key must be a string, found nothing");
}

#[test]
fn a_rule_that_stands_twice_at_one_level_is_refused() {
    assert_refused(
        "descriptors:\n- key: a\n  value: b\n- key: a\n- key: c\n  value: b\n- {value: b, key: a}\n- key: a\n  value:\n",
        "8:3: e.descriptors[3]: duplicate rule `a_b`; the first is at line 3\n\
         a.yaml:9:3: e.descriptors[4]: duplicate rule `a`; the first is at line 5",
    );
    assert_refused(
        "descriptors: [&a {key: a},\n  *a]",
        "3:3: e.descriptors[1]: duplicate rule `a`; the first is at line 2",
    );
}

#[test]
fn rules_that_only_look_alike_are_no_duplicates() {
    let text = "domain: e
descriptors:
- {key: a, value: b_c, descriptors: [{key: a, value: b_c}]}
- {key: a_b, value: c}
- {key: A, value: b_c}
";
    assert!(super::load_text(text).is_ok());
}

#[test]
fn an_empty_file_is_refused() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~", "--- null\n...\n"] {
        assert_eq!(errors(text), "a.yaml:1:1: the file is empty", "{text:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_cause() {
    let folder = Folder::new();
    let told = folder.load_paths(&[folder.0.join("gone.yaml")]).unwrap_err();
    assert_eq!(told, "gone.yaml: cannot be read: no such file or directory");
}

#[test]
fn a_file_that_is_no_text_is_told_where_and_what_to_do() {
    let told = |bytes: &[u8]| Folder::new().load(&[("a.yaml", bytes)]).unwrap_err();
    assert_eq!(told(b"domain: e\n\xc3\xa9: \xff\n"), "a.yaml:2:4: this is not valid UTF-8; save it as UTF-8");
    let utf16 = "this is not valid UTF-16; save it as UTF-8";
    assert_eq!(told(b"\xff\xfea\0\n\0b\0\0\xd8c\0"), format!("a.yaml:2:2: {utf16}"));
    assert_eq!(told(b"\xfe\xff\0a\0"), format!("a.yaml:1:2: {utf16}"));
}

#[test]
fn all_errors_of_all_files_are_told_at_once_in_order() {
    let folder = Folder::new();
    let broken = b"descriptors:
- valu: x
  rate_limit: {unit: eon, requests_per_unit: many, burst: [1], extra: 1}
- key: a
  descriptors: {}
- key: a
- 7
domain:
";
    let files: [(&str, &[u8]); 4] = [
        ("z.yaml", broken),
        ("y.yaml", b"domain: fine\n"),
        ("x.yaml", b"domain: [\n"),
        ("w.yaml", b"domain: fine\ntail: 1\n"),
    ];
    let mut paths: Vec<_> = vec![folder.0.join("gone.yaml")];
    paths.extend(files.iter().map(|(name, _)| folder.0.join(name)));
    folder.load(&files).unwrap_err();
    assert_eq!(
        folder.load_paths(&paths).unwrap_err(),
        "gone.yaml: cannot be read: no such file or directory
z.yaml:2:3: descriptors[0]: key is missing
z.yaml:2:3: descriptors[0]: unknown key `valu`; did you mean `value`?
z.yaml:3:22: descriptors[0].rate_limit: unknown unit `eon`; it must be one of \
second, minute, hour, day, week, month, year
z.yaml:3:46: descriptors[0].rate_limit: \
requests_per_unit must be a whole number from 0 to 4294967295, found a string
z.yaml:3:59: descriptors[0].rate_limit: burst must be a whole number from 0 to 4294967295, found a list
z.yaml:3:64: descriptors[0].rate_limit: unknown key `extra`
z.yaml:5:16: descriptors[1]: descriptors must be a list, found a map
z.yaml:6:3: descriptors[2]: duplicate rule `a`; the first is at line 4
z.yaml:7:3: descriptors[3] must be a map, found the number 7
z.yaml:8:7: domain is missing
x.yaml:1:9: not valid YAML: the `[` is never closed
w.yaml:2:1: fine: unknown key `tail`"
    );
}

#[test]
fn a_key_of_ours_in_the_wrong_place_is_refused() {
    assert_refused(
        "burst: 1",
        "2:1: e: `burst` has no effect here; it belongs in a limit, such as `rate_limit`",
    );
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, tier: free",
        "4:50: e.descriptors[0].rate_limit: `tier` has no effect here; it belongs in a descriptor",
    );
    assert_descriptor_refused(
        "key: a, default: free",
        "3:12: e.descriptors[0]: `default` has no effect here; it belongs in `members`",
    );
    assert_descriptor_refused(
        "key: a, tiers: {}",
        "3:12: e.descriptors[0]: `tiers` has no effect here; it belongs at the top of the file",
    );
}

#[test]
fn what_stands_below_a_key_that_has_no_effect_must_still_be_spelled_right() {
    assert_limit_refused(
        "unit: day, requests_per_unit: 1, descriptors: [{key: b, foo: 1}]",
        "4:73: e.descriptors[0].rate_limit: unknown key `foo`",
    );
    assert_refused("unit: 1.5", "2:7: e: no key takes the number 1.5");
    assert_refused("replaces: [a]", "2:12: e: a list must hold maps, found a string");
    assert_refused("rate_limit: {[a]: 1}", "2:14: e: a key must be a string, found a list");
    assert_refused("rate_limit: {burst: 1}", "2:14: e: unknown key `burst`");
}

#[test]
fn metadata_must_be_what_json_can_hold() {
    assert_descriptor_refused(
        "key: a, metadata: [b]",
        "3:22: e.descriptors[0]: metadata must be a map, found a list",
    );
    assert_descriptor_refused(
        "key: a, metadata: {b: {[1]: c}}",
        "3:27: e.descriptors[0]: a key must be a string, found a list",
    );
}

#[test]
fn duplicates_of_two_files_of_one_domain_are_told_with_both_places() {
    let folder = Folder::new();
    let files: [(&str, &[u8]); 2] = [
        ("b.yaml", b"domain: e\ndescriptors: [{key: a}]"),
        ("a.yaml", b"domain: e\ndescriptors:\n- {key: b}\n- {key: a}"),
    ];
    let told = folder.load(&files).unwrap_err();
    assert!(
        told.starts_with("b.yaml:2:15: e.descriptors[0]: duplicate rule `a`; the first is in "),
        "{told}"
    );
    assert!(told.ends_with("a.yaml at line 4"), "{told}");
}

#[test]
fn a_merge_takes_maps() {
    assert_descriptor_refused(
        "key: a, <<: b",
        "3:16: e.descriptors[0]: `<<` takes a map or a list of maps, found a string",
    );
}
