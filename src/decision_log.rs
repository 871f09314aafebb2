//! The decision log: one JSON object per line for each denial, and for one in so many admissions.
//!
//! A request never waits for the log. Its thread formats the lines and offers them to a queue that is bounded in lines
//! and in bytes; a thread of the log's own writes them. A line that finds the queue full is dropped, counted and told.
//! Whatever happens to the file, requests go on.

mod line;
mod sink;
mod writer;

use std::{
    fmt,
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use crate::{
    clock,
    error::SystemError,
    limiter::{Decision, Outcome},
    logging::names::Names,
    metrics::{Door, Metrics},
    traces::TraceId,
};
use line::Line;
use tollgate_core::{decision::Verdict, descriptor::Request};

/// The most lines that wait to be written. A line has some 400 bytes, and at most 5 kB.
const MOST_LINES: usize = 4_096;
/// How long the end of the process waits for the lines that are left.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

const LINES: &str = "Lines of the decision log. dropped: the log could not be written as fast as decisions were made; \
    the process's own log says why.";

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, to whose end they are added, or a named pipe.
    File(PathBuf),
}

/// What is logged, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the lines go.
    pub destination: Destination,
    /// One in so many admitted requests is logged. None: no admission is.
    pub admissions: Option<NonZeroU32>,
    /// Whether the lines show the values of descriptors, which clients may have chosen.
    pub show_values: bool,
    /// What names keys in the lines.
    pub names: Arc<Names>,
}

/// Takes the lines of one runtime.
#[derive(Debug)]
pub struct DecisionLog {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
    admissions: Option<NonZeroU32>,
    show_values: bool,
    names: Arc<Names>,
    /// Admitted requests since the last one that was logged.
    unlogged: AtomicU32,
}

/// The log of the process, of which each runtime gets a handle.
#[derive(Debug)]
pub struct LogThread {
    settings: Settings,
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
    /// Hangs up when the last line is written.
    ended: Receiver<()>,
}

/// The number of lines so far.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

// === impl Destination ===

impl FromStr for Destination {
    type Err = std::convert::Infallible;

    /// `-` is standard output, and anything else a path.
    fn from_str(text: &str) -> Result<Destination, Self::Err> {
        Ok(if text == "-" { Destination::Stdout } else { Destination::File(text.into()) })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("stdout"),
            Destination::File(path) => path.display().fmt(f),
        }
    }
}

// === impl LogThread ===

impl LogThread {
    /// Starts the thread that writes. From here on SIGUSR1 makes it open its file anew. A file that cannot be opened
    /// is told and tried again, forever. Fails only if the system refuses a thread or the signal.
    pub fn start(settings: Settings) -> Result<LogThread, SystemError> {
        let (lines, queue) = mpsc::sync_channel(MOST_LINES);
        let (ending, ended) = mpsc::sync_channel(1);
        let counts = Arc::<Counts>::default();
        writer::start(settings.destination.clone(), queue, Arc::clone(&counts), ending)?;
        Ok(LogThread { settings, lines, counts, ended })
    }

    /// Shows the numbers of lines on the page of metrics.
    pub fn show(&self, metrics: &Metrics) {
        let counts = Arc::clone(&self.counts);
        metrics.show_counts("tollgate_decision_log_lines_total", LINES, "result", move || {
            let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
            vec![("written", now(&counts.written)), ("dropped", now(&counts.dropped))]
        });
    }

    /// A handle, of which each runtime needs a clone.
    pub fn handle(&self) -> DecisionLog {
        let Settings { admissions, show_values, ref names, .. } = self.settings;
        let (lines, counts, names) = (self.lines.clone(), Arc::clone(&self.counts), Arc::clone(names));
        DecisionLog { lines, counts, admissions, show_values, names, unlogged: AtomicU32::new(0) }
    }

    /// Waits for the lines that are left, for a second at most. All handles must be gone.
    pub fn finish(self) {
        drop(self.lines);
        // Both an end and the time that has run out are fine.
        let _ = self.ended.recv_timeout(LAST_LINES_WITHIN);
    }
}

// === impl DecisionLog ===

impl Clone for DecisionLog {
    /// The clone counts admissions of its own.
    fn clone(&self) -> DecisionLog {
        let DecisionLog { admissions, show_values, ref names, .. } = *self;
        let (lines, counts, names) = (self.lines.clone(), Arc::clone(&self.counts), Arc::clone(names));
        DecisionLog { lines, counts, admissions, show_values, names, unlogged: AtomicU32::new(0) }
    }
}

impl DecisionLog {
    /// Logs the decisions of this request that are wanted: each that did not fit or was not made, and those of one in
    /// so many admitted requests. `trace` is looked up only if something is logged.
    pub fn note(
        &self,
        door: Door,
        request: &Request<'_>,
        outcome: &Outcome<'_>,
        trace: impl FnOnce() -> Option<TraceId>,
    ) {
        let takes_admissions = outcome.verdict == Some(Verdict::Allow) && self.is_sampled(outcome);
        let is_wanted = |decision: &&Decision<'_>| {
            takes_admissions || outcome.verdict.is_none() || decision.verdict == Verdict::Deny
        };
        let mut wanted = outcome.decisions.iter().filter(is_wanted).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let (now_us, trace) = (clock::unix_us(), trace());
        for decision in wanted {
            let descriptor = &request.descriptors[decision.descriptor];
            let names = &self.names;
            self.offer(&Line { now_us, door, request, outcome, decision, descriptor, names, trace });
        }
    }

    /// Whether this admitted request is the one in so many.
    fn is_sampled(&self, outcome: &Outcome<'_>) -> bool {
        let Some(every) = self.admissions.filter(|_| !outcome.decisions.is_empty()) else { return false };
        // Only this runtime's thread counts, so that nothing is lost between the two.
        let unlogged = self.unlogged.load(Ordering::Relaxed) + 1;
        let is_due = unlogged >= every.get();
        self.unlogged.store(if is_due { 0 } else { unlogged }, Ordering::Relaxed);
        is_due
    }

    fn offer(&self, line: &Line<'_, '_, '_>) {
        if self.lines.try_send(line.to_bytes(self.show_values)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
