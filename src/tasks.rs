//! Restarts tasks that must not end, when they panic.
//!
//! A panic is a bug. It fails what the task was doing, such as the requests of one call to the store, and nothing else:
//! it is logged where it happens ([`logging`](crate::logging)), counted here, and the task starts again after a pause.
//! What the task shares with others must stay sound wherever the task ends; that is left to the task.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tracing::error;

use crate::clock;

/// The pause between a panic and the restart. It doubles with each panic, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A task that ran for this long before it panicked restarts after [`FIRST_PAUSE`] again.
const SETTLED: Duration = Duration::from_secs(10);

/// The tasks whose panics are counted. [`Task::name`] is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Carries requests to the store.
    StoreCalls,
    /// Gives up requests that have waited too long for the store.
    StoreQueue,
    /// Connects to the store.
    StoreConnection,
    /// Counts the replicas that share the store.
    ReplicaCount,
    /// Removes full buckets from memory.
    Sweep,
    /// Follows the configuration's files.
    Reload,
    /// Follows an xDS server.
    Xds,
    /// Collects what the live page shows.
    Live,
    /// Follows the files of TLS.
    Certificates,
    /// Waits for signals.
    Signals,
    /// Serves one client's connection. It is not restarted: the client has to connect again.
    ClientConnection,
    /// Writes the decision log.
    DecisionLog,
    /// Sends traces.
    Traces,
    /// Renders the page of metrics. It is not restarted: the scraper gets an error.
    MetricsPage,
}

static PANICS: [AtomicU64; Task::ALL.len()] = [const { AtomicU64::new(0) }; Task::ALL.len()];

impl Task {
    /// All tasks, in the order of the enum.
    pub const ALL: [Task; 14] = [
        Task::StoreCalls,
        Task::StoreQueue,
        Task::StoreConnection,
        Task::ReplicaCount,
        Task::Sweep,
        Task::Reload,
        Task::Xds,
        Task::Live,
        Task::Certificates,
        Task::Signals,
        Task::ClientConnection,
        Task::DecisionLog,
        Task::Traces,
        Task::MetricsPage,
    ];

    /// The name in metrics and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Task::StoreCalls => "store_calls",
            Task::StoreQueue => "store_queue",
            Task::StoreConnection => "store_connection",
            Task::ReplicaCount => "replica_count",
            Task::Sweep => "sweep",
            Task::Reload => "reload",
            Task::Xds => "xds",
            Task::Live => "live",
            Task::Certificates => "certificates",
            Task::Signals => "signals",
            Task::ClientConnection => "client_connection",
            Task::DecisionLog => "decision_log",
            Task::Traces => "traces",
            Task::MetricsPage => "metrics_page",
        }
    }

    /// Counts a panic of this task.
    pub fn count_panic(self) {
        PANICS[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The number of panics of this process, by the name of the task.
pub fn panics() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = PANICS.iter().map(|count| count.load(Ordering::Relaxed));
    Task::ALL.into_iter().map(Task::name).zip(counts)
}

/// Runs the future that `make` returns, and a new one after each panic, until one returns. Aborting the handle ends the
/// future too.
///
/// Panics outside a tokio runtime.
pub fn keep<F>(task: Task, mut make: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = clock::monotonic();
            // Aborts the task in it when this one is dropped.
            let mut running = JoinSet::new();
            running.spawn(make());
            match running.join_next().await {
                Some(Err(ended)) if ended.is_panic() => {}
                _ => return,
            }
            pause = next_pause(task, started.elapsed(), pause);
            sleep(pause).await;
        }
    })
}

/// Runs `run` on this thread, and again after each panic, until it returns.
pub fn keep_here(task: Task, mut run: impl FnMut()) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = clock::monotonic();
        if panic::catch_unwind(AssertUnwindSafe(&mut run)).is_ok() {
            return;
        }
        pause = next_pause(task, started.elapsed(), pause);
        thread::sleep(pause);
    }
}

/// Counts and logs a panic of a task that `ran` for this long. Returns the pause before its restart.
fn next_pause(task: Task, ran: Duration, before: Duration) -> Duration {
    task.count_panic();
    let pause = if ran >= SETTLED { FIRST_PAUSE } else { (before * 2).min(LONGEST_PAUSE) };
    error!(
        task = task.name(),
        ?pause,
        "a bug ended a task of Tollgate, which is restarted after a pause; please report it"
    );
    pause
}

/// A place at which a test may make a task panic. It costs nothing in other builds.
#[cfg(not(test))]
pub(crate) const fn may_panic(_: Task) {}

#[cfg(test)]
pub(crate) use seam::may_panic;

#[cfg(test)]
pub(crate) mod seam {
    use std::cell::RefCell;

    use super::Task;

    thread_local! {
        static ARMED: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
    }

    /// Makes this task panic the next time that it passes `may_panic` on this thread.
    pub(crate) fn arm(task: Task) {
        ARMED.with_borrow_mut(|armed| armed.push(task));
    }

    pub(crate) fn is_armed(task: Task) -> bool {
        ARMED.with_borrow(|armed| armed.contains(&task))
    }

    pub(crate) fn may_panic(task: Task) {
        let at = ARMED.with_borrow(|armed| armed.iter().position(|armed| *armed == task));
        if let Some(at) = at {
            ARMED.with_borrow_mut(|armed| armed.swap_remove(at));
            panic!("as a test wishes");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_counted_and_restarted_until_it_returns() {
        let (starts, before) = (Arc::new(AtomicUsize::new(0)), count(Task::Sweep));
        let counted = Arc::clone(&starts);
        let kept = keep(Task::Sweep, move || {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(start == 5, "not yet") }
        });
        kept.await.unwrap();
        assert_eq!(starts.load(Ordering::Relaxed), 6);
        assert!(count(Task::Sweep) >= before + 5);
    }

    #[tokio::test]
    async fn aborting_the_handle_ends_the_future_too() {
        let alive = Arc::new(());
        let held = Arc::downgrade(&alive);
        let kept = keep(Task::Sweep, move || {
            let alive = Arc::clone(&alive);
            async move {
                let _alive = alive;
                std::future::pending().await
            }
        });
        tokio::task::yield_now().await;
        kept.abort();
        while held.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_thread_goes_on_after_a_panic() {
        let mut runs = 0;
        keep_here(Task::Reload, || {
            runs += 1;
            assert!(runs == 2, "not yet");
        });
        assert_eq!(runs, 2);
    }

    #[test]
    fn counters_go_by_the_place_in_all() {
        for (at, task) in Task::ALL.into_iter().enumerate() {
            assert_eq!(task as usize, at);
        }
    }

    /// Other tests count as well.
    fn count(task: Task) -> u64 {
        PANICS[task as usize].load(Ordering::Relaxed)
    }
}
