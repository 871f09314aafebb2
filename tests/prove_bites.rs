//! `tollgate prove` finds each way in which a limiter can be wrong, and accuses no sound one.

#![allow(clippy::unwrap_used, reason = "all of this is a test; clippy excuses only functions marked as one")]

#[path = "support/limiter.rs"]
mod limiter;

use clap::Parser;
use limiter::{Http, Limiter, Manner};
use tollgate::prove::{Proof, ProveArgs, Verdict, examine};

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
    line.extend(
        ["--limit", limit, "--burst", "20", "--duration", "1s", "--concurrency", "8"].map(str::to_owned),
    );
    for target in targets {
        line.extend(["--target".to_owned(), target.url()]);
    }
    line.extend(more.iter().map(|&word| word.to_owned()));
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

// === too much ===

#[test]
fn one_bucket_per_node_is_too_much() {
    let nodes = [limiter(Manner::Exact), limiter(Manner::Exact), limiter(Manner::Exact)];
    let proof = prove(&[&nodes[0], &nodes[1], &nodes[2]], &["--format", "json"]);
    expect(&proof, Verdict::TooMuch, 1, "(burst 20 + ");
    let report: serde_json::Value = serde_json::from_str(&proof.report).unwrap();
    let sent = |counts: &serde_json::Value| counts["sent"].as_u64().unwrap();
    for target in 0..3 {
        let share = sent(&report["targets"][target]["counts"]) * 100 / sent(&report["all"]);
        assert!((30..=36).contains(&share), "target {target} got {share} %");
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
fn what_doubles_its_burst_after_idling_is_too_much() {
    let proof = prove(&[&limiter(Manner::DoublesAfterIdling)], &["--format", "json"]);
    expect(&proof, Verdict::TooMuch, 1, "admitted between");
    let report: serde_json::Value = serde_json::from_str(&proof.report).unwrap();
    assert_eq!(report["exit_status"], 1);
    // Not in the first burst, nor under load: after a pause of more than the time to full.
    let phase = |i: usize| &report["phases"][i];
    assert_eq!(phase(4)["name"].as_str().unwrap().split(' ').nth(2), Some("1.5"));
    let from_us = report["worst_interval"]["from_us"].as_u64().unwrap();
    assert!(from_us >= phase(4)["from_us"].as_u64().unwrap(), "{}", proof.reason);
}

#[test]
fn no_limit_at_all_is_too_much_though_nobody_signed_the_answers() {
    expect(&prove(&[&limiter(Manner::Unlimited)], &[]), Verdict::TooMuch, 1, "(burst 20 + ");
}

// === too little ===

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
fn guesses_prove_nothing() {
    let guesses = limiter(Manner::Guesses);
    let metrics = format!("{}metrics", guesses.url());
    expect(&prove(&[&guesses], &["--metrics", &metrics]), Verdict::NotProven, 3, "were guesses");
}

#[test]
fn nobody_there_proves_nothing_and_says_so_at_once() {
    let gone = limiter(Manner::Exact).url();
    let args = Typed::try_parse_from(["prove", "--limit", "1/s", "--target", &gone]).unwrap().args;
    let proof = examine(args).unwrap();
    expect(&proof, Verdict::NotProven, 3, "nothing was sent (cannot reach http://127.0.0.1:");
}
