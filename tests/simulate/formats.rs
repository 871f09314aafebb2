//! Each form of log, and each way from its fields to descriptors.

use std::{fs, io::Write as _, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use lab::binaries;

use super::{BY_KEY, json, limits, line, one_limit, run, run_with, support};

const AUTHZ: &str = "domain: d\ndescriptors:\n- { key: remote_address, rate_limit: { unit: day, requests_per_unit: 1 } }\n- key: route\n  \
    value: login\n  descriptors:\n  - { key: api_key, rate_limit: { unit: day, requests_per_unit: 1 } }\nauthz:\n- match: { path_prefix: \
    /login, methods: [POST] }\n  rate_limits:\n  - actions: [{ generic_key: { descriptor_key: route, descriptor_value: login } }, { \
    request_headers: { header_name: x-api-key, descriptor_key: api_key } }]\n- rate_limits:\n  - actions: [{ remote_address: {} }]\n";

#[test]
fn a_line_of_envoys_default_format_is_read_with_its_forwarded_address() {
    let config = limits("text", AUTHZ);
    let log = |second: u8, address: &str| {
        format!(
            "[2026-11-28T12:00:0{second}.310Z] \"GET /a?b=c HTTP/1.1\" 200 - 0 5 1 0 \"{address}\" \"curl/8\" \"id\" \"h\" \
             \"10.0.0.1:80\"\n"
        )
    };
    let log = log(0, "10.0.0.9, 203.0.113.7") + &log(1, "203.0.113.7") + &log(2, "203.0.113.8");
    let told = json(&["--config", &config, "--show-values"], &log);
    assert_eq!(told["keys"][0]["key"], "remote_address=203.0.113.7", "{told}");
    assert_eq!(told["denied"], 1, "{told}");
}

#[test]
fn a_pattern_names_the_fields_of_any_text_format() {
    let config = limits("pattern", AUTHZ);
    let pattern = "%START_TIME(%s.%3f)% %REQ(:METHOD)% %REQ(:PATH)% key=%REQ(X-API-KEY)% %DURATION%";
    let log = "1795867200.123 POST /login key=abc 1\n1795867200.223 POST /login key=abc 1\n1795867200.423 GET /login key=abc 1\n";
    let told = json(&["--config", &config, "--pattern", pattern, "--show-values"], log);
    assert_eq!((&told["denied"], &told["without_descriptor"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(told["keys"][0]["key"], "api_key=abc", "the route is the rule's own: {told}");
    let wrong = run(&["--config", &config, "--pattern", "%REQ(:PATH)%", "-"]);
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.stderr.contains("--pattern: it has no %START_TIME%"), "{}", wrong.stderr);
}

#[test]
fn json_fields_have_the_names_of_the_log_and_those_within_objects_a_dot() {
    let config = limits("json", AUTHZ);
    let log = "{\"ts\":1795867200,\"http\":{\"m\":\"POST\",\"url\":\"/login\",\"key\":\"abc\"},\"tags\":[1,{}],\"ok\":true}\n";
    let fields = [
        "--field",
        "http.m=%REQ(:METHOD)%",
        "--field",
        "http.url=%REQ(:PATH)%",
        "--field",
        "http.key=%REQ(x-api-key)%",
    ];
    let told = json(&[&["--config", &config, "--show-values"], &fields[..]].concat(), &log.repeat(3));
    assert_eq!((&told["denied"], &told["keys"][0]["key"]), (&2.into(), &"api_key=abc".into()), "{told}");
}

#[test]
fn a_field_or_a_constant_is_an_entry_and_an_address_has_no_port() {
    let config = limits("fields", AUTHZ);
    let log = |port: u16| {
        format!(
            "{{\"when\":\"2026-11-28T12:00:00Z\",\"downstream_remote_address\":\"192.0.2.1:{port}\",\"x_key\":\"k\"}}\n"
        )
    };
    let args = ["--config", &config, "--show-values", "--time-field", "when", "--descriptor"];
    let told =
        json(&[&args[..], &["remote_address=downstream_remote_address"]].concat(), &(log(1) + &log(2)));
    assert_eq!(
        (&told["denied"], &told["keys"][0]["key"]),
        (&1.into(), &"remote_address=192.0.2.1".into()),
        "{told}"
    );
    let told = json(&[&args[..], &["route:=login,api_key=x_key"]].concat(), &(log(1) + &log(2)));
    assert_eq!((&told["denied"], &told["keys"][0]["key"]), (&1.into(), &"api_key=k".into()), "{told}");
    let wrong = run(&[&args[..], &["nothing", "-"]].concat());
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.stderr.contains("write KEY=FIELD or KEY:=TEXT"), "{}", wrong.stderr);
}

#[test]
fn an_envoy_configuration_makes_the_descriptors_as_in_explain() {
    let args = ["--config", "examples/limits.yaml", "--envoy", "examples/envoy.yaml", "--show-values"];
    let one = |at: u64| {
        format!(
            "{{\"start_time\":{at},\"method\":\"GET\",\"path\":\"/\",\"authority\":\"a\",\"x_api_key\":\"abc\"}}\n"
        )
    };
    let log: String = (0..100).map(|at| one(1_795_867_200_000 + at)).collect();
    let told = json(&args, &log);
    assert!(told["denied"].as_u64().unwrap() > 50, "{told}");
    assert_eq!(told["limits"][0]["domain"], "edge", "{told}");
}

fn gzipped(name: &str, text: &str) -> (PathBuf, Vec<u8>) {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).expect("memory takes everything");
    let bytes = gz.finish().expect("memory takes everything");
    let path = support::file(name, "");
    fs::write(&path, &bytes).expect("the target folder can be written");
    (path, bytes)
}

#[test]
fn gzip_is_known_by_its_first_bytes_and_a_stream_that_is_cut_is_told() {
    let config = one_limit("gz", "{ unit: day, requests_per_unit: 1 }");
    let log: String = (0..500).map(|at| line(at, &format!("key-{}", at * 7919))).collect();
    let (path, bytes) = gzipped("simulate-log-gz", &log);
    let path = path.display().to_string();
    let args = [&["--config", &config, "--json"], &BY_KEY[..]].concat();
    let ran = run(&[&args[..], &[&path]].concat());
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("\"requests\":500"), "{}", ran.stdout);
    // Two members, as `cat a.gz b.gz` makes them, from a pipe.
    let ran = run_with(&[&args[..], &["-"]].concat(), &[&bytes[..], &bytes].concat());
    assert!(ran.status == Some(0) && ran.stdout.contains("\"denied\":500"), "{}", ran.stdout);
    let ran = run_with(&[&args[..], &["-"]].concat(), &bytes[..bytes.len() / 2]);
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("stdin: the gzip stream is cut short after "), "{}", ran.stdout);
    let ran = run_with(&[&args[..], &["-"]].concat(), &[&bytes[..20], &[7; 300][..]].concat());
    assert_eq!(ran.status, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("gzip stream"), "{}", ran.stderr);
}

