//! Combines all files of one domain: descriptors, tiers and members.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::{
    Files, Position, START,
    authz::{RawAuthz, RawEntry},
    lint, members,
    raw::{RawDomain, RawLimit, RawLimits, RawMembers, RawPattern, RawTier},
    report::{Place, shorten},
};
use tollgate_core::rules::{Domain, Limits, NamedLimit, Pattern};

/// The tiers of a domain, by name, with the file and the place of each.
type Tiers = BTreeMap<String, (usize, Position, Vec<NamedLimit>)>;

/// The most limits of one domain, counting those of a tier at each use.
const MAX_LIMITS: usize = 1_000_000;

/// The patterns above a pattern, and what it may refer to.
struct Context<'a> {
    file: usize,
    tiers: &'a Tiers,
    /// The key of the domain's members.
    member_key: Option<&'a str>,
    /// The keys of the patterns above.
    keys: Vec<&'a str>,
    /// Limits so far.
    limits: usize,
}

/// One domain for each name, in the order in which the files first name them.
pub(super) fn merge(mut found: Vec<RawDomain>, files: &mut Files) -> Vec<Domain> {
    let mut names: Vec<String> = Vec::new();
    for domain in &found {
        // A missing name is reported already; such a domain is checked by itself.
        if domain.name.is_empty() || !names.contains(&domain.name) {
            names.push(domain.name.clone());
        }
    }
    // The order of a domain's parts does not depend on the order of the files.
    found.sort_by_key(|domain| {
        let path = files.path(domain.file);
        (path.file_name().map(ToOwned::to_owned), path.to_owned())
    });
    names
        .into_iter()
        .map(|name| {
            let mut parts = Vec::new();
            while let Some(at) = found.iter().position(|part| part.name == name) {
                parts.push(found.remove(at));
                if name.is_empty() {
                    break;
                }
            }
            one(name, parts, files)
        })
        .collect()
}

fn one(name: String, mut parts: Vec<RawDomain>, files: &mut Files) -> Domain {
    refuse_duplicates(&name, &parts, files);
    refuse_two_algorithms(&name, &parts, files);
    // If they differ, there is an error.
    let defaults = parts.first().map(|part| part.defaults).unwrap_or_default();
    let members = take_members(&name, &mut parts, files);
    let tiers = take_tiers(&name, &mut parts, files);
    lint::look(&name, &parts, files);
    let authz = take_authz(&name, &mut parts, files);
    let member_key = members.as_ref().map(|(_, members)| members.key.as_str());
    let (mut descriptors, mut limits) = (Vec::new(), 0);
    for part in &parts {
        let place = Place::Domain(&name);
        let mut context = Context { file: part.file, tiers: &tiers, member_key, keys: Vec::new(), limits };
        descriptors.extend(patterns(&part.descriptors, &place, &mut context, files));
        limits = context.limits;
    }
    let members = members.and_then(|(file, raw)| members::load(&name, file, raw, &tiers, files));
    let authz = authz.map_or_else(Vec::new, |(file, raw)| {
        lint::authz(&name, &raw, &descriptors, &mut files.reports[file]);
        raw.entries.into_iter().map(RawEntry::into_entry).collect()
    });
    Domain { name, defaults, descriptors, members, authz }
}

// === duplicates ===

/// The file and line of the first pattern of each key and value at one level.
type Lines<'a> = HashMap<(&'a str, Option<&'a str>), (usize, usize)>;

fn refuse_duplicates(name: &str, parts: &[RawDomain], files: &mut Files) {
    let mut lines = Lines::new();
    for part in parts {
        level(part.file, &part.descriptors, &Place::Domain(name), &mut lines, files);
    }
}

fn level<'a>(
    file: usize,
    patterns: &'a [RawPattern],
    place: &Place<'_>,
    lines: &mut Lines<'a>,
    files: &mut Files,
) {
    for raw in patterns {
        let (key, value) = (raw.pattern.key.as_str(), raw.pattern.value.as_deref());
        let place = Place::Item(place, "descriptors", raw.index);
        match lines.entry((key, value)) {
            Entry::Vacant(entry) => {
                entry.insert((file, raw.at.line));
            }
            Entry::Occupied(first) => {
                let (name, (first_file, line)) = (shorten(&raw.pattern.name()), *first.get());
                let first_path = files.path(first_file).display().to_string();
                let first = if first_file == file { String::new() } else { format!("in {first_path} ") };
                files.reports[file].refuse(
                    raw.at,
                    &place,
                    format_args!("duplicate rule `{name}`; the first is {first}at line {line}"),
                );
            }
        }
        level(file, &raw.below, &place, &mut Lines::new(), files);
    }
}

// === algorithm ===

fn refuse_two_algorithms(domain: &str, parts: &[RawDomain], files: &mut Files) {
    let mut said = parts.iter().filter_map(|part| Some((part, part.algorithm_at?)));
    let Some((first, first_at)) = said.next() else { return };
    for (part, at) in said.filter(|(part, _)| part.defaults.algorithm != first.defaults.algorithm) {
        let (own, other) = (part.defaults.algorithm.name(), first.defaults.algorithm.name());
        let (path, line) = (files.path(first.file).display().to_string(), first_at.line);
        files.reports[part.file].refuse(
            at,
            &Place::Domain(domain),
            format_args!(
                "`algorithm: {own}` here, and `algorithm: {other}` of the same domain in {path}:{line}; a \
                     domain has only one"
            ),
        );
    }
}

