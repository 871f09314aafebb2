//! The result as one JSON object, whose keys are an interface.

use serde_json::{Value, json};

use super::{Proposed, Simulated, place, remarks, remarks_on, rows};
use crate::cli::simulate::{
    changes::Changed,
    log::{Seen, time},
    side::Side,
    tally::DeniedKey,
};
use tollgate_core::{
    limit::Limit,
    matcher::{LimitIndex, RuleLimit},
};

/// `{"log":{…},"requests","admitted","denied","limits":[…],"keys":[…],"fixed_windows":{…},"timeline":{…},"against":…}`.
/// Times are RFC 3339 in UTC.
pub(in crate::cli::simulate) fn json(result: &Simulated<'_, '_>) -> String {
    let side = result.side;
    let windows = side.windows().map(|windows| {
        json!({ "denied": windows.denied, "newly_admitted": windows.more, "newly_denied": windows.fewer })
    });
    let mut told = remarks(result.seen, result.missed, None);
    told.extend(remarks_on(side));
    let object = json!({
        "log": log(result.seen),
        "remarks": told,
        "requests": side.tally.requests,
        "without_descriptor": result.missed.without_descriptor,
        "admitted": side.tally.requests - side.tally.denied,
        "denied": side.tally.denied,
        "limits": limits(side),
        "keys": keys(&side.tally.top(result.top)),
        "fixed_windows": windows,
        "timeline": timeline(side),
        "against": result.against.map(|(other, changes)| json!({
            "denied": other.tally.denied,
            "denied_by_both": changes.denied_by_both,
            "newly_denied": changed(&changes.newly_denied, result.top),
            "newly_admitted": changed(&changes.newly_admitted, result.top),
        })),
    });
    format!("{object}\n")
}

fn log(seen: &Seen) -> Value {
    json!({
        "first": seen.first_us.map(time::text),
        "last": seen.first_us.map(|_| time::text(seen.last_us)),
        "broken": seen.broken,
        "first_broken": seen.shown,
        "out_of_order": seen.out_of_order,
        "late": seen.late,
        "cut_short": seen.cut,
    })
}

fn limits(side: &Side<'_>) -> Vec<Value> {
    let each = rows(side);
    let each = each.iter().map(|row| {
        let mut object = limit(row.limit);
        let tally = row.tally;
        let more = json!({
            "asked": tally.asked,
            "over": tally.over,
            "denied": tally.denied,
            "clients": tally.clients,
            "touched": tally.touched,
            "first_over": tally.first_us.map(time::text),
            "last_over": tally.first_us.map(|_| time::text(tally.last_us)),
            "fixed_windows": { "newly_admitted": row.more, "most_above_bound": row.excess.round() },
        });
        merge(&mut object, more);
        object
    });
    each.collect()
}

fn limit(limit: &RuleLimit) -> Value {
    let mut object = json!({
        "domain": &*limit.domain,
        "path": &*limit.path,
        "tier": limit.tier.as_deref(),
        "name": limit.name,
        "shadow_mode": limit.options.shadow_mode,
    });
    merge(&mut object, numbers(&limit.limit));
    object
}

fn numbers(limit: &Limit) -> Value {
    json!({
        "requests_per_unit": limit.requests_per_unit(),
        "per": limit.per().to_string(),
        "burst": limit.burst(),
        "algorithm": limit.algorithm().name(),
    })
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn keys(keys: &[&DeniedKey<'_>]) -> Vec<Value> {
    let each = keys.iter().map(|key| {
        json!({
            "key": key.name,
            "limit": place(key.limit),
            "requests": key.denied,
            "asked": (key.asked > 0).then_some(key.asked),
            "first": time::text(key.first_us),
            "last": time::text(key.last_us),
        })
    });
    each.collect()
}

fn changed(changed: &Changed<'_>, top: usize) -> Value {
    let limits = changed.limits().into_iter().map(|(of, requests)| {
        let mut object = limit(of);
        merge(&mut object, json!({ "requests": requests }));
        object
    });
    json!({
        "requests": changed.requests,
        "limits": limits.collect::<Vec<_>>(),
        "keys": keys(&changed.keys.top(top)),
    })
}

fn timeline(side: &Side<'_>) -> Value {
    let timeline = &side.tally.timeline;
    if timeline.requests.is_empty() {
        return Value::Null;
    }
    let mut denied: Vec<(usize, &Vec<u64>)> =
        timeline.denied.iter().map(|(index, counts)| (*index, counts)).collect();
    denied.sort_unstable_by_key(|(index, _)| *index);
    let of = |index: &usize| {
        let limit =
            side.matcher().limits().iter().find(|limit| limit.index == LimitIndex::Configured(*index));
        limit.map_or_else(|| "others".to_owned(), |limit| place(limit))
    };
    let denied = denied.iter().map(|(index, counts)| json!({ "limit": of(index), "denied": counts }));
    json!({
        "starts": time::text(timeline.starts_us),
        "step_seconds": timeline.step_us / 1_000_000,
        "requests": timeline.requests,
        "limits": denied.collect::<Vec<_>>(),
    })
}

/// `{"log":{…},"groups":[{"entries":[…],"clients","requests","proposals":[…]}]}`
pub(in crate::cli::simulate) fn proposals_json(proposed: &Proposed<'_>) -> String {
    let groups = proposed.suggesting.groups().iter().map(|group| {
        let entries = group.entries.iter().map(|(key, value)| json!({ "key": key, "value": value }));
        let proposals = super::yaml::percentiles(proposed.percentile).into_iter().map(|percentile| {
            let proposal = proposed.suggesting.proposal(group, percentile);
            json!({
                "percentile": percentile,
                "limit": proposal.limit.as_ref().map(numbers),
                "touched": proposal.touched,
            })
        });
        json!({
            "domain": group.domain,
            "entries": entries.collect::<Vec<_>>(),
            "clients": group.clients(),
            "requests": group.requests,
            "proposals": proposals.collect::<Vec<_>>(),
        })
    });
    let groups: Vec<Value> = groups.collect();
    let remarks = remarks(proposed.seen, proposed.missed, None);
    format!("{}\n", json!({ "log": log(proposed.seen), "remarks": remarks, "groups": groups }))
}
