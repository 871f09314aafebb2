//! Keeps domains that an answer no longer has, until it is certain that they are gone.
//!
//! Each answer has all domains that there are. But a control plane that has just started may send some of them first,
//! and the others a moment later. So what an answer has is in force at once, and a domain that it lacks stays until no
//! answer has come for the settling time. After a reconnect that time is three times as long, because the server may
//! have started anew; in all it is at most twelve times as long. While there is no connection nothing is dropped.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tollgate_core::rules::Domain;

const AFTER_RECONNECT: u32 = 3;
const AT_MOST: u32 = 12;

/// The domains in force.
#[derive(Debug)]
pub(super) struct Settling {
    pause: Duration,
    domains: BTreeMap<String, Kept>,
    stream: Option<Answers>,
    /// Whether an answer has come before this stream.
    has_reconnected: bool,
}

#[derive(Debug)]
struct Kept {
    domain: Domain,
    /// Since when the answers of this stream lack it.
    vanished: Option<Instant>,
}

/// The answers of the stream.
#[derive(Debug, Clone, Copy)]
struct Answers {
    first: Instant,
    last: Instant,
}

// === impl Settling ===

impl Settling {
    pub(super) fn new(pause: Duration) -> Settling {
        Settling { pause, domains: BTreeMap::new(), stream: None, has_reconnected: false }
    }

    /// The stream has ended. What its answers lacked may be in those of the next one.
    pub(super) fn disconnected(&mut self) {
        self.has_reconnected |= self.stream.take().is_some();
        self.domains.values_mut().for_each(|kept| kept.vanished = None);
    }

    /// Takes the domains of an answer. Whether anything is different now.
    pub(super) fn take(&mut self, now: Instant, domains: Vec<Domain>) -> bool {
        self.answered(now);
        let mut gone: BTreeMap<String, Kept> = std::mem::take(&mut self.domains);
        let mut is_changed = false;
        for domain in domains {
            let before = gone.remove(&domain.name);
            is_changed |= before.is_none_or(|before| before.domain != domain);
            self.domains.insert(domain.name.clone(), Kept { domain, vanished: None });
        }
        for (name, kept) in gone {
            let vanished = Some(kept.vanished.unwrap_or(now));
            self.domains.insert(name, Kept { vanished, ..kept });
        }
        is_changed
    }

    /// An answer has come, and was taken or refused.
    pub(super) fn answered(&mut self, now: Instant) {
        let first = self.stream.map_or(now, |answers| answers.first);
        self.stream = Some(Answers { first, last: now });
    }

    /// When [`Settling::settle`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let vanished = self.domains.values().filter_map(|kept| kept.vanished);
        vanished.filter_map(|since| self.end(since)).min()
    }

    /// Drops the domains that are gone by now, and returns their names.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<String> {
        let is_over =
            |kept: &Kept| kept.vanished.and_then(|since| self.end(since)).is_some_and(|end| end <= now);
        let gone: Vec<String> =
            self.domains.iter().filter(|(_, kept)| is_over(kept)).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.domains.remove(name);
        }
        gone
    }

    /// The names of the domains that the answer of this time was the first to lack.
    pub(super) fn vanished_at(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.domains.iter().filter(move |(_, kept)| kept.vanished == Some(now)).map(|(name, _)| name.as_str())
    }

    /// All domains in force, by name.
    pub(super) fn domains(&self) -> Vec<Domain> {
        self.domains.values().map(|kept| kept.domain.clone()).collect()
    }

    /// When a domain that vanished at this time is gone. None without a connection.
    fn end(&self, vanished: Instant) -> Option<Instant> {
        let Answers { first, last } = self.stream?;
        let start = self.pause.saturating_mul(AFTER_RECONNECT);
        let is_starting = self.has_reconnected && last < first + start;
        let quiet = if is_starting { start } else { self.pause };
        Some((last + quiet).min(vanished + self.pause.saturating_mul(AT_MOST)))
    }
}

#[cfg(test)]
mod tests;
