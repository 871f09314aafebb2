//! The thread that writes the lines.
//!
//! It looks at the queue a few times a second and is never woken, so that a request does not pay for a system call.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime, select,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{info, warn};

use super::{Counts, Destination, sink::Sink};
use crate::{
    clock::Clock,
    error::SystemError,
    logging::hourly::Hourly,
    tasks::{self, Task},
};

/// The pause while lines come in, and while none do.
const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(50);
/// The pause after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// The most bytes that are written at once.
const MOST_AT_ONCE: usize = 256 << 10;

struct Writer {
    destination: Destination,
    queue: Receiver<Vec<u8>>,
    counts: Arc<Counts>,
    sink: Option<Sink>,
    /// Lines that are being written, from `written` on.
    batch: Vec<u8>,
    written: usize,
    troubles: Troubles,
}

/// What is told of failures: the first one, and then once an hour; and that they are over.
struct Troubles {
    clock: Clock,
    failures: Hourly,
    overflows: Hourly,
    told_dropped: u64,
    /// A failure was told, and not yet that it is over.
    is_told: bool,
}

/// Starts the thread. `ending` is dropped when all lines are written and no one can send any more.
pub(super) fn start(
    destination: Destination,
    queue: Receiver<Vec<u8>>,
    counts: Arc<Counts>,
    ending: SyncSender<()>,
) -> Result<(), SystemError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let reopen = {
        let _context = runtime.enter();
        signal(SignalKind::user_defined1())?
    };
    let troubles = Troubles {
        clock: Clock::start(),
        failures: Hourly::new(),
        overflows: Hourly::new(),
        told_dropped: 0,
        is_told: false,
    };
    let mut writer =
        Writer { destination, queue, counts, sink: None, batch: Vec::new(), written: 0, troubles };
    let mut reopen = reopen;
    let run = move || {
        let _ending = ending;
        tasks::keep_here(Task::DecisionLog, || runtime.block_on(writer.run(&mut reopen)));
    };
    thread::Builder::new().name("decision-log".to_owned()).spawn(run)?;
    Ok(())
}

// === impl Writer ===

impl Writer {
    /// Returns when there is nothing to write any more.
    async fn run(&mut self, reopen: &mut Signal) {
        self.open();
        loop {
            let is_over = self.fill();
            let pause = match self.write().await {
                Ok(_) if is_over => return,
                Ok(true) => BUSY,
                Ok(false) => IDLE,
                // Nobody waits for what cannot be written at the end.
                Err(_) if is_over => return,
                Err(error) => {
                    self.troubles.tell(&self.destination, error, self.counts.dropped.load(Ordering::Relaxed));
                    AGAIN
                }
            };
            select! {
                () = sleep(pause) => {}
                _ = reopen.recv() => self.reopen(),
            }
        }
    }

    fn open(&mut self) {
        match Sink::open(&self.destination) {
            Ok(sink) => self.sink = Some(sink),
            Err(error) => {
                self.troubles.tell(&self.destination, error, self.counts.dropped.load(Ordering::Relaxed));
            }
        }
    }

    fn reopen(&mut self) {
        self.sink = None;
        self.skip_begun_line();
        self.open();
        if self.sink.is_some() {
            info!(file = %self.destination, "the decision log was opened again, on SIGUSR1");
        }
    }

    /// Takes lines from the queue, unless some are still to be written. True if no more will come.
    fn fill(&mut self) -> bool {
        if self.written < self.batch.len() {
            return false;
        }
        self.batch.clear();
        self.written = 0;
        while self.batch.len() < MOST_AT_ONCE {
            match self.queue.try_recv() {
                Ok(line) => self.batch.extend_from_slice(&line),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return self.batch.is_empty(),
            }
        }
        false
    }

    /// Writes what was taken from the queue. Returns whether there was anything.
    async fn write(&mut self) -> io::Result<bool> {
        if self.written == self.batch.len() {
            return Ok(false);
        }
        if self.sink.is_none() {
            self.sink = Some(Sink::open(&self.destination)?);
        }
        while let (Some(sink), rest @ [_, ..]) = (&mut self.sink, &self.batch[self.written..]) {
            match sink.write(rest).await {
                Ok(count) => {
                    let lines = rest[..count].iter().filter(|byte| **byte == b'\n').count();
                    self.counts.written.fetch_add(lines as u64, Ordering::Relaxed);
                    self.written += count;
                }
                Err(error) => {
                    if sink.is_gone(&error) {
                        self.sink = None;
                        self.skip_begun_line();
                    }
                    return Err(error);
                }
            }
        }
        self.troubles.is_over(&self.destination, self.counts.dropped.load(Ordering::Relaxed));
        Ok(true)
    }

    /// The rest of a line is no line in another file.
    fn skip_begun_line(&mut self) {
        if self.written == 0 || self.batch.get(self.written - 1) == Some(&b'\n') {
            return;
        }
        let end = self.batch[self.written..].iter().position(|byte| *byte == b'\n');
        self.written += end.map_or(self.batch.len() - self.written, |end| end + 1);
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Troubles ===

impl Troubles {
    fn tell(&mut self, file: &Destination, error: io::Error, dropped: u64) {
        let Some(times) = self.failures.occurs(self.clock.now_us()) else { return };
        self.is_told = true;
        let error = SystemError::from(error);
        warn!(
            %file, %error, times, dropped = dropped - self.told_dropped,
            "the decision log cannot be written; it is tried again every second, requests are answered as ever, and \
             lines beyond {} are dropped",
            super::MOST_LINES
        );
        self.told_dropped = dropped;
    }

    /// The log can be written.
    fn is_over(&mut self, file: &Destination, dropped: u64) {
        let lost = dropped - self.told_dropped;
        if mem::take(&mut self.is_told) {
            info!(%file, dropped = lost, "the decision log can be written again");
            self.told_dropped = dropped;
        } else if lost > 0 {
            if self.overflows.occurs(self.clock.now_us()).is_none() {
                return;
            }
            warn!(
                %file, dropped = lost,
                "lines of the decision log were dropped, because more decisions were made than can be written; log \
                 fewer admissions, or see tollgate_decision_log_lines_total"
            );
            self.told_dropped = dropped;
        }
    }
}
