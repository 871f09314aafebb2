use crate::config::{Config, ConfigErrors, check_bytes};
use tollgate_core::{
    actions::{Header, HttpRequest, descriptors},
    authz::{AuthzEntry, WithoutDescriptor},
    limit::DefaultAlgorithm,
};

/// A file whose `authz` has these entries.
fn file(entries: &str) -> String {
    format!("domain: edge\nauthz:\n{entries}")
}

/// A file with one list of these actions.
fn actions(actions: &str) -> String {
    file(&format!("- rate_limits:\n  - actions: [{actions}]\n"))
}

fn load(text: &str) -> Result<(Vec<AuthzEntry>, String), String> {
    let checked = check_bytes(text.as_bytes());
    let warnings = checked.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match checked.domains {
        Ok(mut domains) => Ok((domains.remove(0).authz, warnings)),
        Err(errors) => Err(errors.to_string()),
    }
}

#[track_caller]
fn entries(text: &str) -> Vec<AuthzEntry> {
    let (entries, warnings) = load(text).unwrap();
    assert_eq!(warnings, "", "{text}");
    entries
}

#[track_caller]
fn refused(text: &str) -> String {
    load(text).map(|_| text.to_owned()).unwrap_err()
}

/// The descriptor that one list makes of a request.
fn made(text: &str, request: &HttpRequest<'_>) -> String {
    let entries = entries(&actions(text));
    let [made] = &descriptors(&entries[0].rate_limits, request).collect::<Vec<_>>()[..] else { panic!() };
    match made {
        Ok(descriptor) => {
            let pairs = descriptor.entries().map(|entry| {
                format!("{}={}", String::from_utf8_lossy(entry.key), String::from_utf8_lossy(entry.value))
            });
            pairs.collect::<Vec<_>>().join(",")
        }
        Err(dropped) => dropped.reason.to_string(),
    }
}

#[test]
fn each_action_is_read_with_all_its_fields() {
    let headers = [Header { name: b"x-api-key", value: b"alice" }, Header { name: b"x-size", value: b"12" }];
    let extensions = [Header { name: b"route", value: b"login" }];
    let request = HttpRequest {
        method: b"POST",
        host: b"API.example.com:443",
        path: b"/login?plan=gold&q=1",
        headers: &headers,
        remote_address: Some("203.0.113.7".parse().unwrap()),
        principal: b"spiffe://a",
        context_extensions: &extensions,
        ..HttpRequest::default()
    };
    let cases = [
        ("generic_key: { descriptor_value: login }", "generic_key=login"),
        ("generic_key: { descriptor_key: k, descriptor_value: '%REQ(x-api-key)%' }", "k=alice"),
        ("generic_key: { descriptor_value: '%REQ(none)%', default_value: d }", "generic_key=d"),
        ("request_headers: { header_name: x-api-key, descriptor_key: api_key }", "api_key=alice"),
        ("request_headers: { header_name: none, descriptor_key: k, skip_if_absent: true }", ""),
        ("remote_address: {}", "remote_address=203.0.113.7"),
        ("masked_remote_address: { v4_prefix_mask_len: 24 }", "masked_remote_address=203.0.113.0/24"),
        (
            "header_value_match: { descriptor_value: big, headers: [{ name: x-size, range_match: { start: 10, end: 20 } }] }",
            "header_match=big",
        ),
        (
            "header_value_match: { descriptor_key: k, descriptor_value: v, expect_match: false, headers: [{ name: none }] }",
            "k=v",
        ),
        (
            "header_value_match: { descriptor_value: v, headers: [{ name: x-api-key, string_match: { prefix: AL, ignore_case: true } }] }",
            "header_match=v",
        ),
        (
            "header_value_match: { descriptor_value: v, headers: [{ name: none, treat_missing_header_as_empty: true, exact_match: x, invert_match: true }] }",
            "header_match=v",
        ),
        (
            "header_value_match: { descriptor_value: v, headers: [{ name: x-api-key, safe_regex_match: { google_re2: {}, regex: 'al.*' } }] }",
            "header_match=v",
        ),
        (
            "query_parameter_value_match: { descriptor_value: v, query_parameters: [{ name: plan, string_match: { exact: gold } }] }",
            "query_match=v",
        ),
        ("query_parameters: { query_parameter_name: plan, descriptor_key: plan }", "plan=gold"),
        (
            "metadata: { descriptor_key: m, metadata_key: { key: ns, path: [{ key: a }] }, default_value: d }",
            "m=d",
        ),
        ("path: {}", "path=/login"),
        ("method: { descriptor_key: verb }", "verb=POST"),
        ("host: {}", "host=api.example.com"),
        ("principal: {}", "principal=spiffe://a"),
        ("context_extension: { key: route, descriptor_key: route }", "route=login"),
    ];
    for (action, expected) in cases {
        assert_eq!(made(&format!("{{ {action} }}"), &request), expected, "{action}");
    }
}

