//! Requests in place of descriptors, through `authz` and through Envoy configurations.

use std::sync::LazyLock;

use serde_json::Value;

use super::{LIMITS, assert_shows, support, tollgate};

const AUTHZ: &str = r#"
domain: edge
authz:
- match: { path_prefix: /login, methods: [POST] }
  rate_limits:
  - actions: [ { generic_key: { descriptor_key: route, descriptor_value: login } }, { remote_address: {} } ]
  - actions: [ { generic_key: { descriptor_key: route, descriptor_value: login } }, { request_headers: { header_name: x-api-key, descriptor_key: api_key } } ]
    hits_addend: { number: 3 }
- match: { path_prefix: /secret }
  rate_limits: [ { actions: [ { principal: {} } ] } ]
  without_descriptor: deny
descriptors:
- key: route
  descriptors:
  - { key: remote_address, rate_limit: { unit: hour, requests_per_unit: 5 } }
  - { key: api_key, rate_limit: { unit: hour, requests_per_unit: 2 } }
"#;

/// Written once, since another test may read it at any time.
static FILE: LazyLock<String> =
    LazyLock::new(|| support::file("explain-authz.yaml", AUTHZ).display().to_string());

fn explain_request(args: &[&str]) -> (Option<i32>, String) {
    let (status, told, error) = tollgate(&[&["--config", FILE.as_str()], args].concat());
    assert_eq!(error, "", "{args:?}");
    (status, told)
}

#[test]
fn a_request_goes_through_authz_and_each_list_says_what_it_made() {
    let (status, text) = explain_request(&["--request", "POST /login?x=1", "--address", "203.0.113.7"]);
    assert_eq!(status, Some(0), "{text}");
    assert_shows(
        &text,
        &[
            "authz[0], the first entry that matches the request\n",
            "list 1: generic_key route, remote_address\n",
            "makes descriptor 1\n",
            "list 2: generic_key route, request_headers x-api-key\n",
            "makes no descriptor: request_headers x-api-key: the request has no such header\n",
            "descriptor 1: route=login, remote_address=203.0.113.7\n",
            "limit route.remote_address: 5 per hour",
        ],
    );
    let (status, text) = explain_request(&["--request", "POST /login", "--header", "X-Api-Key: abc"]);
    assert_eq!(status, Some(1), "3 hits of 2: {text}");
    assert_shows(
        &text,
        &[
            "makes no descriptor: remote_address: the client's address is not known\n",
            "descriptor 1: route=login, api_key=abc  (3 hits)\n",
            "the hits never fit",
            "429 Too Many Requests",
        ],
    );
}

#[test]
fn a_request_without_a_descriptor_passes_or_is_forbidden_as_the_file_says() {
    let (status, text) = explain_request(&["--request", "GET /login"]);
    assert_eq!(status, Some(3));
    assert_shows(&text, &["authz: no entry matches the request\n", "makes no descriptor, so it passes\n"]);
    let (status, text) = explain_request(&["--request", "GET /secret"]);
    assert_eq!(status, Some(1));
    assert_shows(
        &text,
        &[
            "authz[1]",
            "principal: the request does not have it\n",
            "without_descriptor says deny\n",
            "403 Forbidden\n",
        ],
    );
    let (status, text) = explain_request(&["--request", "GET /secret", "--principal", "spiffe://a"]);
    assert_eq!(status, Some(3));
    assert_shows(
        &text,
        &[
            "descriptor 1: principal=spiffe://a\n",
            "no limit applies: level 1: the rules have other keys there: route\n",
        ],
    );
}

#[test]
fn a_request_needs_lists_of_actions() {
    let limits = support::file("explain-no-authz.yaml", LIMITS).display().to_string();
    let (status, _, error) = tollgate(&["--config", &limits, "--request", "GET /"]);
    assert!(status == Some(2) && error.contains("made by `authz` in a limits file"), "{error}");
    let (status, _, error) = tollgate(&["--config", &limits, "--request", "GET"]);
    assert!(status == Some(2) && error.contains("write the method and the path"), "{error}");
}

#[test]
fn json_says_what_each_list_made() {
    let (_, told) = explain_request(&["--request", "POST /login", "--address", "::1", "--format", "json"]);
    let json: Value = serde_json::from_str(&told).expect("JSON");
    let lists = &json["made_by"]["lists"];
    assert_eq!((&lists[0]["result"], &lists[0]["descriptor"]), (&"descriptor".into(), &1.into()));
    assert_eq!(
        (&lists[1]["result"], &lists[1]["dropped_by"]),
        (&"dropped".into(), &"request_headers x-api-key".into())
    );
    assert_eq!(lists[1]["why"], "the request has no such header");
}

// === through an Envoy configuration ===

fn explain_example(args: &[&str]) -> (Option<i32>, String, String) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let [limits, envoy] = ["examples/limits.yaml", "examples/envoy.yaml"].map(|file| format!("{root}{file}"));
    tollgate(&[&["--config", &limits, "--envoy", &envoy], args].concat())
}

#[test]
fn a_request_goes_through_the_lists_of_an_envoy_configuration() {
    let (status, text, error) = explain_example(&["--request", "GET /", "--header", "x-api-key: abc"]);
    assert_eq!((status, error.as_str()), (Some(0), ""), "{text}");
    assert_shows(
        &text,
        &[
            "domain edge\n",
            "examples/envoy.yaml: listener edge, filter envoy.filters.http.ratelimit\n",
            "virtual host all, route (prefix /, line ",
            "rate_limits of the route\n",
            ": generic_key route, request_headers x-api-key\n",
            "makes descriptor 1\n",
            ": header_value_match route, remote_address\n",
            "makes no descriptor: header_value_match route: the request does not match\n",
            "descriptor 1: route=default, api_key=abc\n",
            "would be allowed",
        ],
    );
    let (status, text, _) = explain_example(&["--request", "GET /"]);
    assert_eq!(status, Some(3));
    assert_shows(
        &text,
        &[
            "remote_address: the client's address is not known\n",
            "the request makes no descriptor, so it passes\n",
        ],
    );
    let (status, _, error) = explain_example(&["--request", "GET /", "--route", "none"]);
    assert!(status == Some(2) && error.contains("no route is called none"), "{error}");
    let (status, _, error) = explain_example(&["route=a"]);
    assert!(status == Some(2) && error.contains("cannot be used with"), "{error}");
}

/// The configurations that this repository ships can be followed: nothing in them is unknown.
#[test]
fn nothing_in_the_shipped_configurations_is_beyond_explanation() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    for envoy in ["examples/envoy.yaml", "envoy/global/node.yaml"] {
        let (limits, envoy) = (format!("{root}examples/demo.yaml"), format!("{root}{envoy}"));
        for path in ["GET /", "GET /login"] {
            let args =
                ["--config", &limits, "--envoy", &envoy, "--request", path, "--address", "203.0.113.7"];
            let (status, text, error) = tollgate(&args);
            assert!(status == Some(0) || status == Some(3), "{error}");
            assert_shows(&text, &["makes descriptor 1\n"]);
            assert!(!text.contains("cannot be evaluated") && !text.contains("note:"), "{text}");
        }
    }
}
