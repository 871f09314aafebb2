//! `tollgate prove`: sends requests to real endpoints and says whether their limit holds over every interval.
//!
//! It trusts only what a client can see, so it works on any limiter. [`run`] is the command; [`examine`] is the same
//! with the report as a value.
//!
//! | module | does |
//! |---|---|
//! | `args` | what was typed, checked |
//! | `phases`, `load`, `worker`, `link` | rounds of requests, sent over connections |
//! | `record`, `timeline` | each request with the time before and after it |
//! | `contract` | judges one answer by itself: status, headers, body |
//! | [`audit`](tollgate_core::audit) | judges all answers together, over every interval |
//! | `metrics` | reads what the limiter says about itself, if there is a metrics page |
//! | `findings`, `verdict`, `report` | the facts, what they prove, and how that is told |

mod args;
mod clock;
mod contract;
mod findings;
mod link;
mod load;
mod metrics;
mod phases;
mod progress;
mod record;
mod report;
mod run;
mod timeline;
mod verdict;
mod worker;

use std::{io::Write, process::ExitCode};

use thiserror::Error;

pub use args::{Format, Header, HeaderError, Misuse, ProveArgs, Rate, RateError, Target, TargetError};
pub use metrics::{Decisions, NotUnderstood, decisions_in};
pub use verdict::Verdict;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub verdict: Verdict,
    /// One sentence.
    pub reason: String,
    /// In the form that was asked for, with a newline at its end.
    pub report: String,
}

#[derive(Debug, Error)]
pub enum ProveError {
    #[error("wrong usage")]
    Misuse(#[source] Misuse),
    #[error("cannot send to {url}")]
    Request { url: String, source: http::Error },
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Runs `tollgate prove`: prints the report to standard output, what went wrong to standard error.
pub fn run(args: ProveArgs) -> ExitCode {
    match examine(args) {
        Ok(proof) => {
            // Who closes the pipe has read enough; the exit status still tells the verdict.
            drop(std::io::stdout().write_all(proof.report.as_bytes()));
            ExitCode::from(proof.verdict.exit_status())
        }
        Err(error) => {
            eprintln!("error: {}", tollgate_core::error::chain(&error));
            ExitCode::from(2)
        }
    }
}

/// The run itself, on a runtime of its own; blocks until it is over.
///
/// Fails only on misuse: a target that cannot be reached gives a proof that nothing was proven.
pub fn examine(args: ProveArgs) -> Result<Proof, ProveError> {
    let limit = args.checked_limit().map_err(ProveError::Misuse)?;
    let format = args.format;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let findings = runtime.map_err(ProveError::Runtime)?.block_on(run::run(args, limit))?;
    let (verdict, reason) = verdict::decide(&findings);
    let report = match format {
        Format::Text => report::text(&findings, verdict, &reason),
        Format::Json => report::json(&findings, verdict, &reason),
    };
    Ok(Proof { verdict, reason, report })
}