#[test]
fn matches_and_the_answer_without_a_descriptor_are_read() {
    let text = file(
        "- match: { hosts: [api.example.com, '*.example.org'], path_prefix: /login, methods: [POST] }
  rate_limits:
  - actions: [{ remote_address: {} }]
    hits_addend: { number: 3 }
  without_descriptor: deny
- rate_limits: [{ actions: [{ path: {} }], hits_addend: { format: '%REQ(x-cost)%' } }]
",
    );
    let entries = entries(&text);
    let [login, rest] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((login.requests.hosts.len(), login.without_descriptor), (2, Some(WithoutDescriptor::Deny)));
    assert_eq!(
        (login.requests.path_prefix.as_str(), &login.requests.methods[..]),
        ("/login", &["POST".to_owned()][..])
    );
    assert!(login.rate_limits[0].hits_addend().is_some() && rest.rate_limits[0].hits_addend().is_some());
    assert_eq!((rest.requests.is_everything(), rest.without_descriptor), (true, None));
}

#[test]
fn what_is_not_known_or_not_possible_is_an_error_with_its_place_and_a_hint() {
    let place = "limits.yaml:4:17: edge.authz[0].rate_limits[0].actions[0]";
    let cases = [
        (
            actions("{ generic_keys: { descriptor_value: a } }"),
            "unknown key `generic_keys`; did you mean `generic_key`?",
        ),
        (
            actions("{ source_cluster: {} }"),
            "there is no action 'source_cluster' here: Envoy's clusters are not known",
        ),
        (actions("{ extension: { name: a } }"), "only Envoy's own filter has it"),
        (actions("{}"), "an action must have one of these keys: generic_key, request_headers"),
        (actions("{ path: {}, method: {} }"), "`method` cannot be combined with `path`"),
        (actions("{ remote_address: }"), "`remote_address` has no value; write `remote_address: {}`"),
        (actions("{ generic_key: { descriptor_value: '%FOO%' } }"), "there is no command %FOO%"),
        (actions("{ generic_key: {} }"), "descriptor_value: is missing or empty"),
        (actions("{ generic_key: { descriptor_value: a, name: b } }"), "unknown key `name`"),
        (
            actions("{ request_headers: { header_name: 'a b', descriptor_key: k } }"),
            "'a b' cannot be the name of a header",
        ),
        (actions("{ masked_remote_address: { v4_prefix_mask_len: 33 } }"), "33 is not a prefix length"),
        (
            actions(
                "{ header_value_match: { descriptor_value: v, headers: [{ name: a, exact_match: b, present_match: true }] } }",
            ),
            "only one way to match is allowed",
        ),
        (
            actions(
                "{ header_value_match: { descriptor_value: v, headers: [{ name: a, string_match: { safe_regex: { regex: '(' } } }] } }",
            ),
            "not a regular expression",
        ),
    ];
    let is_told = |(text, expected): (String, &str)| {
        let told = refused(&text);
        assert!(told.contains(expected), "{text}\n{told}");
        told
    };
    let told = cases.map(is_told);
    assert!(told[0].starts_with(place), "{}", told[0]);
}

