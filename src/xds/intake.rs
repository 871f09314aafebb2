//! Takes answers in: from the bytes of an answer to rules in force, or to the words of a refusal.

use std::{collections::HashSet, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::{
    answer::{Answer, TYPE_URL},
    convert::{Converted, Unsaid, convert},
    fault::{Fault, Faults},
    settling::Settling,
};
use crate::{config::shorten, protocol::wire::Malformed, reload, rules::Publisher};

/// The most warnings that are logged of one answer.
const MOST_TOLD: usize = 50;

/// What the server is told about its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Accept {
        version: String,
        nonce: String,
    },
    Refuse {
        nonce: String,
        message: String,
    },
    /// The answer is not for us.
    Nothing,
}

/// Outlives streams.
#[derive(Debug)]
pub(super) struct Intake {
    unsaid: Unsaid,
    publisher: Arc<Publisher>,
    settling: Settling,
    /// Becomes true when an answer was taken.
    has_rules: watch::Sender<bool>,
    /// The warnings of the last answer that was taken, so that none is repeated with each.
    warned: HashSet<Fault>,
    /// The refusal that was logged last.
    refused: String,
}

// === impl Intake ===

impl Intake {
    pub(super) fn new(unsaid: Unsaid, settling: Settling, publisher: Arc<Publisher>) -> Intake {
        let (warned, refused) = (HashSet::new(), String::new());
        Intake { unsaid, publisher, settling, has_rules: watch::Sender::new(false), warned, refused }
    }

    pub(super) fn has_rules(&self) -> watch::Receiver<bool> {
        self.has_rules.subscribe()
    }

    /// Puts the rules of an answer in force, if nothing is wrong with it. Fails if it is no answer at all.
    pub(super) fn take(&mut self, now: Instant, message: &Bytes) -> Result<Reply, Malformed> {
        let answer = Answer::read(message)?;
        if answer.type_url != TYPE_URL {
            let found = shorten(&answer.type_url);
            warn!(%found, "the xDS server has sent resources that nobody asked for; they are ignored");
            return Ok(Reply::Nothing);
        }
        let converted = convert(&answer, self.unsaid);
        let Answer { version, nonce, .. } = answer;
        Ok(match converted {
            Ok(converted) => {
                self.accept(now, converted, &version);
                Reply::Accept { version, nonce }
            }
            Err(faults) => {
                self.settling.answered(now);
                let message = faults.to_string();
                self.refuse(&faults, &version);
                Reply::Refuse { nonce, message }
            }
        })
    }

    /// When [`Intake::settle`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.settling.due()
    }

    /// Drops the domains that are gone for good.
    pub(super) fn settle(&mut self, now: Instant) {
        let gone = self.settling.settle(now);
        if gone.is_empty() {
            return;
        }
        for domain in gone.iter().take(MOST_TOLD) {
            info!(domain = shorten(domain), "the xDS server no longer has this domain: its limits are gone");
        }
        self.put_in_force();
    }

    pub(super) fn disconnected(&mut self) {
        self.settling.disconnected();
    }

    fn accept(&mut self, now: Instant, Converted { domains, warnings }: Converted, version: &str) {
        self.warn_of(&warnings);
        let is_changed = self.settling.take(now, domains);
        let is_first = !self.has_rules.send_replace(true);
        for domain in self.settling.vanished_at(now).take(MOST_TOLD) {
            info!(
                domain = shorten(domain),
                "the xDS server has not sent this domain; its limits stay until that has settled"
            );
        }
        let gone = self.settling.settle(now);
        if is_changed || is_first || !gone.is_empty() {
            self.put_in_force();
        } else {
            debug!(version = shorten(version), "the answer of the xDS server changes nothing");
        }
        self.refused.clear();
        self.publisher.count_taken();
    }

    fn put_in_force(&self) {
        reload::put_in_force(self.settling.domains(), &self.publisher);
    }

    fn refuse(&mut self, faults: &Faults, version: &str) {
        self.publisher.count_refused(faults.iter().map(ToString::to_string));
        let errors = faults.to_string();
        // A server may send the same again after each refusal.
        if errors != self.refused {
            let meanwhile =
                if *self.has_rules.borrow() { "the last good ones stay" } else { "there are none so far" };
            error!(version = shorten(version), %errors, "the rules of the xDS server were refused; {meanwhile}");
            self.refused = errors;
        }
    }

    fn warn_of(&mut self, warnings: &Faults) {
        let new: Vec<&Fault> = warnings.iter().filter(|warning| !self.warned.contains(warning)).collect();
        for warning in new.iter().take(MOST_TOLD) {
            warn!("{warning}");
        }
        if new.len() > MOST_TOLD {
            warn!("{} more warnings about the rules of the xDS server", new.len() - MOST_TOLD);
        }
        self.warned = warnings.iter().cloned().collect();
    }
}
