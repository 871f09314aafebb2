//! Logs with lines that are no requests, in no order, and with times that cannot be.

use super::{BY_KEY, json, line, one_limit, run, run_with};

const SECRET: &str = "s3cret-value";

#[test]
fn broken_lines_are_counted_and_shown_by_place_and_reason_and_never_by_what_is_in_them() {
    let config = one_limit("broken", "{ unit: day, requests_per_unit: 1 }");
    let mut log = line(0, "a");
    log.push_str(&format!("{{\"start_time\":1,\"k\":\"{SECRET}\n"));
    log.push_str(&format!("{SECRET} is not a line of the format\n"));
    log.push_str(&format!("{{\"k\":\"{SECRET}\"}}\n"));
    log.push_str(&format!("{{\"start_time\":\"{SECRET}\"}}\n\n"));
    log.push_str(&format!("[{SECRET}]\n"));
    log.push_str(&format!("{{\"start_time\":0,\"k\":\"{}\"}}\n", "x".repeat(2 << 20)));
    log.push_str(&line(1, "a"));
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &log);
    assert_eq!(
        (&told["requests"], &told["denied"], &told["log"]["broken"]),
        (&2.into(), &1.into(), &6.into()),
        "{told}"
    );
    let shown: Vec<&str> =
        told["log"]["first_broken"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(
        shown,
        [
            "stdin:2:33: not a JSON object",
            "stdin:3:1: neither JSON nor as the pattern says",
            "stdin:4: no field says when the request began",
            "stdin:5: the time is in no form that is known",
            "stdin:7:2: neither JSON nor as the pattern says",
        ]
    );
    assert!(!told.to_string().contains(SECRET), "{told}");
}

#[test]
fn lines_out_of_order_within_the_window_count_as_if_they_were_in_order() {
    let config = one_limit("order", "{ unit: second, requests_per_unit: 1 }");
    let mut lines: Vec<String> = (0..300).map(|at| line(at * 1_000, "a")).collect();
    let args = [&["--config", &config], &BY_KEY[..]].concat();
    let sorted = json(&args, &lines.concat());
    assert_eq!(sorted["denied"], 0);
    lines.chunks_mut(7).for_each(<[String]>::reverse);
    let shuffled = json(&args, &lines.concat());
    assert_eq!((&shuffled["denied"], &shuffled["log"]["late"]), (&0.into(), &0.into()), "{shuffled}");
    assert!(shuffled["log"]["out_of_order"].as_u64().unwrap() > 200, "{shuffled}");
    let unsorted = json(&[&args[..], &["--sort-window", "1s"]].concat(), &lines.concat());
    assert!(unsorted["denied"].as_u64().unwrap() > 100, "{unsorted}");
    assert!(
        unsorted["remarks"].to_string().contains("lines were older than --sort-window allows"),
        "{unsorted}"
    );
}

#[test]
fn one_line_from_the_future_changes_nothing_for_the_others() {
    let config = one_limit("future", "{ unit: second, requests_per_unit: 1 }");
    let log: String = (0..300).map(|at| line(at * 1_000, "a")).collect();
    let wild = "{\"start_time\":\"2199-01-01T00:00:00Z\",\"k\":\"a\"}\n";
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &(line(0, "b") + wild + &log));
    assert_eq!((&told["denied"], &told["log"]["late"]), (&0.into(), &0.into()), "{told}");
}

#[test]
fn a_log_of_which_nothing_can_be_used_is_an_error_that_says_what_to_write() {
    let config = one_limit("useless", "{ unit: day, requests_per_unit: 1 }");
    let args = [&["--config", &config, "-"], &BY_KEY[..]].concat();
    let error = |log: &str| {
        let ran = run_with(&args, log.as_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        ran.stderr
    };
    assert!(error("").contains("no line of the logs can be used: they are empty"));
    let told = error("{\"when\":\"2026-11-28T12:00:00Z\",\"k\":\"a\"}\n");
    assert!(
        told.contains("the log has the fields when, k, and --time-field names the one with the time"),
        "{told}"
    );
    let told = error(&line(0, "a").replace("\"k\"", "\"api\""));
    assert!(told.contains("no line has the field k; the log has: start_time, path, api"), "{told}");
    assert!(
        error("nonsense\n")
            .contains("stdin:1:1: neither JSON nor as the pattern says; lines are read as JSON objects")
    );
    let missing = run(&[&["--config", &config, "/nowhere.log"], &BY_KEY[..]].concat());
    assert_eq!(missing.status, Some(1));
    assert!(missing.stderr.contains("cannot read /nowhere.log: no such file"), "{}", missing.stderr);
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let config = one_limit("misuse", "{ unit: day, requests_per_unit: 1 }");
    for (args, says) in [
        (vec!["-"], "--config"),
        (vec!["--config", &config, "-"], "nothing says how descriptors are made"),
        (vec!["--config", &config, "--descriptor", "k=k", "-", "-"], "standard input can be read only once"),
        (vec!["--config", &config, "--descriptor", "k=k", "--field", "k=abc", "-"], "write NAME=OPERATOR"),
        (
            vec!["--config", &config, "--descriptor", "k=k", "--sort-window", "5", "-"],
            "a duration needs a unit",
        ),
        (vec!["--config", "/nowhere.yaml", "--descriptor", "k=k", "-"], "/nowhere.yaml"),
        (
            vec!["--suggest", "--descriptor", "k=k", "--unit", "day", "-"],
            "the unit is second, minute or hour",
        ),
        (
            vec!["--suggest", "--descriptor", "k=k", "--percentile", "0", "-"],
            "a percentage is a number above 0",
        ),
    ] {
        let ran = run(&args);
        assert_eq!(ran.status, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
}