#[test]
fn several_logs_are_merged_by_time() {
    let config = one_limit("merged", "{ unit: second, requests_per_unit: 1 }");
    let log = |name: &str, odd: u64| {
        let text: String = (0..200).map(|at| line(at * 1_000 + odd * 400, "a")).collect();
        support::file(&format!("simulate-merged-{name}"), &text).display().to_string()
    };
    let (first, second) = (log("a", 0), log("b", 1));
    let ran = run(&[&["--config", &config, "--json"], &BY_KEY[..], &[&first, &second]].concat());
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        (&told["denied"], &told["log"]["late"]),
        (&200.into(), &0.into()),
        "each of the second log: {told}"
    );
}

#[test]
fn the_command_of_the_documentation_prints_what_it_shows() {
    let page = fs::read_to_string(binaries::checkout().join("docs/simulate.md")).expect("the page");
    let mut found = 0;
    for block in page.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("it ends");
        let (command, output) = block.split_once('\n').expect("a command and its output");
        let words = command.strip_prefix("$ tollgate simulate ").expect("a command").replace('\'', "");
        let words: Vec<&str> = words.split(' ').collect();
        let ran = run(&words);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (output, ""), "{command}");
        found += 1;
    }
    assert!(found >= 3, "{found} commands were found");
}
