//! The benchmark as it is run, cut short.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use lab::{binaries::Part, real};
use serde_json::Value;

fn bench(out: &Path, cases: &str, more: &[String]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["bench", "--runs", "2", "--seconds", "0.2", "--cases", cases, "--out"])
        .arg(out)
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for file in ["bench.svg", "performance.md", "limits.yaml"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let json = fs::read_to_string(out.join("bench.json")).unwrap();
    fs::remove_dir_all(out).unwrap();
    json.parse().unwrap()
}

#[test]
fn each_contender_decides_in_each_round_and_nobody_answers_with_an_error() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let out = std::env::temp_dir().join(format!("lab-bench-{}", std::process::id()));
    let cases = "one-at-a-time,four-64,half-denied-64,half-peak-64,far-64";
    let json = bench(&out, cases, &[]);
    for case in json["cases"].as_array().unwrap() {
        for contender in case["contenders"].as_array().unwrap() {
            let runs = contender["runs"].as_array().unwrap();
            assert_eq!(runs.len(), 2);
            for run in runs {
                assert!(run["ok"].as_u64().unwrap() > 0, "{}: {contender:#}", case["name"]);
                assert_eq!((&run["errors"], &run["unanswered"]), (&0.into(), &0.into()), "{contender:#}");
                let admitted = run["ok"].as_f64().unwrap();
                assert!(run["allowed"].as_f64().is_none_or(|allowed| admitted <= allowed), "{contender:#}");
            }
        }
    }
}

/// A service that admits whatever it is asked, under the command line or the variables of another one.
fn pretender(folder: &Path, name: &str, listen: &str) -> String {
    let path = folder.join("bin").join(name);
    let lab = env!("CARGO_BIN_EXE_lab");
    fs::write(&path, format!("#!/bin/sh\nexec {lab} floor --grpc-listen {listen}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("--peer={name}={}", path.display())
}

#[test]
fn other_services_are_started_and_measured_and_what_they_admit_is_counted() {
    if !real::available(&[Part::Redis]) {
        return;
    }
    let out = std::env::temp_dir().join(format!("lab-bench-peers-{}", std::process::id()));
    fs::create_dir_all(out.join("bin")).unwrap();
    let peers = [
        pretender(&out, "envoyproxy-ratelimit", "$GRPC_HOST:$GRPC_PORT"),
        pretender(&out, "limitador", "$2:$4"),
    ];
    let json = bench(&out, "one-denied-64,admission", &peers);
    let names = ["envoyproxy/ratelimit", "envoyproxy/ratelimit, local cache", "limitador"];
    let contenders = json["cases"][0]["contenders"].as_array().unwrap();
    for name in names {
        let found = contenders.iter().find(|it| it["label"] == name).unwrap();
        assert!(found["service_cpu_us_per_decision"]["median"].as_f64().unwrap() > 0.0, "{found:#}");
        assert!(found["runs"][1]["ok"].as_u64().unwrap() > 0, "{found:#}");
    }
    let admissions = json["admissions"].as_array().unwrap();
    let labels: Vec<&str> = admissions.iter().map(|it| it["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Redis", "Redis, leases", names[0], names[2]]);
    for admission in admissions {
        let tollgate = admission["label"].as_str().unwrap().starts_with("Redis");
        for (what, most, all) in [("across_an_edge", 13, 40), ("at_once", 110, 2_000)] {
            for answers in admission[what].as_array().unwrap() {
                let admitted = answers["admitted"].as_u64().unwrap();
                assert_eq!(answers["errors"], 0, "{admission:#}");
                // The first of limitador's opens its window.
                let fits = if tollgate { (1..=most).contains(&admitted) } else { admitted >= all };
                assert!(fits, "{what}: {admission:#}");
            }
        }
    }
}
