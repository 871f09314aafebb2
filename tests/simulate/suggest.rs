//! Limits that are proposed: they are a limits file, and they touch as many clients as they say.

use std::process::Command;

use lab::binaries;
use serde_json::Value;

use super::{BY_KEY, json, limits, line, run_with};

/// Clients whose busiest moments differ: client n sends n requests at once, and one a second besides.
fn log() -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for client in 1..=40_u64 {
        let key = format!("c{client}");
        lines.extend((0..client).map(|at| (client * 700 + at * 3, key.clone())));
        lines.extend((0..30).map(|at| (100_000 + at * 1_000 + client, key.clone())));
    }
    lines.sort();
    lines.iter().map(|(at, key)| line(*at, key)).collect()
}

fn check(file: &str) {
    let output = Command::new(binaries::tollgate().expect("built"))
        .args(["check", "--strict", file])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn each_share_of_touched_clients_is_what_a_simulation_of_that_limit_finds() {
    for (unit, burst) in
        [("second", None), ("minute", None), ("hour", None), ("second", Some(10)), ("minute", Some(25))]
    {
        let burst_flag = burst.map(|burst: u32| burst.to_string());
        let mut args = vec!["--suggest", "--unit", unit, "--percentile", "80"];
        args.extend(burst_flag.iter().flat_map(|burst| ["--burst", burst]));
        args.extend(BY_KEY);
        let told = json(&args, &log());
        let group = &told["groups"][0];
        assert_eq!(group["clients"], 40, "{told}");
        let proposals: Vec<&Value> = group["proposals"].as_array().unwrap().iter().collect();
        assert_eq!(proposals.len(), 6, "{told}");
        for proposal in proposals {
            let Some(requests) = proposal["limit"]["requests_per_unit"].as_u64() else {
                // A burst of 10 at once can be no more than the burst allows, whatever the rate.
                assert!(burst.is_some(), "{told}");
                continue;
            };
            let burst = burst.map(|burst| format!(", burst: {burst}")).unwrap_or_default();
            let limit = format!("{{ unit: {unit}, requests_per_unit: {requests}{burst} }}");
            let config = limits(
                "suggested",
                &format!("domain: edge\ndescriptors:\n- {{ key: k, rate_limit: {limit} }}\n"),
            );
            let simulated = json(&[&["--config", &config], &BY_KEY[..]].concat(), &log());
            assert_eq!(simulated["limits"][0]["touched"], proposal["touched"], "{limit}: {proposal}");
            let share = 100.0 - proposal["percentile"].as_f64().unwrap();
            assert!(proposal["touched"].as_f64().unwrap() <= share * 40.0 / 100.0, "{proposal}");
        }
    }
}

#[test]
fn what_is_proposed_is_a_limits_file_that_check_accepts() {
    let args = ["--suggest", "--descriptor", "route:=a b\"c,k=k", "--descriptor", "k=k", "-"];
    let ran = run_with(&args, log().as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    assert!(
        ran.stdout.contains("- key: route\n  value: \"a b\\\"c\"\n  descriptors:\n  - key: k\n"),
        "{}",
        ran.stdout
    );
    check(&limits("proposed", &ran.stdout));
    assert!(!ran.stdout.contains("c40"), "it names no client: {}", ran.stdout);
}

#[test]
fn the_lists_of_an_envoy_configuration_and_of_authz_are_groups() {
    let ways = [
        (
            ["--envoy", "examples/envoy.yaml"],
            "- key: route\n  value: default\n  descriptors:\n  - key: api_key\n",
        ),
        (
            ["--config", "examples/simulate/limits.yaml"],
            "- key: route\n  value: login\n  descriptors:\n  - key: remote_address\n",
        ),
    ];
    for (way, group) in ways {
        let log = "{\"start_time\":1795867200,\"method\":\"POST\",\"path\":\"/login\",\"authority\":\"a\",\"x_api_key\":\"abc\",\
            \"downstream_remote_address\":\"192.0.2.1:5\"}\n";
        let ran = run_with(&[&["--suggest"], &way[..], &["-"]].concat(), log.as_bytes());
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains(group), "{}", ran.stdout);
        assert!(!ran.stdout.contains("abc") && !ran.stdout.contains("192.0.2.1"), "{}", ran.stdout);
        check(&limits("of-lists", &ran.stdout));
    }
}
