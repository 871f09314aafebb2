//! What the live page shows: each second of this process, and what happened lately.
//!
//! A thread of its own looks once a second: at the counters that exist anyway, at the keys that each runtime noted
//! ([`Recorder`]), and at the store, the rules and the replicas. Readers get the last second as JSON
//! ([`Live::second`]), which is written once for all of them and only if there is one; events are kept for readers that
//! come later ([`Live::events`]). All of it is bounded, for any number of rules, keys and readers. The wire is left to
//! [`admin`](crate::admin), and docs/live.md describes the JSON.

mod course;
mod events;
mod happenings;
mod history;
mod keys;
mod limiter;
mod message;
mod recorder;
mod replicas;
mod rows;
mod sharing;
mod sketch;
mod watched;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock::{self, Clock},
    error::SystemError,
    logging::names::Names,
    metrics::{Counts, RowId},
    replica,
    tasks::{self, Task},
};
use events::Events;
pub use events::{MOST_EVENTS, Page};
use happenings::Happenings;
use keys::{Fullness, Keys};
use limiter::Limiter;
pub use limiter::{RedisSources, Sources};
pub use message::Extent;
use message::Written;
use recorder::Notes;
pub use recorder::{MOST_SHOWN_BYTES, Recorder, Values};
use replicas::{Others, Wanted};
pub use rows::MOST_SHOWN;
use rows::Rows;
use tollgate_core::descriptor::BucketKey;
pub use watched::{Asked, Look, Looked, LookedLimit, MOST_ASKED_BYTES, Points, Watch};

/// The most readers at once.
pub const MOST_READERS: usize = 100;

const SECOND_US: u64 = 1_000_000;

/// The seconds of this process, shared by all who read or add to them.
pub struct Live {
    sources: Sources,
    values: Values,
    /// The name of this process among the replicas.
    replica: &'static str,
    started_us: u64,
    clock: Clock,
    names: Arc<Names>,
    recorders: Mutex<Vec<Weak<Recorder>>>,
    connections: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    state: Mutex<State>,
    events: Mutex<Events>,
    /// The number of the second that ended last.
    ended: watch::Sender<u64>,
    readers: AtomicUsize,
    look: OnceLock<Look>,
    watches: Mutex<Vec<Weak<Watch>>>,
    /// The rules whose top keys readers want.
    tops: Mutex<Vec<Weak<(String, String)>>>,
}

/// What the collector knows.
#[derive(Debug, Default)]
struct State {
    rows: Rows,
    keys: Keys,
    fullness: HashMap<RowId, Fullness>,
    limiter: Limiter,
    happenings: Happenings,
    /// The tables that the runtimes get next.
    notes: Vec<Notes>,
    sum: Counts,
    /// The hits that were taken under keys that are watched.
    counted: HashMap<BucketKey, u64>,
    /// The same, by this process.
    own_counted: HashMap<BucketKey, u64>,
    others: Others,
    /// What readers of any replica want.
    wanted: Wanted,
    second: u64,
    now_us: u64,
    /// The number of the newest event when the second before ended.
    told: u64,
    written: Written,
}

/// The thread that collects. It ends when this is dropped.
#[derive(Debug)]
pub struct Collector {
    // Dropped first, which ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One reader of the seconds. It counts as one until it is dropped.
#[derive(Debug)]
pub struct Reader {
    live: Arc<Live>,
    ended: watch::Receiver<u64>,
}

// === impl Live ===

impl Live {
    /// Seconds of these sources; none is collected yet.
    pub fn new(sources: Sources, values: Values) -> Live {
        let started_us = clock::unix_us();
        Live {
            sources,
            values,
            replica: replica::name(),
            started_us,
            clock: Clock::start(),
            names: Arc::new(Names::new()),
            recorders: Mutex::default(),
            connections: OnceLock::new(),
            state: Mutex::default(),
            events: Mutex::new(Events::new(started_us)),
            ended: watch::Sender::new(0),
            readers: AtomicUsize::new(0),
            look: OnceLock::new(),
            watches: Mutex::default(),
            tops: Mutex::default(),
        }
    }

