//! The explanation as one JSON object, whose keys are an interface.

use serde_json::{Value, json};

use super::{
    making::{Made, Making},
    report::{DescriptorReport, LimitReport, Report},
    told::Told,
};
use tollgate_core::{
    decision::{Enforcement, Verdict},
    descriptor::Hits,
    matcher::TracedLevel,
};

/// The most patterns of a level that are listed, besides the chosen one.
const MOST: usize = 100;

/// `{"domain","verdict","store","descriptors":[…],"told":{…},"told_if_used_up":{…}}`. The verdict is `allow`, `deny` or
/// `no_limit`.
pub(super) fn json(report: &Report) -> String {
    let descriptors: Vec<Value> = report.descriptors.iter().map(descriptor).collect();
    let verdict = report.now.as_ref().map_or("no_limit", |now| verdict(now.verdict));
    let object = json!({
        "domain": report.domain,
        "verdict": verdict,
        "store": report.store,
        "shadow_mode": report.is_shadow,
        "malformed_buckets": report.malformed,
        "made_by": report.made.as_ref().map(made),
        "descriptors": descriptors,
        "told": report.now.as_ref().map(told),
        "told_if_used_up": report.used_up.as_ref().map(told),
    });
    format!("{object}\n")
}

fn made(made: &Made) -> Value {
    let lists: Vec<Value> = made
        .lists
        .iter()
        .map(|list| {
            let (result, number, action, why) = match &list.result {
                Making::Descriptor(number) => ("descriptor", Some(number), None, None),
                Making::Dropped { action, reason } => {
                    ("dropped", None, action.as_deref(), Some(reason.as_str()))
                }
                Making::NotNow(why) => ("not_now", None, None, Some(why.as_str())),
                Making::Unknown(why) => ("unknown", None, None, Some(why.as_str())),
            };
            json!({
                "at": list.at,
                "actions": list.actions,
                "result": result,
                "descriptor": number,
                "dropped_by": action,
                "why": why,
            })
        })
        .collect();
    let without = made.without_descriptor.name();
    json!({ "source": made.source, "lists": lists, "without_descriptor": without, "notes": made.notes })
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

fn descriptor(descriptor: &DescriptorReport) -> Value {
    let entries: Vec<Value> = descriptor
        .entries
        .iter()
        .map(|(key, value)| json!({ "key": text(key), "value": text(value) }))
        .collect();
    let (hits, gives_back) = match descriptor.hits {
        Hits::One => (1, false),
        Hits::Take(hits) => (hits, false),
        Hits::Peek => (0, false),
        Hits::GiveBack(hits) => (hits, true),
    };
    let tier = descriptor.tier.as_ref();
    json!({
        "entries": entries,
        "hits": hits,
        "gives_back": gives_back,
        "levels": descriptor.levels.iter().map(level).collect::<Vec<Value>>(),
        "rule": descriptor.rule,
        "tier": tier.map(|tier| json!({ "key": text(&tier.key), "name": tier.name })),
        "limits": descriptor.limits.iter().map(limit).collect::<Vec<Value>>(),
        "replaced": descriptor.replaced,
        "why_no_limit": descriptor.why_no_limit,
    })
}

fn level(level: &TracedLevel) -> Value {
    let listed = level.patterns.iter().enumerate();
    let listed = listed.filter(|(index, pattern)| *index < MOST || pattern.choice.is_chosen());
    let patterns: Vec<Value> = listed
        .map(|(_, pattern)| {
            json!({
                "key": pattern.key,
                "value": pattern.value,
                "chosen": pattern.choice.is_chosen(),
                "why": pattern.choice.name(),
            })
        })
        .collect();
    let more = level.patterns.len() - patterns.len();
    json!({ "patterns": patterns, "more_patterns": more, "other_keys": level.other_keys })
}

fn limit(limit: &LimitReport) -> Value {
    let enforcement = match limit.enforcement {
        Enforcement::Enforced => "enforced",
        Enforcement::Quota => "quota",
        Enforcement::Shadow => "shadow",
    };
    json!({
        "limit": limit.label,
        "requests_per_unit": limit.requests_per_unit,
        "period_seconds": limit.period_seconds,
        "burst": limit.burst,
        "algorithm": limit.algorithm.name(),
        "lease_us": limit.lease_us,
        "enforcement": enforcement,
        "bucket": limit.bucket,
        "level": limit.level,
        "reserved_hits": limit.reserved,
        "fits": limit.fits,
        "never_fits": limit.never_fits,
        "remaining": limit.remaining,
        "reset_us": limit.reset_us,
    })
}

fn told(told: &Told) -> Value {
    let headers: serde_json::Map<String, Value> =
        told.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "verdict": verdict(told.verdict),
        "status": told.status.as_u16(),
        "headers": headers,
        "body": told.body,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
