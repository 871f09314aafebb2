//! Finds settings that are legal but probably mistakes.

mod never;

use std::collections::HashSet;

use super::{
    Files, START,
    actions::RawList,
    authz::RawAuthz,
    raw::{RawDomain, RawLimit, RawLimits, RawPattern},
    report::{Place, Report, shorten},
};
use tollgate_core::{
    matcher::{Shapes, Wildcard, is_wildcard},
    rules::Pattern,
};

/// The most wildcards of one level that are compared with one another.
const MOST_COMPARED: usize = 200;
const LONGEST_COMPARED: usize = 256;

pub(super) fn look(domain: &str, parts: &[RawDomain], files: &mut Files) {
    let mut names = HashSet::new();
    for part in parts {
        collect_names(&part.descriptors, &mut names);
        names.extend(part.tiers.iter().flat_map(|tier| &tier.limits).map(|limit| limit.limit.name.as_str()));
    }
    of_domain(domain, parts, files);
    for part in parts {
        let (place, report) = (Place::Domain(domain), &mut files.reports[part.file]);
        level(&part.descriptors, &place, &names, report);
        for tier in &part.tiers {
            let (tiers, limits) = (Place::Key(&place, "tiers"), &tier.limits);
            let place = Place::Name(&tiers, &tier.name);
            of_limits(limits, &place, &names, report);
        }
    }
}

fn of_domain(domain: &str, parts: &[RawDomain], files: &mut Files) {
    let Some(first) = parts.first() else { return };
    // In a file with errors the limit may be missing here because of them.
    let is_wrong = domain.is_empty() || parts.iter().any(|part| files.reports[part.file].has_errors());
    // Rules for what `authz` makes may come from elsewhere. Requests without a rule are warned about when they come.
    let has_only_authz =
        parts.iter().any(|part| part.authz.is_some()) && parts.iter().all(|part| part.descriptors.is_empty());
    if is_wrong
        || has_only_authz
        || parts.iter().any(|part| part.descriptors.iter().any(RawPattern::bounds_anything))
    {
        return;
    }
    files.reports[first.file].warn(
        START,
        &Place::Domain(domain),
        format_args!(
            "this domain has no limit, so all of its requests pass unless they bring their own; write a \
                 limit as the `rate_limit` of a descriptor"
        ),
    );
}

/// Warns of lists whose descriptors no rule is for.
pub(super) fn authz(domain: &str, authz: &RawAuthz, rules: &[Pattern], report: &mut Report) {
    if rules.is_empty() || report.has_errors() {
        return;
    }
    let shapes = Shapes::new(rules);
    for entry in &authz.entries {
        let domain = Place::Domain(domain);
        let entry_place = Place::Item(&domain, "authz", entry.index);
        for (index, RawList { at, list }) in entry.lists.iter().enumerate() {
            let Some(keys) = list.keys() else { continue };
            if !shapes.contain(keys.iter().map(|key| key.as_bytes())) {
                let (place, keys) =
                    (Place::Item(&entry_place, "rate_limits", index), shorten(&keys.join(", ")));
                report.warn(
                    *at,
                    &place,
                    format_args!("no rule in `descriptors` is for the keys {keys} in this order, so nothing is limited by it"),
                );
            }
        }
    }
}

fn collect_names<'a>(patterns: &'a [RawPattern], names: &mut HashSet<&'a str>) {
    for raw in patterns {
        names.extend(raw.own_limits().iter().map(|limit| limit.limit.name.as_str()));
        collect_names(&raw.below, names);
    }
}

fn level(patterns: &[RawPattern], place: &Place<'_>, names: &HashSet<&str>, report: &mut Report) {
    unreachable(patterns, place, report);
    for raw in patterns {
        let place = Place::Item(place, "descriptors", raw.index);
        of_limits(raw.own_limits(), &place, names, report);
        of_pattern(raw, &place, report);
        level(&raw.below, &place, names, report);
    }
}

