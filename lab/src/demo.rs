//! `lab demo`: the per-node counter and Tollgate under the identical load, measured and shown.
//!
//! Scenarios that do not disturb each other run side by side, each on keys of its own; latency is measured
//! before, alone. Every figure stands beside what was allowed and the command that reproduces it. A claim
//! that fails makes the demo fail; one that the run says nothing about makes it say so.

mod admission;
mod at_once;
mod burst;
mod denial;
pub mod figures;
mod hammer;
pub mod herd;
pub mod json;
mod latency;
pub mod page;
pub mod picture;
mod stack;
mod terminal;
mod tiers;

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    binaries::BinaryError, envoy::EnvoyError, http::HttpError, process::ProcessError, redis::RedisError,
};
use figures::{Claim, Figures, HerdArrivals, Verdict};
pub use hammer::how_to_hammer;
use herd::Herd;
pub use stack::Stack;

/// How long the herd is watched; the other scenarios are over before.
const HERD_LASTS: Duration = Duration::from_secs(45);
const HERD_EMPTIED: Duration = Duration::from_secs(3);
/// Where the model of a fixed window puts its edge.
const EDGE_S: usize = 15;

#[derive(Debug, Error)]
pub enum DemoError {
    #[error("cannot start the stack")]
    Envoy(#[from] EnvoyError),
    #[error("cannot start the stack")]
    Redis(#[from] RedisError),
    #[error("cannot start the stack")]
    Process(#[from] ProcessError),
    #[error("cannot find a part of the stack")]
    Binary(#[from] BinaryError),
    #[error("cannot tell which requests were answered by fallback")]
    Metrics(#[source] tollgate_prove::NotUnderstood),
    #[error("a request of the demo has failed")]
    Http(#[from] HttpError),
    #[error("a request that no limit stands in the way of was answered {status}")]
    Hindered { status: http::StatusCode },
    #[error("cannot wait for Ctrl-C")]
    Signal(#[source] io::Error),
    #[error("a task of the demo has ended")]
    Task(#[source] tokio::task::JoinError),
    #[error("cannot run {command}")]
    Run { command: String, source: io::Error },
    #[error("{command} printed no report: {output}")]
    NoReport { command: String, output: String },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
}

/// Runs everything, prints the table, and writes the page and the figures into `folder`.
///
/// The exit status is 0 if every claim was shown, 1 if one was refuted, else 3 if one was not proven.
///
/// With `docs` the chart is written there too, as the README shows it.
pub async fn run(folder: &Path, docs: Option<&Path>) -> Result<ExitCode, DemoError> {
    terminal::say(
        "starting Redis, Tollgate, and Envoy: three nodes and a load balancer for each of three variants",
    );
    let stack = Stack::start().await?;
    terminal::say(&format!(
        "look on in a browser: http://{admin}/ shows who is denied, by which rule; or run `{} top --admin {admin}`",
        hammer::program(),
        admin = stack.tollgate.admin(),
    ));
    let figures = measure(&stack).await?;
    let mut written = write(folder, &figures)?;
    if let Some(docs) = docs {
        written.push(put(docs, "demo.svg", page::svg(&figures))?);
    }
    terminal::table(&figures, &written);
    Ok(exit(&figures.claims))
}

async fn measure(stack: &Stack) -> Result<Figures, DemoError> {
    let started = Instant::now();
    terminal::say("measuring latency, one request at a time");
    let latency = latency::measure(stack).await?;
    terminal::say(&format!("hammering each variant; watching the herd for {} s", HERD_LASTS.as_secs()));
    let herd =
        Herd { target: stack.global.addr(), path: "/login", clients: 150, per_minute: 6, lasts: HERD_LASTS };
    let others = async {
        // Side by side with the herd's waits, not with the second in which it is emptied; and the burst before
        // the rest, since 2,000 requests at once hold up everything else for about a second.
        tokio::time::sleep(HERD_EMPTIED).await;
        let burst = burst::measure(stack).await?;
        let tiers = tiers::measure(stack).await?;
        let denial = denial::capture(stack.global.addr()).await?;
        let (naive, tollgate) = tokio::try_join!(admission::naive(stack), admission::tollgate(stack))?;
        let authz = admission::authz(stack).await?;
        // Last: there is most to see, and a browser needs a core for a second.
        let picture = picture::take(stack).await;
        Ok((burst, tiers, denial, naive, tollgate, authz, picture))
    };
    let (herd_arrivals, (burst, tiers, denial, naive, tollgate, authz, picture)) =
        tokio::try_join!(herd.run(), others)?;
    let [with_jitter, without_jitter] = herd_arrivals;
    let admission = admission::side_by_side(&naive, &tollgate);
    let mut claims = vec![naive.claim, tollgate.claim, authz, burst];
    claims.extend(tiers);
    claims.push(admission::nothing_was_answered_by_fallback(stack).await?);
    Ok(Figures {
        claims,
        admission,
        denial,
        picture,
        herd: HerdArrivals {
            clients: herd.clients,
            per_minute: herd.per_minute,
            with_jitter,
            without_jitter,
            fixed_window: herd::fixed_window(&herd, EDGE_S),
        },
        latency,
        machine: stack.machine(),
        took_s: started.elapsed().as_secs(),
    })
}

fn write(folder: &Path, figures: &Figures) -> Result<Vec<String>, DemoError> {
    Ok(vec![
        put(folder, "report.html", page::html(figures))?,
        put(folder, "report.json", format!("{:#}\n", json::json(figures)))?,
    ])
}

fn put(folder: &Path, name: &str, text: String) -> Result<String, DemoError> {
    let path = folder.join(name);
    let shown = path.display().to_string();
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map(|()| shown.clone())
        .map_err(|source| DemoError::Write { path: shown, source })
}

fn exit(claims: &[Claim]) -> ExitCode {
    let any = |verdict| claims.iter().any(|claim| claim.verdict == verdict);
    if any(Verdict::Refuted) {
        return ExitCode::from(1);
    }
    if any(Verdict::NotProven) { ExitCode::from(3) } else { ExitCode::SUCCESS }
}
