//! Explains one key of a running service, for its live page.

use std::sync::Arc;

use super::{
    ExplainError,
    deciding::Levels,
    descriptors::Asked,
    report::{LimitReport, Report},
    text,
    told::Serving,
    wanted::{self, NotAsked},
};
use crate::{
    error,
    live::{self, Look, Looked, LookedLimit},
    response::Group,
    rules::Publisher,
    store::Backend,
};
use tollgate_core::{applied::QuotaMode, limit::Algorithm, matcher::Matcher};

/// How the service was started.
#[derive(Debug)]
pub(in crate::cli) struct AsServed {
    pub(in crate::cli) groups: Vec<Group>,
    pub(in crate::cli) is_shadow: bool,
    pub(in crate::cli) quota_mode: QuotaMode,
}

/// Looks at keys of this service by the rules in force.
pub(in crate::cli) fn look(publisher: Arc<Publisher>, backend: &Backend, served: AsServed) -> Look {
    let address = backend.health().address().to_owned();
    let levels = Arc::new(match backend {
        Backend::Memory(store) => Levels::Here { store: Arc::clone(store) },
        Backend::Redis(backend) => Levels::Live { store: address, backend: backend.clone() },
    });
    let AsServed { groups, is_shadow, quota_mode } = served;
    let serving = Arc::new(Serving { groups, is_shadow, quota_mode });
    Box::new(move |asked| {
        let (matcher, levels, serving) =
            (publisher.standing().matcher, Arc::clone(&levels), Arc::clone(&serving));
        Box::pin(async move {
            let looked = looked(&matcher, asked, &levels, &serving).await;
            looked.map_err(|error| error::chain(&error).to_string())
        })
    })
}

async fn looked(
    matcher: &Matcher,
    asked: live::Asked,
    levels: &Levels,
    serving: &Serving,
) -> Result<Looked, ExplainError> {
    let domain = wanted::domain(asked.domain.as_ref(), matcher)?;
    let asked = Asked::from_arguments(domain.clone(), &asked.entries, 1).map_err(NotAsked::from)?;
    let report = Report::new(matcher, asked, levels, serving).await?;
    let limits = report.descriptors.iter().flat_map(|descriptor| {
        let tier = descriptor.tier.as_ref().and_then(|tier| tier.name.clone());
        descriptor.limits.iter().map(move |report| limit(report, tier.clone()))
    });
    Ok(Looked { domain, limits: limits.collect(), text: text::text(&report) })
}

fn limit(report: &LimitReport, tier: Option<String>) -> LookedLimit {
    LookedLimit {
        key: report.key,
        rule: report.label.clone(),
        tier,
        algorithm: report.algorithm,
        requests: report.requests_per_unit,
        period_seconds: report.period_seconds,
        burst: report.burst,
        level: report.level,
        fits: report.fits,
        next_us: if report.fits { 0 } else { report.reset_us },
        full_us: full_us(report),
    }
}

/// The first token comes back after `room_us`, and each of the others a token's time later.
fn full_us(report: &LimitReport) -> Option<u64> {
    let missing = u64::from(report.burst.saturating_sub(report.level));
    match report.algorithm {
        _ if missing == 0 => Some(0),
        Algorithm::TokenBucket => {
            let period_us = report.period_seconds.checked_mul(1_000_000)?;
            let others_us =
                (missing - 1).checked_mul(period_us)?.checked_div(report.requests_per_unit.into())?;
            report.room_us.checked_add(others_us)
        }
        Algorithm::FixedWindow => Some(report.room_us),
        Algorithm::SlidingWindowLog => None,
    }
}
