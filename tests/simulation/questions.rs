//! Requests that wait for the calls of other runtimes of their process, and threads that stop while others wait for
//! their calls.

use rand::RngExt;

use super::{
    Broken,
    plan::MS,
    world::{Event, World},
};

// The promised numbers, not the constants of the code, which might be wrong.
const WAITS_NS: u64 = 10 * MS;
const MOST_QUESTIONS: usize = 2;
/// A timer and a task are late by less than this.
const LATE_NS: u64 = 2 * MS;

/// How a request waits for other runtimes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Since when nothing else has held it back.
    since_ns: Option<u64>,
    /// It waits for one of these batches.
    batches: Vec<usize>,
    /// For how many calls it has waited, at least.
    questions: usize,
}

impl World<'_> {
    // === waiting ===

    /// Whether a request may wait for a batch that another runtime of its process has under way.
    pub(super) fn waits_elsewhere(&mut self, runtime: usize, request: usize, asked: &[usize]) -> bool {
        let others = self.others_of_its_process(runtime);
        let under_way = others.iter().flat_map(|other| &self.runtimes[*other].under_way);
        let asks = |sent: &&usize| {
            let mut empty = self.sent_batches[**sent].empty.iter();
            empty.any(|(_, bucket)| asked.contains(bucket) && self.knows_empty(runtime, *bucket))
        };
        let mut batches: Vec<usize> = under_way.filter(asks).copied().collect();
        let waited_ns = self.now_ns - self.requests[request].asked_ns;
        let waits = &mut self.requests[request].elsewhere;
        if batches.iter().any(|batch| waits.batches.contains(batch)) {
            batches.retain(|batch| waits.batches.contains(batch));
        } else {
            waits.questions += 1;
        }
        waits.batches = batches;
        waits.since_ns = waits.since_ns.or(Some(self.now_ns));
        !waits.batches.is_empty() && waits.questions <= MOST_QUESTIONS && waited_ns < with_drift(WAITS_NS)
    }

    /// A request of its own runtime holds it back.
    pub(super) fn waits_here(&mut self, request: usize) {
        self.requests[request].elsewhere.since_ns = None;
    }

    /// A request is sent or answered: if nothing but another runtime held it back, it was not for long.
    pub(super) fn waited_rightly(&self, request: usize) -> Result<(), Broken> {
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        let state = &self.runtimes[runtime];
        let Some(since_ns) = record.elsewhere.since_ns else { return Ok(()) };
        let is_free =
            state.under_way.is_empty() && state.landed_ns.is_none_or(|landed_ns| landed_ns < since_ns);
        let waited_ns = self.now_ns - record.asked_ns;
        let most_ns =
            with_drift(WAITS_NS) + LATE_NS + 1_000 * self.stopped_since_us(runtime, record.asked_ns);
        if is_free && waited_ns > most_ns {
            let detail = format!("request {request} waited for {} µs", waited_ns / 1_000);
            let promise = "another runtime holds up a request for 10 ms at most";
            return Err(Broken::new(promise, record.wishes[0].bucket, detail));
        }
        Ok(())
    }

    /// As the timers of idle slots in `store/redis/batches.rs` do.
    pub(super) fn look_again_later(&mut self, runtime: usize) {
        let Some(at_us) = self.runtimes[runtime].dispatcher.looks_again_us() else { return };
        let at_ns = self.plan.runtimes[runtime].clock.shows_ns(at_us);
        let late_ns = self.weather.random_range(1_000..MS);
        let life = self.runtimes[runtime].life;
        self.schedule(at_ns.saturating_sub(self.now_ns) + late_ns, Event::LookAgain { runtime, life });
    }

    pub(super) fn look_again(&mut self, runtime: usize) -> Result<(), Broken> {
        match self.runtimes[runtime].idle.checked_sub(1) {
            Some(idle) => {
                self.runtimes[runtime].idle = idle;
                self.next_batch(runtime)
            }
            None => Ok(()),
        }
    }

    // === threads that stop ===

    /// A batch was sent: its runtime may not get on for a while.
    pub(super) fn may_stop(&mut self, runtime: usize) {
        if self.weather.random_bool(self.plan.network.stopped) {
            let goes_on_ns = self.now_ns + self.weather.random_range(self.plan.network.stop_ns.clone());
            self.runtimes[runtime].stops.push((self.now_ns, goes_on_ns));
            self.journal.note_all(self.now_ns, || format!("runtime {runtime} stops until {goes_on_ns}"));
        }
    }

    /// When the runtime goes on that this event needs, if it has stopped.
    pub(super) fn stopped_until(&self, event: Event) -> Option<u64> {
        let of_client = |client: usize| self.plan.clients[client].runtime;
        let runtime = match event {
            Event::Demand { client } => of_client(client),
            Event::Cancel { request } => of_client(self.requests[request].client),
            Event::NextBatch { runtime, .. }
            | Event::LookAgain { runtime, .. }
            | Event::GiveUpOverdue { runtime } => runtime,
            Event::Reply { sent, .. } | Event::Deadline { sent, .. } => self.sent_batches[sent].runtime,
            Event::Arrive { .. } | Event::Execute { .. } | Event::Disturb { .. } => return None,
        };
        let (_, goes_on_ns) = *self.runtimes[runtime].stops.last()?;
        (goes_on_ns > self.now_ns).then_some(goes_on_ns)
    }

    /// For how long a runtime has stopped since then.
    pub(super) fn stopped_since_us(&self, runtime: usize, since_ns: u64) -> u64 {
        let stops = self.runtimes[runtime].stops.iter();
        let stopped_ns = stops.map(|(from_ns, to_ns)| to_ns.saturating_sub(since_ns.max(*from_ns)));
        stopped_ns.sum::<u64>().div_ceil(1_000)
    }
}

/// The longest time in which a clock that may run slow shows that this has passed.
fn with_drift(ns: u64) -> u64 {
    ns * 1_001 / 1_000 + 1_000
}
