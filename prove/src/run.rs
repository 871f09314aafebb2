//! One run, from addresses to findings: look up, connect, load, count.

use std::error::Error;

use thiserror::Error;
use tokio::sync::watch;

use super::{
    ProveError,
    args::{ProveArgs, Target},
    findings::{FallbackAnswers, Findings, Run},
    link::{self, Link, LinkError, Protocol},
    load::Load,
    metrics::{self, Decisions, MetricsError},
    phases::{self, Course, Plan},
    progress::Progress,
    record::Record,
    timeline::Timeline,
    worker::{Common, Spot},
};
use tollgate_core::{
    audit::{Bound, Remoteness},
    error::chain,
    limit::Limit,
};

pub(super) async fn run(args: ProveArgs, limit: Limit) -> Result<Findings, ProveError> {
    let protocol = if args.http2 { Protocol::Http2 } else { Protocol::Http1 };
    let targets: Vec<String> = args.targets.iter().map(Target::to_string).collect();
    let requests = requests(&args, protocol)?;
    let spots = match spots(&args.targets, requests, protocol).await {
        Ok(spots) => spots,
        Err(unreachable) => return Ok(nothing_sent(limit, targets, &unreachable)),
    };
    let before = match scrape_all(&args.metrics).await {
        Ok(before) => before,
        Err(unread) => return Ok(nothing_sent(limit, targets, &unread)),
    };
    let is_other_clock = !spots.iter().all(|spot| spot.address.ip().is_loopback());
    let remoteness = if is_other_clock { Remoteness::OtherClock } else { Remoteness::SameClock };
    let timeline = Timeline::start();
    let common = Common { spots, protocol, burst: limit.burst(), timeline };
    let plan = Plan {
        limit: limit.clone(),
        duration: args.duration,
        rate: args.rate,
        concurrency: args.concurrency,
    };
    let (record, course) = hammer(common, &plan).await;
    let bound = Bound::for_limit(&limit, remoteness, timeline.clocks());
    let fallback_answers = match scrape_all(&args.metrics).await {
        Ok(after) if after.is_empty() => FallbackAnswers::NotAsked,
        Ok(after) => FallbackAnswers::Counted(growth(&before, &after)),
        Err(error) => FallbackAnswers::Unreadable(chain(&error)),
    };
    Ok(Findings::new(Run { limit, bound, is_other_clock, targets, record, course, fallback_answers }))
}

async fn hammer(common: Common, plan: &Plan) -> (Record, Course) {
    let (stop, stopped) = watch::channel(false);
    let interrupt = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // Keeps the sender: were it dropped, nobody could wait for it any more.
        std::future::pending::<()>().await;
    });
    let mut load = Load::open(common, plan.concurrency, stopped).await;
    let course = phases::run(&mut load, plan, &Progress::on_terminal()).await;
    interrupt.abort();
    // Cancelled, which is what was asked for.
    drop(interrupt.await);
    (load.into_record(), course)
}

// === before the first request ===

fn requests(args: &ProveArgs, protocol: Protocol) -> Result<Vec<link::Outgoing>, ProveError> {
    let request = |target: &Target| {
        link::request(target, &args.headers, protocol)
            .map_err(|source| ProveError::Request { url: target.to_string(), source })
    };
    args.targets.iter().map(request).collect()
}

/// Looks up every target and connects once, so that a mistyped port shows at once and not after minutes.
async fn spots(
    targets: &[Target],
    requests: Vec<link::Outgoing>,
    protocol: Protocol,
) -> Result<Vec<Spot>, Unreachable> {
    let mut spots = Vec::new();
    for (target, request) in targets.iter().zip(requests) {
        let unreachable = |source| Unreachable { url: target.to_string(), source };
        let address = link::look_up(target).await.map_err(unreachable)?;
        Link::open(address, protocol).await.map_err(unreachable)?;
        spots.push(Spot { address, request });
    }
    Ok(spots)
}

#[derive(Debug, Error)]
#[error("cannot reach {url}")]
struct Unreachable {
    url: String,
    source: LinkError,
}

fn nothing_sent(limit: Limit, targets: Vec<String>, reason: &dyn Error) -> Findings {
    let mut course = Course::default();
    course.left_out.push(chain(reason));
    let bound = Bound::for_limit(&limit, Remoteness::SameClock, Timeline::start().clocks());
    let (record, fallback_answers) = (Record::default(), FallbackAnswers::NotAsked);
    Findings::new(Run { limit, bound, is_other_clock: false, targets, record, course, fallback_answers })
}

// === metrics ===

#[derive(Debug, Error)]
#[error("--metrics {url}")]
struct Unread {
    url: String,
    source: MetricsError,
}

async fn scrape_all(targets: &[Target]) -> Result<Vec<Decisions>, Unread> {
    let mut all = Vec::new();
    for target in targets {
        let unread = |source| Unread { url: target.to_string(), source };
        all.push(metrics::scrape(target).await.map_err(unread)?);
    }
    Ok(all)
}

fn growth(before: &[Decisions], after: &[Decisions]) -> Decisions {
    let grown = before.iter().zip(after).map(|(&before, after)| after.since(before));
    grown.fold(Decisions::default(), Decisions::plus)
}
