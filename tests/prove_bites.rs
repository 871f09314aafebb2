//! `tollgate prove` finds each way in which a limiter can be wrong, and accuses no sound one.

#![allow(clippy::unwrap_used, reason = "all of this is a test; clippy excuses only functions marked as one")]

#[path = "support/limiter.rs"]
mod limiter;

use clap::Parser;
use limiter::{Http, Limiter, Manner};
use tollgate_prove::{Proof, ProveArgs, Verdict, examine};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: ProveArgs,
}

/// Proves `--limit 100/s --burst 20` (0.2 s to fill) at the given targets.
fn prove(targets: &[&Limiter], more: &[&str]) -> Proof {
    prove_limit("100/s", targets, more)
}

fn prove_limit(limit: &str, targets: &[&Limiter], more: &[&str]) -> Proof {
    let mut line = vec!["prove".to_owned()];
    line.extend(["--limit", limit, "--duration", "1s", "--concurrency", "8"].map(str::to_owned));
    if !more.contains(&"--burst") {
        line.extend(["--burst", "20"].map(str::to_owned));
    }
    for target in targets {
        line.extend(["--target".to_owned(), target.url()]);
    }
    line.extend(more.iter().map(|&word| word.to_owned()));
    let proof = examine(Typed::try_parse_from(line).unwrap().args).unwrap();
    println!("{}", proof.report);
    proof
}

/// Proves twenty in each second of the clock.
fn prove_window(targets: &[&Limiter], more: &[&str]) -> Proof {
    let mut line = ["prove", "--limit", "20/s", "--algorithm", "fixed_window", "--duration", "2s"].to_vec();
    line.extend(["--concurrency", "8"]);
    let targets: Vec<String> = targets.iter().map(|target| format!("--target={}", target.url())).collect();
    line.extend(targets.iter().map(String::as_str).chain(more.iter().copied()));
    let proof = examine(Typed::try_parse_from(line).unwrap().args).unwrap();
    println!("{}", proof.report);
    proof
}

fn limiter(manner: Manner) -> Limiter {
    Limiter::start(manner, 20, 100, Http::One)
}

#[track_caller]
fn expect(proof: &Proof, verdict: Verdict, exit_status: u8, said: &str) {
    assert_eq!((proof.verdict, proof.verdict.exit_status()), (verdict, exit_status), "{}", proof.reason);
    assert!(proof.reason.contains(said), "{}", proof.reason);
}

// === sound limiters ===

#[test]
fn an_exact_bucket_holds_whether_hammered_or_paced() {
    expect(&prove(&[&limiter(Manner::Exact)], &[]), Verdict::Holds, 0, "in no interval");
    let paced = prove(&[&limiter(Manner::Exact)], &["--rate", "500"]);
    expect(&paced, Verdict::Holds, 0, "in no interval");
}

#[test]
fn an_exact_bucket_holds_over_http2() {
    let exact = Limiter::start(Manner::Exact, 20, 100, Http::Two);
    expect(&prove(&[&exact], &["--http2"]), Verdict::Holds, 0, "in no interval");
}

#[test]
fn an_exact_bucket_with_metrics_of_its_store_holds() {
    let exact = limiter(Manner::Exact);
    let metrics = format!("{}metrics", exact.url());
    expect(&prove(&[&exact], &["--metrics", &metrics]), Verdict::Holds, 0, "in no interval");
}

#[test]
fn a_fixed_window_holds_where_it_is_one_that_was_promised() {
    let window = Limiter::start(Manner::FixedWindow, 20, 20, Http::One);
    let proof = prove_window(&[&window], &["--format", "json"]);
    expect(&proof, Verdict::Holds, 0, "in no window were more than 20 admitted");
    let report: serde_json::Value = serde_json::from_str(&proof.report).unwrap();
    assert_eq!(report["limit"]["algorithm"], "fixed_window");
    // It crossed edges of windows; otherwise it would show nothing.
    assert!(report["all"]["admitted"].as_u64().unwrap() > 40, "{report}");
    assert!(report["denials"]["checked"].as_u64().unwrap() > 20, "{report}");
}

// === too much ===

#[test]
fn a_window_for_each_node_is_too_much() {
    let nodes = [(); 3].map(|()| Limiter::start(Manner::FixedWindow, 20, 20, Http::One));
    let proof = prove_window(&[&nodes[0], &nodes[1], &nodes[2]], &[]);
    expect(&proof, Verdict::TooMuch, 1, "were allowed (");
    assert!(proof.reason.contains("window"), "{}", proof.reason);
}

/// It holds the limit over every second but not within each second of the clock, because its refill comes on top.
#[test]
fn a_bucket_is_too_much_where_windows_were_promised() {
    let bucket = Limiter::start(Manner::Exact, 20, 20, Http::One);
    expect(&prove_window(&[&bucket], &[]), Verdict::TooMuch, 1, "window");
}

