//! Whether what a rule limits is charged after the response, as the requests for it show.
//!
//! Nothing that Envoy sends marks a charge at the end of a stream. But a rule that is charged then is asked twice for
//! each request: first for 0 hits, which only looks, and later for what the response came to. A [`Billing`] remembers
//! which of the two the last 64 demands were.
//!
//! It is a guess by this process alone, from what reached it since it started: until the first peek no rule is
//! post-paid.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a rule was asked lately. A rule whose hits are at times stated as 0 is not post-paid for that: peeks must be at
/// least half as many as charges.
#[derive(Debug, Default)]
pub struct Billing {
    // Each demand shifts both words by one place, and sets the lowest bit of one. Two threads may shift the words in
    // different orders; each word still has every demand once, so the counts are right when both are done.
    peeks: AtomicU64,
    charges: AtomicU64,
}

/// A demand that shows how a rule is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It only looks, or takes a placeholder for a charge that comes later.
    Peek,
    /// It takes hits whose number the request states.
    Charge,
}

// === impl Billing ===

impl Billing {
    /// Whether the rule counts as charged after the response: of the demands that are remembered at least one was a
    /// peek, and twice the peeks are no fewer than the charges.
    pub fn is_post_paid(&self) -> bool {
        let [peeks, charges] = self.counts();
        peeks > 0 && 2 * peeks >= charges
    }

    /// Whether no demand has shown anything yet.
    pub fn is_unknown(&self) -> bool {
        self.counts() == [0, 0]
    }

    /// Remembers one demand, and forgets the oldest of 64.
    pub fn note(&self, sign: Sign) {
        shift(&self.peeks, u64::from(sign == Sign::Peek));
        shift(&self.charges, u64::from(sign == Sign::Charge));
    }

    /// Remembers what another one does, and nothing else. For rules that replace others.
    pub fn copy(&self, from: &Billing) {
        self.peeks.store(from.peeks.load(Relaxed), Relaxed);
        self.charges.store(from.charges.load(Relaxed), Relaxed);
    }

    fn counts(&self) -> [u32; 2] {
        [&self.peeks, &self.charges].map(|word| word.load(Relaxed).count_ones())
    }
}

/// Two limits are the same however they were asked.
impl PartialEq for Billing {
    fn eq(&self, _: &Billing) -> bool {
        true
    }
}

impl Eq for Billing {}

fn shift(word: &AtomicU64, bit: u64) {
    // A word that stays the same is not written, so that the cores need not hand it to each other: a rule that is only
    // ever charged costs no write.
    let shifted = |word: u64| Some(word << 1 | bit).filter(|next| *next != word);
    let _ = word.fetch_update(Relaxed, Relaxed, shifted);
}

#[cfg(test)]
mod tests;
