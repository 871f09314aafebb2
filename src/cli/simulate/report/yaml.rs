//! Proposals as a limits file, with the figures that they rest on as comments.

use std::fmt::Write as _;

use super::{Proposed, counted, numbers, remarks, share};
use crate::cli::simulate::{
    log::time,
    suggest::{Group, Proposal},
};

/// The percentiles that are told besides the one that is asked for.
const PERCENTILES: [f64; 5] = [90.0, 95.0, 99.0, 99.9, 100.0];

/// One entry of the file, and what is below it.
#[derive(Default)]
struct Node<'g> {
    entry: Option<&'g (String, Option<String>)>,
    group: Option<&'g Group>,
    below: Vec<Node<'g>>,
}

/// All percentiles that are told, in order.
pub(super) fn percentiles(asked: f64) -> Vec<f64> {
    let mut all = PERCENTILES.to_vec();
    if !all.contains(&asked) {
        all.push(asked);
    }
    all.sort_by(f64::total_cmp);
    all
}

pub(in crate::cli::simulate) fn yaml(proposed: &Proposed<'_>) -> String {
    let seen = proposed.seen;
    let (from, to) = (time::text(seen.first_us.unwrap_or(0)), time::text(seen.last_us));
    let mut out = format!(
        "# Proposed by tollgate simulate --suggest, from {}, {from} to {to}.\n",
        counted(seen.requests, "request", "requests")
    );
    put(
        &mut out,
        0,
        "# A client is touched by a limit if it would have been denied at least once. Each limit is taken alone.",
    );
    for remark in remarks(seen, proposed.missed, None) {
        put(&mut out, 0, &format!("# {remark}"));
    }
    if proposed.suggesting.others > 0 {
        let others = proposed.suggesting.others;
        put(
            &mut out,
            0,
            &format!("# {others} requests are of clients beyond those that are counted, and left out."),
        );
    }
    let mut domains: Vec<&str> =
        proposed.suggesting.groups().iter().map(|group| group.domain.as_str()).collect();
    domains.sort_unstable();
    domains.dedup();
    for (index, domain) in domains.iter().enumerate() {
        let mut file = String::new();
        put(&mut file, 0, &format!("domain: {}", quoted(domain)));
        put(&mut file, 0, "descriptors:");
        let mut root = Node::default();
        for group in proposed.suggesting.groups().iter().filter(|group| group.domain == **domain) {
            root.add(&group.entries, group);
        }
        root.write(&mut file, 0, proposed);
        if index == 0 {
            out.push_str(&file);
            continue;
        }
        put(&mut out, 0, "# Another domain, for a file of its own:");
        file.lines().for_each(|line| put(&mut out, 0, &format!("# {line}")));
    }
    if domains.is_empty() {
        put(&mut out, 0, "# No request came to a descriptor, so there is nothing to propose.");
    }
    out
}

fn put(out: &mut String, indent: usize, line: &str) {
    writeln!(out, "{:indent$}{line}", "").expect("a String takes everything");
}

/// A scalar that is a text whatever is in it. JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

// === impl Node ===

impl<'g> Node<'g> {
    fn add(&mut self, entries: &'g [(String, Option<String>)], group: &'g Group) {
        let Some((first, rest)) = entries.split_first() else {
            self.group = Some(group);
            return;
        };
        let known = self.below.iter().position(|node| node.entry == Some(first));
        let at = known.unwrap_or_else(|| {
            self.below.push(Node { entry: Some(first), ..Node::default() });
            self.below.len() - 1
        });
        self.below[at].add(rest, group);
    }

    fn write(&self, out: &mut String, indent: usize, proposed: &Proposed<'_>) {
        for node in &self.below {
            let Some((key, value)) = node.entry else { continue };
            put(out, indent, &format!("- key: {}", quoted(key)));
            if let Some(value) = value {
                put(out, indent, &format!("  value: {}", quoted(value)));
            }
            if let Some(group) = node.group {
                write_group(out, indent + 2, group, proposed);
            }
            if !node.below.is_empty() {
                put(out, indent, "  descriptors:");
                node.write(out, indent + 2, proposed);
            }
        }
    }
}

fn write_group(out: &mut String, indent: usize, group: &Group, proposed: &Proposed<'_>) {
    let clients = group.clients();
    put(
        out,
        indent,
        &format!(
            "# {}: {} of {}",
            group.label(),
            counted(group.requests, "request", "requests"),
            counted(clients, "client", "clients")
        ),
    );
    // Percentiles that come to one limit share a line.
    let mut lines: Vec<(String, Proposal)> = Vec::new();
    for percentile in percentiles(proposed.percentile) {
        let proposal = proposed.suggesting.proposal(group, percentile);
        match lines.last_mut() {
            Some((percentiles, same)) if *same == proposal => {
                percentiles.push_str(&format!(", {percentile}"))
            }
            _ => lines.push((percentile.to_string(), proposal)),
        }
    }
    for (percentiles, proposal) in lines {
        let limit = proposal.limit.as_ref().map_or_else(|| "no limit is large enough".to_owned(), numbers);
        let touched = share(proposal.touched, clients);
        put(out, indent, &format!("#   {percentiles} % of clients: {limit}; it touches {touched}"));
    }
    let chosen = proposed.suggesting.proposal(group, proposed.percentile);
    let Some(limit) = chosen.limit else {
        put(out, indent, "rate_limit: { unlimited: true }");
        return;
    };
    let burst = proposed.burst.map(|burst| format!(", burst: {burst}")).unwrap_or_default();
    let (unit, requests) = (proposed.unit, limit.requests_per_unit());
    put(out, indent, &format!("rate_limit: {{ unit: {unit}, requests_per_unit: {requests}{burst} }}"));
}