fn of_pattern(raw: &RawPattern, place: &Place<'_>, report: &mut Report) {
    let options = raw.pattern.options;
    let value = raw.pattern.value.as_deref();
    if let Some(doubt) = value.and_then(|value| never::doubt(&raw.pattern.key, value)) {
        report.warn(raw.at, place, format_args!("{doubt}"));
    }
    if let RawLimits::LeftEmpty { key, at } = raw.limits {
        report.warn(
            at,
            place,
            format_args!("`{key}` is empty, so nothing is limited here; write a limit, or remove the key"),
        );
    }
    if raw.limits_anything() {
        return;
    }
    let flags = [
        ("detailed_metric", options.detailed_metric),
        ("value_to_metric", options.value_to_metric),
        ("share_threshold", options.share_threshold),
    ];
    for (flag, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        report.warn(raw.at, place, format_args!("{flag} has no effect: there is no limit here or below"));
    }
    if value.is_some() && raw.below.is_empty() && matches!(raw.limits, RawLimits::None) {
        report.warn(
            raw.at,
            place,
            format_args!("no limit: every request with this value passes, whatever the other rules say"),
        );
    }
}

fn of_limits(limits: &[RawLimit], place: &Place<'_>, names: &HashSet<&str>, report: &mut Report) {
    for raw in limits {
        for (name, at) in raw.limit.replaces.iter().zip(&raw.replaces_at) {
            if !names.contains(name.as_str()) {
                let name = shorten(name);
                report.warn(*at, place, format_args!("no limit of this domain has the name `{name}`"));
            }
        }
    }
    // A longer list is refused anyway.
    for (index, long) in limits.iter().take(64).enumerate() {
        let Some(quota) = &long.limit.limit else { continue };
        let shorter = limits.iter().take(64).enumerate().filter(|(other, _)| *other != index);
        let mut shorter = shorter.filter_map(|(_, raw)| raw.limit.limit.as_ref());
        let outdone = shorter.find(|rate| {
            rate.period().seconds() < quota.period().seconds()
                && rate.requests_per_unit() > quota.requests_per_unit()
        });
        if let Some(rate) = outdone {
            let (few, many) = (quota.requests_per_unit(), rate.requests_per_unit());
            let (period, short) = (quota.per(), rate.per());
            report.warn(
                long.at,
                place,
                format_args!(
                    "{few} per {period} is less than the {many} per {short} beside it, which \
                    therefore never takes effect"
                ),
            );
        }
    }
}

// === unreachable ===

fn has_wildcard(raw: &RawPattern) -> bool {
    is_wildcard(&raw.pattern.key) || raw.pattern.value.as_deref().is_some_and(is_wildcard)
}

/// The first of several matching wildcards counts, and each takes precedence over the bare key.
fn unreachable(patterns: &[RawPattern], place: &Place<'_>, report: &mut Report) {
    let wildcards: Vec<&RawPattern> =
        patterns.iter().filter(|raw| has_wildcard(raw)).take(MOST_COMPARED).collect();
    if wildcards.is_empty() {
        return;
    }
    for (index, raw) in wildcards.iter().enumerate() {
        if let Some(first) = wildcards[..index].iter().find(|earlier| covers(earlier, raw)) {
            warn_unreachable(raw, first, place, report);
        }
    }
    for raw in patterns.iter().filter(|raw| !has_wildcard(raw) && raw.pattern.value.is_none()) {
        if let Some(first) = wildcards.iter().take(MOST_COMPARED).find(|wildcard| covers(wildcard, raw)) {
            warn_unreachable(raw, first, place, report);
        }
    }
}

fn warn_unreachable(raw: &RawPattern, first: &RawPattern, place: &Place<'_>, report: &mut Report) {
    let place = Place::Item(place, "descriptors", raw.index);
    let (name, at) = (shorten(&first.pattern.name()), report.line(first.at));
    report.warn(
        raw.at,
        &place,
        format_args!("never reached: all that it matches is matched by `{name}`{at}"),
    );
}

/// Whether `wide` matches everything that `other` matches.
fn covers(wide: &RawPattern, other: &RawPattern) -> bool {
    let value_is_covered = match (&wide.pattern.value, &other.pattern.value) {
        (None, _) => true,
        (Some(wide), Some(other)) => matches(wide, other),
        (Some(wide), None) => wide.bytes().all(|letter| letter == b'*'),
    };
    value_is_covered && matches(&wide.pattern.key, &other.pattern.key)
}

/// Long patterns are not compared, so that a file of them does not cost the square of its size.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern.len() > LONGEST_COMPARED || text.len() > LONGEST_COMPARED {
        return false;
    }
    Wildcard::new(pattern).matches(text.as_bytes())
}
