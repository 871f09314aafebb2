//! What a runtime does with its [`leases`](super::leases): spends from them, sends calls about them along with batches,
//! and ends them.

use std::{mem, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    batches::LOOK_FOR_OVERDUE_EVERY,
    denial_cache::DenialCache,
    dispatch::{Dispatcher, Ticket, queue::Batch},
    leases::{Leases, Part, Spent, Whereabouts},
};
use crate::{
    clock::Clock,
    store::{Asking, StoreError},
};
use tollgate_core::{
    decision::{Answer, LeaseCall, Takes},
    descriptor::BucketKey,
    duration::micros,
};

/// Bounds how often leases are looked through.
const LOOK_NO_SOONER: Duration = Duration::from_millis(2);
/// And how seldom, while there are any: what was spent is counted then.
const LOOK_AT_LEAST_EVERY_US: u64 = 1_000_000;

/// A runtime that holds leases.
pub(super) trait Lessee {
    fn clock(&self) -> Clock;

    fn deadline(&self) -> Duration;

    fn leases<R>(&self, use_them: impl FnOnce(&mut Leases) -> R) -> R;

    /// Wakes senders of batches, because calls about leases of these buckets are due.
    fn wake_senders(&self, due: &[BucketKey]);

    /// Wakes all senders of batches, because calls about leases are due.
    fn wake_all_senders(&self) {
        self.wake_senders(&[]);
    }

    /// Wakes [`end`] when there is a lease again.
    fn leased(&self) -> &Notify;

    /// Gives an answer from a lease when it should leave, where batches follow each other closely.
    fn ride(&self, answer: Answer) -> Asking<'_> {
        Asking::answered(Ok(answer))
    }
}

/// Decides a request from leases as far as they go, and asks the store for the rest.
pub(super) fn take<'s, L: Lessee + Sync>(
    lessee: &'s L,
    takes: Takes,
    ask: impl FnOnce(Takes) -> Asking<'s>,
) -> Asking<'s> {
    if takes.iter().all(|take| take.demand.lease_us == 0) {
        return ask(takes);
    }
    let now_us = lessee.clock().now_us();
    let (spent, may_ride) = spend(lessee, &takes, now_us);
    match spent {
        Spent::All(answer) if may_ride => lessee.ride(answer),
        Spent::All(answer) => Asking::answered(Ok(answer)),
        Spent::None => ask(takes),
        Spent::Part(mut part) => {
            let rest = mem::take(&mut part.rest);
            let mut set_aside = SetAside { lessee, part: Some(part) };
            let asking = ask(rest);
            Asking::steps(async move {
                let answer = asking.await?;
                set_aside.settle(Some(answer)).ok_or(StoreError::Abandoned)
            })
        }
    }
}

/// What leases can do for a request, and whether its answer may wait for those of a batch.
fn spend(lessee: &impl Lessee, takes: &Takes, now_us: u64) -> (Spent, bool) {
    let (spent, fresh, may_ride) = lessee.leases(|leases| {
        (leases.spend(takes, now_us), Fresh::of(leases, now_us), leases.are_often_passed_by(now_us))
    });
    fresh.tell(lessee);
    (spent, may_ride)
}

/// Calls about leases that have become due.
pub(super) struct Fresh {
    due: SmallVec<[BucketKey; 1]>,
    needs_a_look: bool,
}

impl Fresh {
    pub(super) fn of(leases: &mut Leases, now_us: u64) -> Fresh {
        let needs_a_look = leases.has_fresh() && leases.needs_a_look(now_us);
        Fresh { due: leases.fresh(now_us), needs_a_look }
    }

    pub(super) fn tell(&self, lessee: &impl Lessee) {
        if !self.due.is_empty() {
            lessee.wake_senders(&self.due);
        }
        if self.needs_a_look {
            lessee.leased().notify_one();
        }
    }
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
        let (answer, fresh) =
            self.lessee.leases(|leases| (leases.settle(&part, rest, now_us), Fresh::of(leases, now_us)));
        fresh.tell(self.lessee);
        answer
    }
}

impl<L: Lessee> Drop for SetAside<'_, L> {
    fn drop(&mut self) {
        self.settle(None);
    }
}

