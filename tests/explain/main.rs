//! `tollgate explain`, as a shell and scripts see it.

mod live;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use lab::binaries;
use serde_json::Value;

const LIMITS: &str = r#"
domain: edge
descriptors:
- key: route
  value: login
  descriptors:
  - { key: api_key, rate_limit: { unit: hour, requests_per_unit: 5 } }
  - { key: api_key, value: "v*", rate_limit: { unit: hour, requests_per_unit: 100 } }
- { key: route, value: "l*", rate_limit: { unit: hour, requests_per_unit: 7 } }
- { key: route, value: "*", rate_limit: { unit: hour, requests_per_unit: 8 } }
- { key: route }
- { key: shadowed, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
- { key: free, rate_limit: { unlimited: true } }
"#;

/// Exit status, stdout and stderr.
fn tollgate(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binaries::tollgate().expect("built"));
    let output = command.env_clear().arg("explain").args(args).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The exit status and the text for these arguments, with a file of its own for each test.
fn explain(name: &str, args: &[&str]) -> (Option<i32>, String) {
    let limits = support::file(&format!("explain-{name}.yaml"), LIMITS).display().to_string();
    let (status, told, error) = tollgate(&[&["--config", &limits], args].concat());
    assert_eq!(error, "", "{args:?}");
    (status, told)
}

fn explain_json(name: &str, args: &[&str]) -> (Option<i32>, Value) {
    let (status, told) = explain(name, &[args, &["--format", "json"]].concat());
    (status, serde_json::from_str(&told).expect("JSON"))
}

/// The arguments are the same texts as are shown, so that each test says only what it looks for.
#[track_caller]
fn assert_shows(text: &str, lines: &[&str]) {
    let mut rest = text;
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is not in the rest of:\n{text}"));
        rest = &rest[at + line.len()..];
    }
}

