//! `tollgate simulate`, as a shell and scripts see it.

mod broken;
mod changes;
mod formats;
mod model;
mod page;
mod scale;
mod suggest;
#[path = "../support/mod.rs"]
mod support;
mod verdicts;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use lab::binaries;
use serde_json::Value;

/// What a run printed.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `tollgate simulate` in the checkout.
fn run(args: &[&str]) -> Ran {
    run_with(args, b"")
}

fn run_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = Command::new(binaries::tollgate().expect("built"));
    command.env_clear().current_dir(binaries::checkout()).arg("simulate").args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let mut pipe = child.stdin.take().expect("piped");
    // A run that refuses its command line does not read.
    drop(pipe.write_all(stdin));
    drop(pipe);
    let output = child.wait_with_output().expect("ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The JSON of a run that succeeds.
fn json(args: &[&str], log: &str) -> Value {
    let ran = run_with(&[args, &["--json", "-"]].concat(), log.as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    serde_json::from_str(&ran.stdout).expect("one JSON object")
}

/// A limits file for this test alone.
fn limits(name: &str, text: &str) -> String {
    support::file(&format!("simulate-{name}.yaml"), text).display().to_string()
}

/// A line of a request at that time in milliseconds after noon, with a client's key.
fn line(at_ms: u64, key: &str) -> String {
    let key = Value::from(key);
    format!("{{\"start_time\":{},\"path\":\"/\",\"k\":{key}}}\n", 1_795_867_200_000_u64 + at_ms)
}

/// A file with one limit for each value of `k`.
fn one_limit(name: &str, limit: &str) -> String {
    limits(name, &format!("domain: d\ndescriptors:\n- {{ key: k, rate_limit: {limit} }}\n"))
}

/// Takes the descriptor from the field of the lines above.
const BY_KEY: [&str; 2] = ["--descriptor", "k=k"];