/// The next batch of a dispatcher, with the calls about leases that travel with it; `whereabouts` says where a bucket is. If its
/// server cannot be reached, there are none: a call that is not sent stays due, and one that is sent in vain counts as lost.
pub(super) fn next_batch<T: Ticket>(
    dispatcher: &mut Dispatcher<T>,
    denial_cache: &mut DenialCache,
    leases: &mut Leases,
    is_up: bool,
    whereabouts: impl Fn(&BucketKey) -> Whereabouts,
    now_us: u64,
) -> Option<(Batch<T>, Vec<LeaseCall>)> {
    let mut batch = dispatcher.next(denial_cache, now_us);
    if !is_up {
        return Some((batch?, Vec::new()));
    }
    if let Some(batch) = &batch {
        leases.are_passed_by(now_us);
        // Legs of a request ask for no leases either.
        let whole = batch.requests.iter().filter(|request| request.ticket.is_whole());
        leases.end_unwanted(whole.map(|request| &request.takes), now_us);
    } else if !leases.has_due(now_us) || !dispatcher.has_room(now_us) {
        return None;
    }
    let mut calls = leases.due_calls(whereabouts, now_us);
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
        let (next_us, has_due) = lessee.leases(|leases| (leases.look(now_us), leases.has_due(now_us)));
        if has_due {
            lessee.wake_all_senders();
        }
        let until_us = next_us.map(|next_us| next_us.min(now_us + LOOK_AT_LEAST_EVERY_US));
        let leased = lessee.leased().notified();
        match until_us {
            // A lease that is granted meanwhile may end sooner.
            Some(until_us) => {
                let _ = timeout(Duration::from_micros(until_us.saturating_sub(now_us)), leased).await;
                sleep(LOOK_NO_SOONER).await;
            }
            None => leased.await,
        }
    }
}

/// Reports what was spent of all leases, so that the rest comes back. Returns when Redis knows, or cannot be told.
pub(super) async fn end_all(lessee: &impl Lessee) {
    let patience_us = micros(lessee.deadline().max(LOOK_FOR_OVERDUE_EVERY));
    let (mut fewest, mut since_us) = (usize::MAX, lessee.clock().now_us());
    let mut unreported = Unreported(0);
    loop {
        let now_us = lessee.clock().now_us();
        // A call that was under way may have renewed a lease meanwhile.
        unreported.0 = lessee.leases(|leases| leases.end_all(now_us));
        if unreported.0 < fewest {
            (fewest, since_us) = (unreported.0, now_us);
        }
        if unreported.0 == 0 || now_us.saturating_sub(since_us) > patience_us {
            return;
        }
        lessee.wake_all_senders();
        sleep(LOOK_NO_SOONER).await;
    }
}

/// Warns of leases that are not reported when it is dropped, also if the process does not wait any longer.
struct Unreported(usize);

impl Drop for Unreported {
    fn drop(&mut self) {
        let Unreported(count) = self;
        if *count > 0 {
            warn!(
                "{count} leases could not be reported to Redis before the end: their hits count as spent. \
                 See docs/leases.md"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        iter,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::*;
    use crate::store::redis::denial_cache::Trip;
    use tollgate_core::{
        decision::{Demand, State, Take, lease},
        descriptor::Hits,
        limit::{LimitSpec, Unit},
    };

    struct Test {
        clock: Clock,
        leases: Mutex<Leases>,
        first_woken_us: AtomicU64,
        leased: Notify,
    }

    impl Lessee for Test {
        fn clock(&self) -> Clock {
            self.clock
        }

        fn deadline(&self) -> Duration {
            Duration::from_millis(10)
        }

        fn leases<R>(&self, use_them: impl FnOnce(&mut Leases) -> R) -> R {
            use_them(&mut self.leases.lock().unwrap())
        }

        fn wake_senders(&self, _: &[BucketKey]) {
            let now_us = self.clock.now_us();
            let _ = self.first_woken_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed);
        }

        fn leased(&self) -> &Notify {
            &self.leased
        }
    }

    impl Test {
        fn lease(&self, number: u8, lease_us: u32, table: &mut HashMap<BucketKey, State>) {
            let limit = LimitSpec { lease_us, ..LimitSpec::new(10_000, Unit::Second) }.check().unwrap();
            let take =
                Take { key: BucketKey::from_bytes([number; 16]), demand: Demand::new(Hits::One, &limit) };
            let takes: Takes = iter::once(take).collect();
            let now_us = self.clock.now_us();
            self.leases(|leases| {
                let calls = leases.calls(iter::repeat_n(&takes, 1_000), now_us);
                let granted = lease(&calls[0], now_us, table).unwrap();
                leases.landed(&calls[0], Some(&granted), Trip { sent_us: now_us, arrived_us: now_us + 100 });
            });
            self.leased.notify_one();
        }
    }

    #[tokio::test]
    async fn a_short_lease_is_reported_while_a_long_one_lasts() {
        let test = Arc::new(Test {
            clock: Clock::start(),
            leases: Mutex::default(),
            first_woken_us: AtomicU64::new(0),
            leased: Notify::new(),
        });
        let ending = tokio::spawn(end(Arc::clone(&test)));
        let mut table = HashMap::new();
        test.lease(1, 10_000_000, &mut table);
        sleep(Duration::from_millis(50)).await;
        test.lease(2, 100_000, &mut table);
        let since_us = test.clock.now_us();
        let woken = async {
            while test.first_woken_us.load(Ordering::Relaxed) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), woken).await.expect("it is reported before the long one ends");
        ending.abort();
        println!("after {} us", test.first_woken_us.load(Ordering::Relaxed) - since_us);
    }
}
