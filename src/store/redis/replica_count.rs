//! Counts the replicas that share this Redis: when it connects, and then every two seconds, each replica reports in one
//! sorted set that it lives, and counts the others.
//!
//! The count is for local answers, so it must not be too low. A higher count takes effect at once, and a lower one
//! only after three looks in a row have shown it, so that an emptied set never makes a replica think that it is
//! alone. During an outage the last count holds.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::cmd;
use tokio::time::{sleep, timeout};

use super::{cluster::Runtime, line::Line};
use crate::tasks::{self, Task};

const SCRIPT: &str = include_str!("../../../lua/replica_count.lua");
const KEY: &str = "tg:replicas";
const EVERY: Duration = Duration::from_secs(2);
/// The time between looks until a count is known: replicas that start together have reported by then.
const SOON: Duration = Duration::from_millis(250);
/// A replica that has not reported for this long is gone: it failed to report three times in a row.
const HOLDS: Duration = Duration::from_secs(7);
/// The time for the answer. It may be long, since no request waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of looks in a row that must show a lower count.
const LOOKS: u32 = 3;

/// The count of this process, which all its runtimes share.
#[derive(Debug)]
pub struct ReplicaCount {
    name: String,
    /// 0: not known yet.
    replicas: AtomicU32,
    /// Whether a runtime of the process already does the counting.
    is_taken: AtomicBool,
}

/// The line over which a runtime reaches what all replicas share.
pub(super) enum Reach {
    One(Arc<Line>),
    /// That to the master which holds the key.
    Cluster(Arc<Runtime>),
}

/// What the looks so far have shown.
#[derive(Debug, Default)]
struct Looks {
    known: u32,
    /// The largest count of the looks in a row that showed fewer replicas, and the number of these looks.
    lower: u32,
    in_row: u32,
}

// === impl ReplicaCount ===

impl Default for ReplicaCount {
    fn default() -> ReplicaCount {
        let name = format!("{:016x}", rand::random::<u64>());
        ReplicaCount { name, replicas: AtomicU32::new(0), is_taken: AtomicBool::new(false) }
    }
}

impl ReplicaCount {
    /// The number of replicas; none until the first looks.
    pub fn replicas(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.replicas.load(Ordering::Relaxed))
    }

    /// Whether no runtime of the process counts yet. If so, the caller must count from now on.
    pub(super) fn is_free(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
    }

    /// Counts forever.
    pub(super) async fn count(self: Arc<Self>, reach: Reach) {
        let mut looks = Looks::default();
        if let Reach::One(line) = &reach {
            line.up().await;
        }
        loop {
            tasks::may_panic(Task::ReplicaCount);
            // A failed look shows nothing, not even that there are fewer replicas.
            if let Some(line) = reach.line(KEY)
                && let Some(count) = self.look(&line).await
            {
                looks.see(count);
                self.replicas.store(looks.known, Ordering::Relaxed);
            }
            sleep(if looks.known == 0 { SOON } else { EVERY }).await;
        }
    }

    async fn look(&self, line: &Line) -> Option<u32> {
        let mut connection = line.connection()?;
        let holds_ms = u64::try_from(HOLDS.as_millis()).unwrap_or(u64::MAX);
        let mut command = cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(KEY).arg(&self.name).arg(holds_ms);
        match timeout(PATIENCE, command.query_async::<u32>(&mut connection.dialled.inner)).await.ok()? {
            Ok(count) => (count > 0).then_some(count),
            Err(error) => {
                line.note(connection.number, &error);
                None
            }
        }
    }
}

// === impl Reach ===

impl Reach {
    /// The line to the master of this key; none at the moment.
    pub(super) fn line(&self, key: &str) -> Option<Arc<Line>> {
        match self {
            Reach::One(line) => Some(Arc::clone(line)),
            Reach::Cluster(runtime) => runtime.line_of_key(key),
        }
    }
}

// === impl Looks ===

impl Looks {
    fn see(&mut self, count: u32) {
        if self.known > 0 && count >= self.known {
            (self.known, self.lower, self.in_row) = (count, 0, 0);
            return;
        }
        self.lower = self.lower.max(count);
        self.in_row += 1;
        // At first no count is known, and the other replicas may not have reported yet.
        let enough = if self.known == 0 { LOOKS - 1 } else { LOOKS };
        if self.in_row >= enough {
            (self.known, self.lower, self.in_row) = (self.lower, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Looks;

    fn known_after(counts: &[u32]) -> u32 {
        let mut looks = Looks::default();
        counts.iter().for_each(|count| looks.see(*count));
        looks.known
    }

    #[test]
    fn the_first_count_is_known_after_all_replicas_have_had_time_to_report() {
        assert_eq!(known_after(&[1]), 0);
        assert_eq!(known_after(&[1, 3]), 3);
    }

    #[test]
    fn more_replicas_count_at_once_and_fewer_after_three_looks() {
        assert_eq!(known_after(&[2, 2, 5]), 5);
        assert_eq!(known_after(&[3, 3, 1, 1]), 3);
        assert_eq!(known_after(&[3, 3, 1, 1, 1]), 1);
        assert_eq!(known_after(&[3, 3, 1, 2, 1]), 2, "the largest of them");
        assert_eq!(known_after(&[3, 3, 1, 1, 3, 1, 1]), 3, "in a row");
    }
}
