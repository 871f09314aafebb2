//! The grammar: what may stand in a file, and what it means. A new key is a line here.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    error::Position,
    fields::{Fields, peek_text},
    report::{Place, Report, Reported, shorten},
    yaml::Node,
};
use crate::{
    limit::{Limit, Unit},
    rules::{Domain, Limits, NamedLimit, Pattern},
};

/// The domain of a file, and where its name stands.
pub(super) fn check(root: &Node, report: &mut Report) -> Result<(Domain, Position), Reported> {
    let place = peek_text(root, "domain").map_or(Place::Root, Place::Domain);
    Fields::read(root, format_args!("the file"), &place, report, domain)
}

fn domain(fields: &mut Fields<'_>) -> Result<(Domain, Position), Reported> {
    let name = fields.required_text("domain");
    let at = fields.at_value("domain");
    let descriptors = descriptors(fields);
    Ok((Domain { name: name?, descriptors: descriptors?, members: None }, at))
}

/// The line of the first rule of each key and value at one level.
type Lines = HashMap<(String, Option<String>), usize>;

fn descriptors(fields: &mut Fields<'_>) -> Result<Vec<Pattern>, Reported> {
    let mut lines = Lines::new();
    fields.list("descriptors", |fields| descriptor(fields, &mut lines))
}

fn descriptor(fields: &mut Fields<'_>, lines: &mut Lines) -> Result<Pattern, Reported> {
    let key = fields.required_text("key");
    // An empty value means any, as in the reference.
    let value = fields.text("value").map(|value| value.filter(|text| !text.is_empty()));
    if let (Ok(key), Ok(value)) = (&key, &value) {
        refuse_wildcards(fields, key, value.as_deref());
        refuse_duplicate(fields, key, value.as_deref(), lines);
    }
    let limit = fields.map("rate_limit", rate_limit);
    let descriptors = descriptors(fields);
    let limits = limit?.map_or(Limits::None, |limit| Limits::All(vec![NamedLimit::from(limit)]));
    Ok(Pattern { key: key?, value: value?, limits, descriptors: descriptors?, ..Pattern::default() })
}

/// In envoyproxy/ratelimit a `*` is a wildcard. Until it is one here, such a file must not load with another
/// meaning.
fn refuse_wildcards(fields: &mut Fields<'_>, key: &str, value: Option<&str>) {
    for (name, text) in [("key", key), ("value", value.unwrap_or_default())] {
        if text.contains('*') {
            let at = fields.at_value(name);
            fields.refuse(at, format_args!("wildcards are not supported yet, and {name} holds a `*`"));
        }
    }
}

fn refuse_duplicate(fields: &mut Fields<'_>, key: &str, value: Option<&str>, lines: &mut Lines) {
    let at = fields.at();
    match lines.entry((key.to_owned(), value.map(str::to_owned))) {
        Entry::Vacant(entry) => {
            entry.insert(at.line);
        }
        Entry::Occupied(first) => {
            let name = shorten(&value.map_or(key.to_owned(), |value| format!("{key}_{value}")));
            let line = first.get();
            fields.refuse(at, format_args!("duplicate rule `{name}`; the first is at line {line}"));
        }
    }
}

fn rate_limit(fields: &mut Fields<'_>) -> Result<Limit, Reported> {
    let unit = unit(fields);
    let requests_per_unit = fields.number("requests_per_unit");
    let burst = fields.number("burst");
    // Without requests_per_unit a rule denies everything, as in the reference.
    let (requests_per_unit, unit, burst) = (requests_per_unit?.unwrap_or(0), unit?, burst?);
    Limit::new(requests_per_unit, unit, burst).map_err(|error| {
        let at = if burst.is_some() { fields.at_value("burst") } else { fields.at() };
        fields.refuse_limit(at, error)
    })
}

fn unit(fields: &mut Fields<'_>) -> Result<Unit, Reported> {
    let name = fields.required_text("unit")?;
    Unit::from_name(&name).ok_or_else(|| {
        let at = fields.at_value("unit");
        let all = Unit::ALL.map(Unit::name).join(", ");
        fields.refuse(at, format_args!("unknown unit `{}`; it must be one of {all}", shorten(&name)))
    })
}