#[test]
fn one_bucket_per_node_is_too_much() {
    let nodes = [limiter(Manner::Exact), limiter(Manner::Exact), limiter(Manner::Exact)];
    let proof = prove(&[&nodes[0], &nodes[1], &nodes[2]], &["--format", "json"]);
    expect(&proof, Verdict::TooMuch, 1, "(burst 20 + ");
    let report: serde_json::Value = serde_json::from_str(&proof.report).unwrap();
    let sent = |counts: &serde_json::Value| counts["sent"].as_u64().unwrap();
    for target in 0..3 {
        let target = &report["targets"][target];
        let share = target["share_percent"].as_f64().unwrap();
        assert!((30.0..=36.0).contains(&share), "{target}");
        let tenths = sent(&target["counts"]) * 1000 / sent(&report["all"]);
        assert_eq!(share.to_string(), (tenths as f64 / 10.0).to_string(), "{target}");
    }
    let ratio = report["under_load"]["ratio"].as_f64().unwrap();
    assert!((2.5..=3.1).contains(&ratio), "three buckets admitted {ratio} times the limit");
}

#[test]
fn a_fixed_window_is_too_much_across_its_edge() {
    let window = Limiter::start(Manner::FixedWindow, 20, 20, Http::One);
    expect(&prove_limit("20/s", &[&window], &[]), Verdict::TooMuch, 1, "admitted between");
}

#[test]
fn a_limiter_that_doubles_its_burst_after_idling_is_too_much() {
    let proof = prove(&[&limiter(Manner::DoublesAfterIdling)], &["--format", "json"]);
    expect(&proof, Verdict::TooMuch, 1, "admitted between");
    let report: serde_json::Value = serde_json::from_str(&proof.report).unwrap();
    assert_eq!(report["exit_status"], 1);
    // It happens neither in the first burst nor under load, but after a pause longer than the time to full.
    let phase = |i: usize| &report["phases"][i];
    assert_eq!(phase(4)["name"].as_str().unwrap().split(' ').nth(2), Some("1.5"));
    let from_us = report["worst_interval"]["from_us"].as_u64().unwrap();
    assert!(from_us >= phase(4)["from_us"].as_u64().unwrap(), "{}", proof.reason);
}

// === too little ===

#[test]
fn denying_in_a_window_that_has_room_is_too_little() {
    let denies = Limiter::start(Manner::DeniesAll, 20, 20, Http::One);
    expect(&prove_window(&[&denies], &[]), Verdict::TooLittle, 1, "its window had room for at least 20 more");
}

#[test]
fn a_window_that_resets_later_than_it_should_is_too_little() {
    let late = Limiter::start(Manner::FixedWindowLate, 20, 20, Http::One);
    let proof = prove_window(&[&late], &[]);
    expect(&proof, Verdict::TooLittle, 1, "its window had room");
}

#[test]
fn denying_everything_is_too_little() {
    expect(&prove(&[&limiter(Manner::DeniesAll)], &[]), Verdict::TooLittle, 1, "held at least 20 tokens");
}

#[test]
fn denying_every_second_request_that_fits_is_too_little() {
    expect(&prove(&[&limiter(Manner::DeniesHalf)], &[]), Verdict::TooLittle, 1, "unjustified");
}

#[test]
fn half_of_the_limit_is_too_little() {
    expect(&prove(&[&limiter(Manner::HalfTheLimit)], &[]), Verdict::TooLittle, 1, "unjustified");
}

// === leases ===

const LEASE: [&str; 2] = ["--lease", "100ms"];

#[test]
fn what_leases_hold_back_is_too_little_only_where_none_are_promised() {
    let holds_back = || limiter(Manner::HoldsBack(6));
    expect(&prove(&[&holds_back()], &[]), Verdict::TooLittle, 1, "unjustified");
    let proof = prove(&[&holds_back()], &LEASE);
    expect(&proof, Verdict::Holds, 0, " by leases alone)");
    // A burst of 20, less what each grant leaves.
    assert!(proof.report.contains("\nleases          hold back 8 hits at most; "), "{}", proof.report);
}

#[test]
fn more_than_leases_may_hold_back_is_too_little_with_leases_too() {
    let proof = prove(&[&limiter(Manner::HoldsBack(15))], &LEASE);
    expect(&proof, Verdict::TooLittle, 1, "of which leases may hold back");
    for manner in [Manner::DeniesAll, Manner::DeniesHalf] {
        expect(&prove(&[&limiter(manner)], &LEASE), Verdict::TooLittle, 1, "unjustified");
    }
    let window = Limiter::start(Manner::DeniesAll, 20, 20, Http::One);
    expect(&prove_window(&[&window], &LEASE), Verdict::TooLittle, 1, "its window had room");
}

#[test]
fn leases_excuse_nothing_that_is_too_much_and_no_limit_too_small_for_them() {
    let nodes = [limiter(Manner::Exact), limiter(Manner::Exact)];
    expect(&prove(&[&nodes[0], &nodes[1]], &LEASE), Verdict::TooMuch, 1, "(burst 20 + ");
    let one = Limiter::start(Manner::HoldsBack(3), 15, 100, Http::One);
    let proof = prove(&[&one], &[&LEASE[..], &["--burst", "15"]].concat());
    expect(&proof, Verdict::TooLittle, 1, "unjustified");
}

