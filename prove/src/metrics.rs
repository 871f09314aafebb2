//! How many of Tollgate's decisions were fallback answers, by its own counters before and after the run.
//!
//! Reads the Prometheus text of each replica and sums `tollgate_decisions_total` by its label `source`:
//! `store` and `cache` are decisions of the store; all others were answered without it.

use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use thiserror::Error;
use tokio::time::{error::Elapsed, timeout};

use super::{
    args::Target,
    link::{self, Link, LinkError, Protocol, SendError},
};

const FAMILY: &str = "tollgate_decisions_total";

/// Of every family of Tollgate, some of which are there from the start.
const PREFIX: &str = "tollgate_";

const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_BODY: usize = 16 << 20;

/// Sums of one replica's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decisions {
    pub store_made: u64,
    /// Those of `store_made` that were spent from leases.
    pub from_leases: u64,
    pub fallback_answers: u64,
}

/// A line of `tollgate_decisions_total` without a whole number.
#[derive(Debug, Error)]
#[error("line {line} of the metrics is not understood")]
pub struct NotUnderstood {
    pub line: usize,
}

/// All variants have one reaction: what the counters would say is unknown.
#[derive(Debug, Error)]
pub(super) enum MetricsError {
    #[error("cannot ask for the metrics")]
    Request(#[source] http::Error),
    #[error(transparent)]
    Link(LinkError),
    #[error("cannot read the metrics")]
    Send(#[source] SendError),
    #[error("cannot read the metrics")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no metrics within {SCRAPE_TIMEOUT:?}")]
    Late(#[source] Elapsed),
    #[error("the metrics answered {0}")]
    Status(StatusCode),
    #[error("these are not the metrics of a Tollgate: none begins with {PREFIX}")]
    Foreign,
    #[error(transparent)]
    Text(#[from] NotUnderstood),
}

impl Decisions {
    /// What was counted since `before`. A counter that fell was started anew by a restart.
    pub(super) fn since(self, before: Decisions) -> Decisions {
        if self.store_made < before.store_made || self.fallback_answers < before.fallback_answers {
            return self;
        }
        Decisions {
            store_made: self.store_made - before.store_made,
            from_leases: self.from_leases.saturating_sub(before.from_leases),
            fallback_answers: self.fallback_answers - before.fallback_answers,
        }
    }

    pub(super) fn plus(self, other: Decisions) -> Decisions {
        Decisions {
            store_made: self.store_made.saturating_add(other.store_made),
            from_leases: self.from_leases.saturating_add(other.from_leases),
            fallback_answers: self.fallback_answers.saturating_add(other.fallback_answers),
        }
    }
}

/// Asks one replica for its counters.
pub(super) async fn scrape(target: &Target) -> Result<Decisions, MetricsError> {
    let text = timeout(SCRAPE_TIMEOUT, fetch(target)).await.map_err(MetricsError::Late)??;
    if !text.lines().any(|line| line.starts_with(PREFIX)) {
        return Err(MetricsError::Foreign);
    }
    Ok(decisions_in(&text)?)
}

async fn fetch(target: &Target) -> Result<String, MetricsError> {
    let request = link::request(target, &[], Protocol::Http1).map_err(MetricsError::Request)?;
    let address = link::look_up(target).await.map_err(MetricsError::Link)?;
    let mut link = Link::open(address, Protocol::Http1).await.map_err(MetricsError::Link)?;
    let response = link.send(request).await.map_err(MetricsError::Send)?;
    if !response.status().is_success() {
        return Err(MetricsError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    let body = body.map_err(MetricsError::Body)?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Sums the decisions in a Prometheus text; 0 where there are none yet.
///
/// Fails at a line of that family without a whole number, since a sum without it would say too little.
pub fn decisions_in(metrics: &str) -> Result<Decisions, NotUnderstood> {
    let mut decisions = Decisions::default();
    for (text, line) in metrics.lines().zip(1..) {
        let Some(rest) = text.strip_prefix(FAMILY) else { continue };
        if !rest.starts_with(['{', ' ']) {
            continue;
        }
        let (labels, value) = match rest.rfind('}') {
            Some(end) => rest.split_at(end + 1),
            None => ("", rest),
        };
        let value = value.split_whitespace().next().and_then(whole).ok_or(NotUnderstood { line })?;
        let part = match source(labels) {
            Some("lease") => Decisions { store_made: value, from_leases: value, ..Decisions::default() },
            Some("store" | "cache") => Decisions { store_made: value, ..Decisions::default() },
            _ => Decisions { fallback_answers: value, ..Decisions::default() },
        };
        decisions = decisions.plus(part);
    }
    Ok(decisions)
}

fn source(labels: &str) -> Option<&str> {
    let labels = labels.strip_prefix('{')?;
    // The label may be the first or follow another one; a value that looks like it has its quote escaped.
    let after = match labels.strip_prefix("source=\"") {
        Some(after) => after,
        None => labels.split_once(",source=\"")?.1,
    };
    after.split_once('"').map(|(value, _)| value)
}

/// Counters are written `12` or, by some libraries, `12.0`.
fn whole(value: &str) -> Option<u64> {
    let digits = value.strip_suffix(".0").unwrap_or(value);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
