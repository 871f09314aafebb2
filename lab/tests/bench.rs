//! The benchmark as it is run, cut short.

use std::{fs, path::Path, process::Command};

use lab::{binaries::Part, real};
use serde_json::Value;

fn bench(out: &Path, cases: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["bench", "--runs", "2", "--seconds", "0.2", "--cases", cases, "--out"])
        .arg(out)
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
    let json = bench(&out, "one-at-a-time,four-64,half-denied-64,half-peak-64");
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
