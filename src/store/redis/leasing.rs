//! What a runtime does with its [`leases`](super::leases): spends from them, and ends them.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    LOOK_FOR_OVERDUE_EVERY, Queues, RedisStore, Runtime,
    leases::{Part, Spent},
};
use tollgate_core::decision::{Answer, Takes};

/// Bounds how often leases are looked through.
const LOOK_NO_SOONER: Duration = Duration::from_millis(2);

impl RedisStore {
    /// Reports what was spent of all leases, so that the rest comes back. Returns when Redis knows, or cannot be told.
    pub async fn end_leases(&self) {
        let now_us = self.runtime.clock.now_us();
        let has_any = self.runtime.queues.with(|Queues { leases, .. }| {
            leases.end_all(now_us);
            !leases.is_empty()
        });
        if !has_any {
            return;
        }
        self.runtime.queued.notify_one();
        let reported = async {
            while self.runtime.queues.with(|Queues { leases, .. }| {
                // A call that was under way may have renewed one meanwhile.
                let now_us = self.runtime.clock.now_us();
                leases.end_all(now_us);
                leases.look(now_us);
                !leases.is_empty()
            }) {
                self.runtime.queued.notify_one();
                sleep(LOOK_NO_SOONER).await;
            }
        };
        let _ = timeout(self.runtime.deadline.max(LOOK_FOR_OVERDUE_EVERY), reported).await;
    }
}

impl Runtime {
    pub(super) fn spend(&self, takes: &Takes) -> Spent {
        let now_us = self.clock.now_us();
        let (spent, is_due) = self.queues.with(|Queues { leases, .. }| {
            let spent = leases.spend(takes, now_us);
            (spent, leases.has_due())
        });
        if is_due {
            self.queued.notify_one();
        }
        spent
    }
}

/// Hits of leases that are spent if the store admits the rest of their request, and are put back if not, or if the caller
/// goes away.
pub(super) struct SetAside<'a> {
    runtime: &'a Runtime,
    part: Option<Box<Part>>,
}

impl SetAside<'_> {
    pub(super) fn new(runtime: &Runtime, part: Box<Part>) -> SetAside<'_> {
        SetAside { runtime, part: Some(part) }
    }

    pub(super) fn settle(&mut self, rest: Option<Answer>) -> Option<Answer> {
        let part = self.part.take()?;
        let now_us = self.runtime.clock.now_us();
        let (answer, is_due) = self.runtime.queues.with(|Queues { leases, .. }| {
            let answer = leases.settle(&part, rest, now_us);
            (answer, leases.has_due())
        });
        if is_due {
            self.runtime.queued.notify_one();
        }
        answer
    }
}

impl Drop for SetAside<'_> {
    fn drop(&mut self) {
        self.settle(None);
    }
}

/// Reports leases when they are over, forever.
pub(super) async fn end(runtime: Arc<Runtime>) {
    loop {
        let now_us = runtime.clock.now_us();
        let (next_us, is_due) =
            runtime.queues.with(|Queues { leases, .. }| (leases.look(now_us), leases.has_due()));
        if is_due {
            runtime.queued.notify_one();
        }
        match next_us {
            Some(next_us) => {
                sleep(Duration::from_micros(next_us.saturating_sub(now_us)).max(LOOK_NO_SOONER)).await
            }
            None => runtime.leased.notified().await,
        }
    }
}