// === tiers and members ===

fn take_tiers(domain: &str, parts: &mut [RawDomain], files: &mut Files) -> Tiers {
    let mut tiers = Tiers::new();
    for part in parts {
        for RawTier { name, at, limits } in std::mem::take(&mut part.tiers) {
            if let Some((first, first_at, _)) = tiers.get(&name) {
                let (name, first) = (shorten(&name), files.path(*first).display().to_string());
                let line = first_at.line;
                files.reports[part.file].refuse(
                    at,
                    &Place::Domain(domain),
                    format_args!("the tier `{name}` is already in {first}:{line}"),
                );
                continue;
            }
            let limits = limits.into_iter().map(|limit| limit.limit).collect();
            tiers.insert(name, (part.file, at, limits));
        }
    }
    tiers
}

/// The entries are in one file, because their order counts.
fn take_authz(domain: &str, parts: &mut [RawDomain], files: &mut Files) -> Option<(usize, RawAuthz)> {
    let mut all = parts.iter_mut().filter_map(|part| Some((part.file, part.authz.take()?)));
    let (first_file, first) = all.next()?;
    for (file, second) in all {
        let (path, line) = (files.path(first_file).display().to_string(), first.at.line);
        files.reports[file].refuse(
            second.at,
            &Place::Domain(domain),
            format_args!("the authz of this domain is already in {path}:{line}; its order counts, so keep it in one file"),
        );
    }
    Some((first_file, first))
}

fn take_members(domain: &str, parts: &mut [RawDomain], files: &mut Files) -> Option<(usize, RawMembers)> {
    let mut all = parts.iter_mut().filter_map(|part| Some((part.file, part.members.take()?)));
    let first = all.next()?;
    for (file, second) in all {
        let path = files.path(first.0).display().to_string();
        let line = first.1.at.line;
        files.reports[file].refuse(
            second.at,
            &Place::Domain(domain),
            format_args!("the members of this domain are already in {path}:{line}"),
        );
    }
    Some(first)
}

// === patterns ===

fn patterns<'a>(
    raw: &'a [RawPattern],
    place: &Place<'_>,
    context: &mut Context<'a>,
    files: &mut Files,
) -> Vec<Pattern> {
    raw.iter()
        .map(|raw| {
            let place = Place::Item(place, "descriptors", raw.index);
            context.keys.push(&raw.pattern.key);
            let limits = bounded(&raw.limits, &place, context, files);
            let descriptors = patterns(&raw.below, &place, context, files);
            context.keys.pop();
            Pattern { limits, descriptors, ..raw.pattern.clone() }
        })
        .collect()
}

/// The limits of a pattern. Beyond the maximum there are none, which is reported once.
fn bounded(raw: &RawLimits, place: &Place<'_>, context: &mut Context<'_>, files: &mut Files) -> Limits {
    if context.limits > MAX_LIMITS {
        return Limits::None;
    }
    context.limits += match raw {
        RawLimits::Own(own) => own.len(),
        RawLimits::Tier { name, .. } => context.tiers.get(name).map_or(0, |(.., limits)| limits.len()),
        RawLimits::OfMember { .. } => context.tiers.values().map(|(.., limits)| limits.len()).sum(),
        RawLimits::None | RawLimits::LeftEmpty { .. } | RawLimits::Wrong => 0,
    };
    if context.limits > MAX_LIMITS {
        let at = match raw {
            RawLimits::Tier { at, .. } | RawLimits::OfMember { at } => *at,
            _ => START,
        };
        let message = format_args!("more than {MAX_LIMITS} limits in one domain, tiers counted at each use");
        files.reports[context.file].refuse(at, place, message);
        return Limits::None;
    }
    limits(raw, place, context, files)
}

fn limits(raw: &RawLimits, place: &Place<'_>, context: &Context<'_>, files: &mut Files) -> Limits {
    let report = &mut files.reports[context.file];
    match raw {
        RawLimits::None | RawLimits::LeftEmpty { .. } | RawLimits::Wrong => Limits::None,
        RawLimits::Own(limits) => Limits::All(limits.iter().map(named).collect()),
        RawLimits::Tier { name, at } => match context.tiers.get(name) {
            Some((.., limits)) => Limits::All(limits.clone()),
            None => {
                let known = names(context.tiers.keys());
                let name = shorten(name);
                report.refuse(*at, place, format_args!("there is no tier `{name}`{known}"));
                Limits::None
            }
        },
        RawLimits::OfMember { at } => {
            match context.member_key {
                None => {
                    report.refuse(
                        *at,
                        place,
                        format_args!("`tier: from_members` needs `members` at the top of the file"),
                    );
                }
                Some(key) if !context.keys.contains(&key) => {
                    let key = shorten(key);
                    report.refuse(
                        *at,
                        place,
                        format_args!("`tier: from_members` needs the key `{key}` here or above, where members are looked up by it"),
                    );
                }
                Some(_) => {}
            }
            Limits::OfMember
        }
    }
}

fn named(raw: &RawLimit) -> NamedLimit {
    raw.limit.clone()
}

/// For example `; there are free and paid`.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<String> = all.take(10).map(|name| format!("`{}`", shorten(name))).collect();
    match all.as_slice() {
        [] => "; `tiers` defines none".to_owned(),
        [one] => format!("; there is {one}"),
        _ => format!("; there are {}", all.join(", ")),
    }
}