#[test]
fn the_exit_status_tells_allowed_from_denied_from_not_limited_from_wrong() {
    assert_eq!(explain("status", &["route=login", "api_key=a"]).0, Some(0));
    assert_eq!(explain("status", &["route=login", "api_key=a", "--hits", "5"]).0, Some(0));
    assert_eq!(explain("status", &["route=login", "api_key=a", "--hits", "6"]).0, Some(1));
    assert_eq!(explain("status", &["other=a"]).0, Some(3));
    assert_eq!(explain("status", &["free=a"]).0, Some(3));
    assert_eq!(explain("status", &["--domain", "unknown", "route=login"]).0, Some(3));
    for (args, told) in [
        (&["--config", "/nowhere.yaml", "a=b"][..], "/nowhere.yaml: cannot be read"),
        (&["a=b"], "--config"),
        (&["--config", "/nowhere.yaml"], "KEY=VALUE"),
    ] {
        let (status, _, error) = tollgate(args);
        assert_eq!(status, Some(2), "{args:?}: {error}");
        assert!(error.contains(told), "{args:?}: {error}");
    }
    let bad = support::file("explain-bad.yaml", "domain: e\ndescriptors: [{ key: a, valeu: b }]\n");
    let (status, _, error) = tollgate(&["--config", &bad.display().to_string(), "a=b"]);
    assert!(status == Some(2) && error.contains("did you mean `value`?"), "{status:?} {error}");
    let good = support::file("explain-good.yaml", LIMITS).display().to_string();
    let (status, _, error) = tollgate(&["--config", &good, "route"]);
    assert!(status == Some(2) && error.contains("KEY=VALUE, not \"route\""), "{status:?} {error}");
    let (status, _, error) =
        tollgate(&["--config", &good, "--store", "redis://:canary@127.0.0.1:1", "route=a"]);
    assert!(
        status == Some(2) && error.contains("cannot read the buckets from redis://127.0.0.1:1"),
        "{error}"
    );
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn months_of_the_calendar_are_named() {
    let file = support::file(
        "explain-months.yaml",
        "domain: edge\ndescriptors: [{ key: a, rate_limit: { unit: month, requests_per_unit: 9 } }]\n",
    );
    let file = file.display().to_string();
    let by_flag = |switch| tollgate(&["--config", &file, "--calendar-months", switch, "a=b"]);
    let (aligned, calendar) = (by_flag("off").1, by_flag("on").1);
    assert_shows(&aligned, &["limit a: 9 per month, burst 9, fixed_window\n"]);
    assert_shows(
        &calendar,
        &["limit a: 9 per calendar month, burst 9, fixed_window\n", "per calendar month"],
    );
    let bucket = |told: &str| told.split("bucket ").nth(1).map(|rest| rest[..16].to_owned());
    assert_ne!(bucket(&aligned), bucket(&calendar));
}

#[test]
fn each_level_shows_what_was_chosen_and_why_the_others_were_not() {
    let (_, text) = explain("levels", &["route=login", "api_key=a"]);
    assert_shows(
        &text,
        &[
            "domain edge\n",
            "descriptor 1: route=login, api_key=a\n",
            "  level 1: route=login\n",
            "> route=login  chosen: key and value are equal\n",
            "route=l*  not chosen: a pattern with exactly this key and value takes precedence\n",
            "route  not chosen: a pattern with exactly this key and value",
            "2 patterns with other keys\n",
            "  level 2: api_key=a\n",
            "> api_key  chosen: the key is equal, and it is for any value\n",
            "api_key=v*  not chosen: the value does not match\n",
            "rule route_login.api_key\n",
            "limit route_login.api_key: 5 per hour, burst 5, token_bucket\n",
            "bucket tg:",
            "the request would be allowed, if its buckets are full",
            "200 OK\n",
            "ratelimit-remaining: 4\n",
            "once these buckets are used up, it would be denied\n",
            "429 Too Many Requests\n",
            "retry-after: 720 ",
            "ratelimit-remaining: 0\n",
            "content-type: application/problem+json\n",
            "\"violated-policies\":[\"route_login.api_key\"]",
        ],
    );
    let (_, text) = explain("levels", &["route=logout"]);
    assert_shows(
        &text,
        &[
            "route=login  not chosen: the value does not match",
            "> route=l*  chosen: it is the first pattern with a * that matches",
            "route=*  not chosen: another pattern with a * matches, and comes first in the file",
            "route  not chosen: a pattern with a * that matches takes precedence over a key without a value",
        ],
    );
}

#[test]
fn the_lease_of_a_limit_is_shown_whether_it_says_so_or_serve_was_given_it() {
    let own = "{ unit: second, requests_per_unit: 500, lease: 1500ms }";
    let other = "{ unit: second, requests_per_unit: 500 }";
    let limits = format!(
        "domain: edge\ndescriptors:\n- {{ key: own, rate_limit: {own} }}\n- {{ key: other, rate_limit: {other} }}\n"
    );
    let limits = support::file("explain-lease.yaml", &limits).display().to_string();
    for (key, lease, shown, us) in [
        ("own", "off", ", lease 1.5s", 1_500_000),
        ("own", "100ms", ", lease 1.5s", 1_500_000),
        ("other", "off", "", 0),
        ("other", "100ms", ", lease 100ms", 100_000),
    ] {
        let args = ["--config", &limits, "--lease", lease, &format!("{key}=b")];
        let (_, text, _) = tollgate(&args);
        assert_shows(&text, &[&format!("limit {key}: 500 per second, burst 500, token_bucket{shown}\n")]);
        let (_, text, _) = tollgate(&[&args[..], &["--format", "json"]].concat());
        let object: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(object["descriptors"][0]["limits"][0]["lease_us"], us, "{object}");
    }
}

#[test]
fn no_token_of_a_fast_bucket_comes_back_while_it_is_explained() {
    let limit = "{ unit: second, requests_per_unit: 4000000000 }";
    let limits = format!("domain: edge\ndescriptors:\n- {{ key: a, rate_limit: {limit} }}\n");
    let limits = support::file("explain-fast.yaml", &limits).display().to_string();
    let (_, text, _) = tollgate(&["--config", &limits, "a=b"]);
    assert_shows(
        &text,
        &["ratelimit-remaining: 3999999999\n", "once these buckets are used up, it would be denied\n"],
    );
}

#[test]
fn a_request_without_a_limit_is_told_where_it_and_the_rules_differ() {
    for (args, why) in [
        (
            &["route=login"][..],
            "no limit applies: level 1: it ends there, and the rules go on with the keys api_key",
        ),
        (&["route=l", "api_key=a"], "no limit applies: level 2: the rules end before it"),
        (
            &["rout=login"],
            "no limit applies: level 1: the rules have other keys there: free, route, shadowed",
        ),
        (&["free=a"], "no limit applies: its rule is unlimited"),
        (&["--domain", "edg", "route=l"], "no limit applies: no limits file has its domain; they have edge"),
    ] {
        let (status, text) = explain("unlimited", args);
        assert_eq!(status, Some(3), "{args:?}: {text}");
        assert_shows(&text, &[why, "no limit applies, so the request passes\n"]);
    }
}

#[test]
fn a_limit_in_shadow_mode_is_said_to_deny_nothing() {
    let (status, text) = explain("shadow", &["shadowed=a", "--hits", "2"]);
    assert_eq!(status, Some(0));
    assert_shows(
        &text,
        &[
            "shadow mode: never denies\n",
            "the hits never fit\n",
            "even with these buckets used up, it would be allowed",
        ],
    );
}

/// The variables of `serve`, and those of envoyproxy/ratelimit, so that the answer is that of the process beside it.
#[test]
fn the_answer_is_that_of_a_process_with_the_same_flags() {
    let (status, text) =
        explain("as-serve", &["route=l", "--hits", "9", "--headers", "ratelimit-structured"]);
    assert_eq!(status, Some(1));
    assert_shows(&text, &["429 Too Many Requests\n", "ratelimit-policy: \"route_l*\";q=7;w=3600"]);
    assert!(!text.contains("retry-after") && !text.contains("problem"), "{text}");
    let (status, text) = explain("as-serve", &["route=l", "--hits", "9", "--shadow-mode"]);
    assert_eq!(status, Some(0), "{text}");
    assert_shows(
        &text,
        &["the hits never fit\n", "shadow mode is on for all limits", "would be allowed", "200 OK"],
    );
    let quotas = ["route=l", "+", "route=x", "--hits", "8"];
    assert_eq!(explain("as-serve", &quotas).0, Some(1), "7 of one, 8 of the other");
    let (status, text) = explain("as-serve", &[&quotas[..], &["--quota-mode"]].concat());
    assert_eq!(status, Some(0), "{text}");
    assert_shows(&text, &["quota: denies only if no other quota fits"]);
    let limits = support::file("explain-variables.yaml", LIMITS).display().to_string();
    let mut command = Command::new(binaries::tollgate().expect("built"));
    command.env_clear().args(["explain", "route=l", "--hits", "9"]);
    command.envs([("TOLLGATE_CONFIG", limits.as_str()), ("SHADOW_MODE", "true")]);
    assert_eq!(command.status().expect("runs").code(), Some(0));
}

#[test]
fn several_descriptors_are_decided_as_one_request() {
    let (status, json) =
        explain_json("several", &["route=login", "api_key=a", "+", "route=x", "+", "other=1", "--hits", "6"]);
    assert_eq!((status, json["verdict"].as_str()), (Some(1), Some("deny")));
    let descriptors = json["descriptors"].as_array().expect("a list");
    assert_eq!(descriptors.len(), 3);
    assert_eq!(
        (descriptors[0]["limits"][0]["fits"].as_bool(), descriptors[1]["limits"][0]["fits"].as_bool()),
        (Some(false), Some(true))
    );
    assert_eq!(descriptors[1]["limits"][0]["remaining"], 8, "nothing is charged where another limit denies");
    assert_eq!(descriptors[2]["limits"], serde_json::json!([]));
}

#[test]
fn json_has_the_same_keys_for_scripts() {
    let (_, json) = explain_json("json", &["route=login", "api_key=vip"]);
    let keys =
        |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&json),
        "descriptors domain made_by malformed_buckets shadow_mode store told told_if_used_up verdict"
    );
    let descriptor = &json["descriptors"][0];
    assert_eq!(keys(descriptor), "entries gives_back hits levels limits replaced rule tier why_no_limit");
    assert_eq!(keys(&descriptor["levels"][1]), "more_patterns other_keys patterns");
    let chosen = serde_json::json!({"key": "api_key", "value": "v*", "chosen": true, "why": "wildcard"});
    assert_eq!(descriptor["levels"][1]["patterns"][1], chosen);
    let limit = &descriptor["limits"][0];
    assert_eq!(
        keys(limit),
        "algorithm bucket burst enforcement fits lease_us level limit never_fits period_seconds remaining \
         requests_per_unit reserved_hits reset_us"
    );
    assert_eq!(
        (limit["limit"].as_str(), limit["level"].as_u64()),
        (Some("route_login.api_key_v*"), Some(100))
    );
    assert_eq!(keys(&json["told"]), "body headers status verdict");
    assert_eq!(
        (json["told"]["status"].as_u64(), json["told_if_used_up"]["status"].as_u64()),
        (Some(200), Some(429))
    );
    assert_eq!(json["told_if_used_up"]["headers"]["retry-after"], "36");
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let (_, text) = explain("escapes", &["route=l\u{1b}[31m", "k\n=v"]);
    assert!(text.contains("route=l\\u{1b}[31m") && text.contains("k\\n=v"), "{text}");
}

#[test]
fn the_domain_must_be_named_if_there_are_several() {
    let files = ["a", "b"].map(|domain| {
        let name = format!("explain-domain-{domain}.yaml");
        let text = LIMITS.replace("domain: edge", &format!("domain: {domain}"));
        support::file(&name, &text).display().to_string()
    });
    let config = files.join(",");
    let (status, _, error) = tollgate(&["--config", &config, "route=x"]);
    assert!(
        status == Some(2) && error.contains("name the domain by --domain: the limits files have a, b"),
        "{error}"
    );
    assert_eq!(tollgate(&["--config", &config, "--domain", "b", "route=x"]).0, Some(0));
}
