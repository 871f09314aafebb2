//! Before and after: `tollgate prove`, with the same arguments, against all variants.

use std::{io, net::SocketAddr, process::Stdio};

use serde_json::Value;
use tollgate_prove::{Decisions, decisions_in};

use super::{
    DemoError, Stack,
    figures::{Admission, Claim, Verdict},
};
use crate::{binaries, http};

const PER_SECOND: u64 = 10;
const KEY: &str = "proof";
const AUTHZ_KEY: &str = "proof-by-authz";
const LOAD: &str = "10 per second for one key, 3 nodes, a burst and 10 s of load";
/// Explains why its numbers are larger than those of the row.
const WHOLE_RUN: &str =
    "tollgate prove, over its whole run, which goes on for some seconds after that load: ";
/// A limiter per node admits three times the limit over three nodes; the claim is that it comes near.
const NEAR_THREE: f64 = 2.5;

/// One variant: its claim, and its admissions over time.
pub struct Side {
    pub claim: Claim,
    admitted: Vec<u64>,
    bin_ms: u64,
}

/// The limiter in each node. The claim is that it admits far too much.
pub async fn naive(stack: &Stack) -> Result<Side, DemoError> {
    let report = prove(stack.naive.addr(), KEY, None).await?;
    let ratio = report.value["under_load"]["ratio"].as_f64().unwrap_or_default();
    let verdict = match report.exit_status() {
        1 if ratio >= NEAR_THREE => Verdict::Shown,
        2 | 3 => Verdict::NotProven,
        _ => Verdict::Refuted,
    };
    Ok(report.side("per-node limiter", verdict, "A limiter in each node lets three times the limit through."))
}

/// Tollgate. The claim is that the limit holds, and that nothing was denied that fitted.
pub async fn tollgate(stack: &Stack) -> Result<Side, DemoError> {
    let report = prove(stack.global.addr(), KEY, Some(stack.tollgate.admin())).await?;
    let claim = "Tollgate admits the limit over every interval, and denies nothing that fits.";
    let verdict = report.holds();
    Ok(report.side("Tollgate on Redis", verdict, claim))
}

/// Tollgate, asked by ext_authz. It has a key of its own, because the other door would charge the same bucket.
pub async fn authz(stack: &Stack) -> Result<Claim, DemoError> {
    let report = prove(stack.authz.addr(), AUTHZ_KEY, Some(stack.tollgate.admin())).await?;
    let claim = "Nodes that ask by ext_authz are held to the same limits, in the same buckets.";
    let verdict = report.holds();
    Ok(report.side("Tollgate, by ext_authz", verdict, claim).claim)
}

pub fn side_by_side(naive: &Side, tollgate: &Side) -> Admission {
    Admission {
        per_second: PER_SECOND,
        burst: PER_SECOND,
        bin_ms: naive.bin_ms,
        naive: naive.admitted.clone(),
        tollgate: tollgate.admitted.clone(),
    }
}

/// The figures count only if every answer was a decision: neither a node nor Tollgate let a request pass without one.
pub async fn nothing_was_answered_by_fallback(stack: &Stack) -> Result<Claim, DemoError> {
    let opened = stack.global.counter("cluster.upstream.ratelimit.failure_mode_allowed").await?
        + stack.authz.counter("http.edge.ext_authz.failure_mode_allowed").await?;
    let metrics = http::get(stack.tollgate.admin(), "/metrics", &[]).await?.text();
    let Decisions { store_made: made, fallback_answers: by_fallback, .. } =
        decisions_in(&metrics).map_err(DemoError::Metrics)?;
    let (verdict, reason) = if opened + by_fallback == 0 && made > 0 {
        (
            Verdict::Shown,
            "Envoy let nothing pass for want of an answer, and no answer was a fallback answer".to_owned(),
        )
    } else {
        (
            Verdict::NotProven,
            format!("{by_fallback} fallback answers, {opened} requests that Envoy let pass unasked"),
        )
    };
    #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
    let all = (made + by_fallback + opened) as f64;
    Ok(Claim {
        claim: "Every answer above was a decision on the buckets in Redis.".to_owned(),
        load: "everything above".to_owned(),
        subject: "decisions of all answers".to_owned(),
        measured: made,
        allowed: all,
        verdict,
        reason,
        command: format!("curl -s http://{}/metrics | grep tollgate_decisions_total", stack.tollgate.admin()),
    })
}

// === tollgate prove ===

struct Report {
    value: Value,
    command: String,
}

async fn prove(target: SocketAddr, key: &str, metrics: Option<SocketAddr>) -> Result<Report, DemoError> {
    let mut args: Vec<String> = [
        "prove",
        "--target",
        &format!("http://{target}/"),
        "--header",
        &format!("x-api-key: {key}"),
        "--limit",
        "10/s",
        "--duration",
        "10s",
        "--concurrency",
        "32",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(metrics) = metrics {
        args.extend(["--metrics".to_owned(), format!("http://{metrics}/metrics")]);
    }
    let command = shown(&args);
    let failed = |source: io::Error| DemoError::Run { command: command.clone(), source };
    let output = tokio::process::Command::new(binaries::tollgate()?)
        .args(&args)
        .args(["--format", "json"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(failed)?;
    match serde_json::from_slice(&output.stdout) {
        Ok(value) => Ok(Report { value, command }),
        Err(_) => {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(DemoError::NoReport { command, output })
        }
    }
}

/// The command as a user would type it.
fn shown(args: &[String]) -> String {
    let quoted = args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
    let mut words = vec!["tollgate".to_owned()];
    words.extend(quoted);
    words.join(" ")
}

impl Report {
    /// The verdict if the claim is that the limit holds.
    fn holds(&self) -> Verdict {
        match self.exit_status() {
            0 => Verdict::Shown,
            1 => Verdict::Refuted,
            _ => Verdict::NotProven,
        }
    }

    fn exit_status(&self) -> u64 {
        self.value["exit_status"].as_u64().unwrap_or(3)
    }

    fn side(self, subject: &str, verdict: Verdict, claim: &str) -> Side {
        let under_load = &self.value["under_load"];
        let timeline = &self.value["timeline"];
        let bins = timeline["admitted"].as_array().map(Vec::as_slice).unwrap_or_default();
        Side {
            claim: Claim {
                claim: claim.to_owned(),
                load: LOAD.to_owned(),
                subject: subject.to_owned(),
                measured: under_load["admitted"].as_u64().unwrap_or_default(),
                allowed: under_load["allowed"].as_f64().unwrap_or_default(),
                verdict,
                reason: format!("{WHOLE_RUN}{}", self.value["reason"].as_str().unwrap_or_default()),
                command: self.command,
            },
            admitted: bins.iter().map(|bin| bin.as_u64().unwrap_or_default()).collect(),
            bin_ms: timeline["bin_ms"].as_u64().unwrap_or(100),
        }
    }
}
