use serde_json::{Value, json};

use super::*;

/// A message of a replica that knows these, with one rule.
fn message(replicas: &[&str], rule: &Value) -> Vec<u8> {
    let replicas: Vec<Value> = replicas
        .iter()
        .enumerate()
        .map(|(at, name)| {
            json!({ "name": name, "is_this": at == 0, "age_ms": 100, "breaker": "serving", "rules_version": "v",
                "stale": false, "answers": { "store": 1, "cache": 0, "local": 0, "allow": 0, "deny": 0, "error": 0 } })
        })
        .collect();
    let message = json!({
        "version": 1, "time_ms": 1_790_000_000_000_u64, "rules": [rule],
        "left_out": { "rules": 0, "admitted": 0, "denied": 0 },
        "limiter": { "phase": "serving", "refused": null, "rules": { "stale": false },
            "store": { "kind": "redis", "state": "ok", "breaker": "serving", "p99_us": 900, "deadline_us": 10_000 } },
        "replicas": replicas,
    });
    message.to_string().into_bytes()
}

fn row() -> Value {
    json!({ "domain": "edge", "rule": "user", "admitted": 4, "denied": 3, "would_deny": 0, "share": 1.0,
        "keys_near": 1, "keys_over": 2, "last_denial_ms": 1_789_999_999_000_u64,
        "limits": [{ "tier": null, "requests": 10, "period_seconds": 60, "burst": 20, "algorithm": "token_bucket", "shadow": false }] })
}

fn source(message: &[u8]) -> Source {
    let figures = figures::Figures::read(message).unwrap();
    Source {
        url: "127.0.0.1:1".parse().unwrap(),
        heard: Some(Heard::Figures(Box::new(figures))),
        messages: 1,
    }
}

#[test]
fn replicas_of_one_redis_count_once_and_others_are_added_up() {
    let (a, b) = (source(&message(&["a", "b"], &row())), source(&message(&["b", "a"], &row())));
    let view = View::of(&[a, b]);
    assert_eq!((view.rows[0].1.admitted, view.rows[0].1.denied, view.replicas), (4, 3, 2));
    let (a, c) = (source(&message(&["a"], &row())), source(&message(&["c"], &row())));
    let view = View::of(&[a, c]);
    assert_eq!((view.rows[0].1.admitted, view.rows[0].1.denied, view.replicas), (8, 6, 2));
}

#[test]
fn one_table_says_who_is_denied_by_which_rule_and_whether_the_limiter_is_well() {
    let text = table::whole(&View::of(&[source(&message(&["a"], &row()))]));
    let expected = "\
3 denials and 4 admitted in the last second. 1 rule of 1 denying.
The limiter is well: 1 replica, store p99 at most 900 µs of 10.0 ms.

STATE    RULE  LIMIT             ADMITTED/S  DENIED/S  IN USE  NEAR  OVER  LAST DENIAL
denying  user  10/min, burst 20           4         3   100 %     1     2          now
";
    assert_eq!(text, expected);
}

#[test]
fn no_line_is_wider_or_higher_than_the_terminal() {
    let view = View::of(&[source(&message(&["a"], &row()))]);
    for width in 1..140 {
        for height in 1..12 {
            let lines = table::screen(&view, width, height, Colours::Off);
            assert!(lines.len() <= height, "{width}x{height}: {lines:#?}");
            // Four columns stay, however narrow it is.
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(36), "{width}x{height}: {lines:#?}");
        }
    }
}

#[test]
fn figures_of_a_lost_address_stay_and_it_is_said() {
    let mut sources = [source(&message(&["a"], &row()))];
    hear(&mut sources, (0, Heard::Lost { why: "the connection was closed".to_owned(), last: None }));
    let view = View::of(&sources);
    assert_eq!(view.rows.len(), 1);
    assert_eq!(view.problems, ["http://127.0.0.1:1: the connection was closed"]);
}

#[test]
fn an_answer_of_something_else_is_no_figures() {
    for answer in ["", "<html>", "[]", "{}", r#"{"version":2}"#] {
        assert!(figures::Figures::read(answer.as_bytes()).is_err(), "{answer}");
    }
    let hostile = json!({ "version": 1, "rules": [{ "rule": "\u{1b}[31m" }, 7, null], "replicas": "x" });
    let figures = figures::Figures::read(hostile.to_string().as_bytes()).unwrap();
    assert_eq!(figures.rows[0].rule, "\\u{1b}[31m");
}
