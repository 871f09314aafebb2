//! What is wrong with an answer, in words: in the log, and in the NACK that the server gets.

use std::{collections::HashMap, fmt};

use super::rule::Rule;
use crate::{
    config::{ConfigError, shorten},
    error::chain,
};

/// The number of the domain itself. Those of its rules follow.
pub(super) const DOMAIN: usize = 1;
/// The most faults that are kept; further ones are only counted.
const MOST: usize = 1_000;
/// The most bytes of all of them. A NACK of 4 MiB would be refused by the server.
const MOST_BYTES: usize = 64 << 10;

/// One fault, and the descriptor that has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Fault {
    /// The name of the domain, or the resource if it has none.
    pub(super) domain: String,
    /// The keys and values that lead to the descriptor. Empty: the fault is that of the domain.
    pub(super) path: String,
    pub(super) what: String,
}

/// All faults of an answer, in its order. Displays one line for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Faults {
    kept: Vec<Fault>,
    bytes: usize,
    more: usize,
}

// === impl Fault ===

impl Fault {
    /// A resource that has no domain.
    pub(super) fn of_resource(resource: &str, what: String) -> Fault {
        Fault { domain: format!("(resource {resource})"), path: String::new(), what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { domain, path, what } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{domain}: {path}{colon}{what}")
    }
}

// === impl Faults ===

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.more == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.kept.iter()
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.bytes += fault.domain.len() + fault.path.len() + fault.what.len() + 4;
        if self.kept.len() < MOST && self.bytes <= MOST_BYTES {
            self.kept.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds what the check of a domain found. Its lines are the numbers of the rules, each before those below it.
    pub(super) fn add_all(
        &mut self,
        domain: &str,
        rules: &[Rule],
        found: impl IntoIterator<Item = ConfigError>,
    ) {
        let found: Vec<ConfigError> = found.into_iter().collect();
        if found.is_empty() {
            return;
        }
        let mut paths: HashMap<usize, String> =
            found.iter().filter_map(line).map(|line| (line, String::new())).collect();
        fill(rules, &mut Vec::new(), &mut DOMAIN.clone(), &mut paths);
        for error in &found {
            if error.problem.is_rest() {
                self.more += error.problem.count();
                continue;
            }
            let path = line(error).and_then(|line| paths.get(&line)).cloned().unwrap_or_default();
            let what = chain(&error.problem).to_string();
            let what = what.strip_prefix("warning: ").unwrap_or(&what).to_owned();
            self.add(Fault { domain: shorten(domain), path, what });
        }
    }
}

fn line(error: &ConfigError) -> Option<usize> {
    error.at.map(|at| at.line)
}

/// Sets the path of each rule whose number is wanted.
fn fill(rules: &[Rule], above: &mut Vec<String>, last: &mut usize, paths: &mut HashMap<usize, String>) {
    for rule in rules {
        *last += 1;
        above.push(rule.name());
        if let Some(path) = paths.get_mut(last) {
            *path = above.join(" / ");
        }
        fill(&rule.below, above, last, paths);
        above.pop();
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.kept.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{fault}")?;
        }
        if self.more > 0 {
            write!(f, "\n{} more", self.more)?;
        }
        Ok(())
    }
}