#[test]
fn what_ext_authz_cannot_have_is_an_error_with_its_reason() {
    let cases = [
        (file("- rate_limits: [{ actions: [] }]\n"), "actions: is missing or empty"),
        (file("- rate_limits: [{ actions: [{ path: {} }], stage: 1 }]\n"), "so there are no stages"),
        (
            file("- rate_limits: [{ actions: [{ path: {} }], apply_on_stream_done: true }]\n"),
            "ext_authz asks once",
        ),
        (
            file("- rate_limits: [{ actions: [{ path: {} }], limit: {} }]\n"),
            "a limit cannot be overridden here",
        ),
        (file("- rate_limits: [{ actions: [{ path: {} }], disable_key: a }]\n"), "there is no runtime here"),
        (
            file(
                "- rate_limits: [{ actions: [{ path: {} }], hits_addend: { number: 1, format: '%REQ(a)%' } }]\n",
            ),
            "number and format exclude each other",
        ),
        (
            file("- rate_limits: [{ actions: [{ path: {} }], hits_addend: { number: 2000000000 } }]\n"),
            "edge.authz[0].rate_limits[0].hits_addend: number: is above 1000000000",
        ),
        (file("- match: { hosts: ['a:80'] }\n"), "`a:80` cannot be a host"),
        (file("- match: { methods: [post] }\n"), "`post` cannot be a method; write it in capitals"),
        (file("- match: { path_prefix: login }\n"), "path_prefix must begin with `/`"),
        (file("- match: { path_prefix: '/a?b' }\n"), "it cannot have a `?`"),
        (file("- match: { path: /login }\n"), "unknown key `path`"),
        (file("- without_descriptor: maybe\n"), "unknown without_descriptor `maybe`"),
        (file("  []\n"), "authz must have at least one entry"),
        (
            "domain: a\nmatch: {}\n".to_owned(),
            "`match` has no effect here; it belongs in an entry of `authz`",
        ),
    ];
    for (text, expected) in cases {
        let told = refused(&text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
}

#[test]
fn lists_and_entries_that_cannot_have_an_effect_are_warned_about() {
    let contradiction = "{ request_headers: { header_name: x-key, descriptor_key: k } }, \
        { header_value_match: { descriptor_value: none, expect_match: false, headers: [{ name: x-key }] } }";
    let rules = "descriptors:\n- { key: path, rate_limit: { unit: day, requests_per_unit: 1 } }\n";
    let cases = [
        (
            actions(contradiction),
            "never makes a descriptor: nothing that `x-key` can be satisfies all actions",
        ),
        (
            file("- rate_limits: [{ actions: [{ path: {} }] }]\n- match: { hosts: [a] }\n"),
            "edge.authz[1]: never counts: each of its requests matches the entry at line 3 too",
        ),
        (actions("{ method: {} }") + rules, "no rule in `descriptors` is for the keys method in this order"),
    ];
    for (text, expected) in cases {
        let (_, warnings) = load(&text).unwrap();
        assert!(warnings.contains(expected), "{text}\n{warnings}");
    }
    entries(&(actions("{ path: {} }") + rules));
}

#[test]
fn the_entries_of_a_domain_are_in_one_file() {
    // Their order counts, and files have none.
    let folder = std::env::temp_dir().join(format!("tollgate-authz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let paths = ["a.yaml", "b.yaml"].map(|name| folder.join(name));
    for path in &paths {
        std::fs::write(path, actions("{ path: {} }")).unwrap();
    }
    let loaded: Result<Config, ConfigErrors> =
        crate::config::load(&paths, DefaultAlgorithm::default()).map_err(|refused| refused.errors);
    std::fs::remove_dir_all(&folder).unwrap();
    let errors = loaded.unwrap_err().to_string();
    assert!(errors.contains("b.yaml:2:1: edge: the authz of this domain is already in "), "{errors}");
}