    /// Collects on a thread of its own until the collector is dropped. Fails if the thread cannot be started.
    pub fn collect(self: &Arc<Live>) -> Result<Collector, SystemError> {
        let (stop, stopped) = mpsc::channel();
        let live = Arc::clone(self);
        let until_end = |now_us| Duration::from_micros(SECOND_US - now_us % SECOND_US);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(until_end(live.clock.now_us())) {
                live.tick();
            }
        };
        let thread = thread::Builder::new()
            .name("live".to_owned())
            .spawn(move || tasks::keep_here(Task::Live, run))?;
        Ok(Collector { stop: Some(stop), thread: Some(thread) })
    }

    /// The notes of one more runtime.
    pub fn recorder(&self) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder::new(self.values));
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.push(Arc::downgrade(&recorder));
        recorder
    }

    /// Tells how many connections are open. Only the first call counts.
    pub fn counting_connections(&self, open: impl Fn() -> usize + Send + Sync + 'static) {
        // A second server of the same process would be a test.
        let _ = self.connections.set(Box::new(open));
    }

    /// Looks at keys like this. Only the first call counts.
    #[must_use]
    pub fn looking(self, look: Look) -> Live {
        let _ = self.look.set(look);
        self
    }

    /// One more reader; none if there are [`MOST_READERS`] already.
    pub fn reader(self: &Arc<Live>) -> Option<Reader> {
        let more = |readers: usize| (readers < MOST_READERS).then_some(readers + 1);
        self.readers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let mut ended = self.ended.subscribe();
        // The first message is of the last second that has ended, if one has.
        ended.mark_unchanged();
        if *ended.borrow() > 0 {
            ended.mark_changed();
        }
        Some(Reader { live: Arc::clone(self), ended })
    }

    /// The events after the one with this number, at most `limit`; without a number, all that are kept.
    pub fn events(&self, after: Option<u64>, limit: usize) -> Page {
        self.kept_events().page(after, limit, self.replica, &self.names)
    }

    /// Ends a second.
    fn tick(&self) {
        tasks::may_panic(Task::Live);
        let mut state = self.state();
        let state = &mut *state;
        state.now_us = self.clock.now_us();
        state.second = (state.now_us / SECOND_US).max(state.second + 1);
        let counters = self.sources.metrics.counters();
        let board = self.sources.redis.as_ref().map(|redis| &redis.board);
        let read = board.map(|board| board.take_others()).unwrap_or_default();
        state.others.tick(state.now_us, self.replica, read);
        state.rows.tick(&counters, &state.others, state.now_us);
        state.sum = state.rows.sum();
        drop(counters);
        state.limiter.tick(&self.sources.metrics);

        let recorders = self.living_recorders();
        state.notes.resize_with(recorders.len(), Notes::default);
        for (recorder, notes) in recorders.iter().zip(&mut state.notes) {
            recorder.exchange(notes);
        }
        let turns = state.keys.tick(state.second, state.notes.iter_mut());
        for notes in &mut state.notes {
            notes.sketch.clear();
            notes.texts.clear();
        }
        state.count();
        let metrics = &self.sources.metrics;
        state.fullness = state.keys.fullness(&|burst| metrics.near_border(burst));

        let mut events = self.kept_events();
        state.told = events.newest();
        state.happenings.tick(&self.sources, state.now_us, &mut events);
        happenings::tell_denials(turns, &state.rows, state.now_us, &mut events);
        drop(events);
        if let Some(board) = board {
            self.put_up(board, state);
        }
        self.ended.send_replace(state.second);
    }

    fn living_recorders(&self) -> Vec<Arc<Recorder>> {
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|recorder| recorder.strong_count() > 0);
        recorders.iter().filter_map(Weak::upgrade).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("replica", &self.replica).finish_non_exhaustive()
    }
}

// === impl Reader, Collector ===

impl Reader {
    /// Returns when a second has ended that this reader has not been told of. A reader that is slow misses some.
    pub async fn second_ended(&mut self) {
        // The sender lives as long as this reader does.
        let _ = self.ended.changed().await;
        self.ended.mark_unchanged();
    }

    /// The seconds that it reads.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was logged when it happened.
            let _ = thread.join();
        }
    }
}
