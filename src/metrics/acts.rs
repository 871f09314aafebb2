//! Counts the acts of operators on buckets.

use prometheus::{IntCounterVec, Opts, Registry};

use super::{Metrics, registry::counters};

const ACTS: &str = "Acts on buckets by the admin port. refused: without the right token, or after too many wrong ones; the \
    log has the addresses. failed: the caller was told why.";

/// What became of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActResult {
    /// It was done.
    Done,
    /// It was not: the request is wrong, no limit applies, or the store did not answer.
    Failed,
    /// Whoever asked for it may not.
    Refused,
}

/// All series exist from the start.
pub(super) fn acts(registry: &Registry) -> IntCounterVec {
    let acts = counters(registry, Opts::new("tollgate_admin_acts_total", ACTS), &["act", "result"]);
    for act in ["peek", "reset", "grant"] {
        for result in [ActResult::Done, ActResult::Failed, ActResult::Refused] {
            let _ = acts.with_label_values(&[act, result.word()]);
        }
    }
    acts
}

impl ActResult {
    const fn word(self) -> &'static str {
        match self {
            ActResult::Done => "done",
            ActResult::Failed => "failed",
            ActResult::Refused => "refused",
        }
    }
}

impl Metrics {
    /// Counts an act of this name.
    pub fn count_act(&self, act: &'static str, result: ActResult) {
        self.acts.with_label_values(&[act, result.word()]).inc();
    }
}
