//! What a runtime does with its [`leases`](super::leases): spends from them, sends calls about them along with batches,
//! and ends them.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    LOOK_FOR_OVERDUE_EVERY,
    denial_cache::DenialCache,
    dispatch::{Dispatcher, Ticket, queue::Batch},
    leases::{Leases, Part, Spent},
};
use crate::{clock::Clock, store::StoreError};
use tollgate_core::{
    decision::{Answer, LeaseCall, Takes},
    descriptor::BucketKey,
};

/// Bounds how often leases are looked through.
const LOOK_NO_SOONER: Duration = Duration::from_millis(2);

/// A runtime that holds leases.
pub(super) trait Lessee {
    fn clock(&self) -> Clock;

    fn deadline(&self) -> Duration;

    fn leases<R>(&self, use_them: impl FnOnce(&mut Leases) -> R) -> R;

    /// Wakes senders of batches, because calls about leases are due.
    fn wake_senders(&self);

    /// Wakes [`end`] when there is a lease again.
    fn leased(&self) -> &Notify;
}

/// Decides a request from leases as far as they go, and asks the store for the rest.
pub(super) async fn take<L: Lessee>(
    lessee: &L,
    takes: Takes,
    ask: impl AsyncFnOnce(Takes) -> Result<Answer, StoreError>,
) -> Result<Answer, StoreError> {
    if takes.iter().all(|take| take.demand.lease_us == 0) {
        return ask(takes).await;
    }
    match spend(lessee, &takes) {
        Spent::All(answer) => Ok(answer),
        Spent::None => ask(takes).await,
        Spent::Part(mut part) => {
            let rest = mem::take(&mut part.rest);
            let mut set_aside = SetAside { lessee, part: Some(part) };
            let answer = ask(rest).await?;
            set_aside.settle(Some(answer)).ok_or(StoreError::Abandoned)
        }
    }
}

fn spend(lessee: &impl Lessee, takes: &Takes) -> Spent {
    let now_us = lessee.clock().now_us();
    let (spent, is_due) = lessee.leases(|leases| (leases.spend(takes, now_us), leases.has_due()));
    if is_due {
        lessee.wake_senders();
    }
    spent
}

/// Hits of leases that are spent if the store admits the rest of their request, and are put back if not, or if the caller
/// goes away.
struct SetAside<'a, L: Lessee> {
    lessee: &'a L,
    part: Option<Box<Part>>,
}

impl<L: Lessee> SetAside<'_, L> {
    fn settle(&mut self, rest: Option<Answer>) -> Option<Answer> {
        let part = self.part.take()?;
        let now_us = self.lessee.clock().now_us();
        let (answer, is_due) =
            self.lessee.leases(|leases| (leases.settle(&part, rest, now_us), leases.has_due()));
        if is_due {
            self.lessee.wake_senders();
        }
        answer
    }
}

impl<L: Lessee> Drop for SetAside<'_, L> {
    fn drop(&mut self) {
        self.settle(None);
    }
}

/// The next batch of a dispatcher, with the calls about leases that travel with it. Its server has the buckets for which
/// `is_here` holds.
pub(super) fn next_batch<T: Ticket>(
    dispatcher: &mut Dispatcher<T>,
    denial_cache: &mut DenialCache,
    leases: &mut Leases,
    is_here: impl Fn(&BucketKey) -> bool,
    now_us: u64,
) -> Option<(Batch<T>, Vec<LeaseCall>)> {
    let mut batch = dispatcher.next(denial_cache, now_us);
    let mut calls = leases.due_calls(is_here, now_us);
    if batch.is_none() && !calls.is_empty() {
        batch = dispatcher.errand(now_us);
    }
    let Some(batch) = batch else {
        leases.not_sent(&calls);
        return None;
    };
    let requests = batch.requests.iter().map(|request| &request.takes);
    calls.extend(leases.calls(requests, now_us));
    Some((batch, calls))
}

/// Reports leases when they are over, forever.
pub(super) async fn end<L: Lessee>(lessee: Arc<L>) {
    loop {
        let now_us = lessee.clock().now_us();
        let (next_us, is_due) = lessee.leases(|leases| (leases.look(now_us), leases.has_due()));
        if is_due {
            lessee.wake_senders();
        }
        match next_us {
            Some(next_us) => {
                sleep(Duration::from_micros(next_us.saturating_sub(now_us)).max(LOOK_NO_SOONER)).await
            }
            None => lessee.leased().notified().await,
        }
    }
}

/// Reports what was spent of all leases, so that the rest comes back. Returns when Redis knows, or cannot be told.
pub(super) async fn end_all(lessee: &impl Lessee) {
    let reported = async {
        // A call that was under way may have renewed a lease meanwhile.
        while has_any(lessee) {
            lessee.wake_senders();
            sleep(LOOK_NO_SOONER).await;
        }
    };
    let _ = timeout(lessee.deadline().max(LOOK_FOR_OVERDUE_EVERY), reported).await;
}

fn has_any(lessee: &impl Lessee) -> bool {
    let now_us = lessee.clock().now_us();
    lessee.leases(|leases| {
        leases.end_all(now_us);
        leases.look(now_us);
        !leases.is_empty()
    })
}