// === the rest ===

#[test]
fn a_denial_without_retry_after_breaks_the_contract() {
    let proof = prove(&[&limiter(Manner::NoRetryAfter)], &[]);
    expect(&proof, Verdict::BrokenContract, 1, "retry-after is one whole number");
    assert!(proof.reason.contains("no retry-after"), "{}", proof.reason);
}

#[test]
fn errors_prove_nothing() {
    expect(&prove(&[&limiter(Manner::Fails)], &[]), Verdict::NotProven, 3, "answers were errors (503)");
}

#[test]
fn answers_that_the_limiter_did_not_sign_prove_nothing() {
    expect(&prove(&[&limiter(Manner::Unsigned)], &[]), Verdict::NotProven, 3, "carried no ratelimit headers");
}

#[test]
fn if_nothing_is_denied_nothing_is_proven_and_the_reason_says_how_much_passed() {
    // A misspelt header does the same: the requests are not the ones that are limited.
    let proof = prove(&[&limiter(Manner::Unlimited)], &[]);
    expect(&proof, Verdict::NotProven, 3, "no request was denied: ");
    assert!(proof.reason.contains("(burst 20 + "), "{}", proof.reason);
    assert!(proof.report.contains("contract        not seen"), "{}", proof.report);
}

#[test]
fn the_rule_that_denied_is_named() {
    let proof = prove(&[&limiter(Manner::Exact)], &[]);
    expect(&proof, Verdict::Holds, 0, "denials (by `key`) was justified");
    assert!(proof.report.contains("\ndenied by       key, "), "{}", proof.report);
}

#[test]
fn metrics_that_cannot_be_read_are_found_before_the_load() {
    let exact = limiter(Manner::Exact);
    let gone = format!("{}metrics", limiter(Manner::Exact).url());
    // The limiter answers the root like any request.
    for (url, said) in [(&gone, "cannot connect"), (&exact.url(), "these are not the metrics of a Tollgate")]
    {
        let proof = prove(&[&exact], &["--metrics", url]);
        expect(&proof, Verdict::NotProven, 3, &format!("nothing was sent (--metrics {url}: {said}"));
    }
}

#[test]
fn fallback_answers_prove_nothing() {
    let fallback_answers = limiter(Manner::FallbackAnswers);
    let metrics = format!("{}metrics", fallback_answers.url());
    expect(
        &prove(&[&fallback_answers], &["--metrics", &metrics]),
        Verdict::NotProven,
        3,
        "were fallback answers",
    );
}

#[test]
fn nobody_there_proves_nothing_and_says_so_once() {
    let gone = limiter(Manner::Exact).url();
    let args = Typed::try_parse_from(["prove", "--limit", "1/s", "--target", &gone]).unwrap().args;
    let proof = examine(args).unwrap();
    expect(&proof, Verdict::NotProven, 3, "nothing was sent (cannot reach http://127.0.0.1:");
    let said = format!("{}\n\nlimit           1 per second, burst 1\n\nexit status 3\n", proof.reason);
    assert_eq!(proof.report, said);
}

// === the process ===

/// Exit status, stdout and stderr.
fn process(args: &[&str]) -> (Option<i32>, String, String) {
    let tollgate =
        std::process::Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("prove").args(args).output();
    let output = tollgate.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_process_exits_with_2_on_misuse_and_prints_no_report() {
    let target = ["--target", "http://127.0.0.1:1/"];
    for (more, said) in [
        (&["--limit", "10"][..], "such as 10/s"),
        (&["--limit", "10/s", "--duration", "25h"], "--duration must be between 1ms and 24h"),
        (&["--limit", "1/d", "--burst", "4000000000"], "invalid limit"),
        (&["--limit", "1/s", "--lease", "abc"], "must be off or a time from 10ms to 10s"),
        (&[], "--limit"),
    ] {
        let (status, stdout, stderr) = process(&[&target[..], more].concat());
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{more:?}");
        assert!(stderr.contains(said), "{more:?}: {stderr}");
    }
}

#[test]
fn the_process_exits_with_3_where_nothing_is_proven_in_text_and_in_json() {
    let gone = limiter(Manner::Exact).url();
    let (status, stdout, _) = process(&["--limit", "1/s", "--target", &gone]);
    assert_eq!(status, Some(3));
    assert!(stdout.starts_with("not proven: nothing was sent") && stdout.ends_with("exit status 3\n"));

    let failing = limiter(Manner::Fails);
    let url = failing.url();
    let args =
        ["--limit", "100/s", "--burst", "20", "--duration", "1s", "--target", &url, "--format", "json"];
    let (status, stdout, _) = process(&args);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &report["exit_status"]), (Some(3), &3.into()), "{stdout}");
}
