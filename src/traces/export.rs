//! The thread that sends spans.
//!
//! It looks at the queue a few times a second and is never woken, so that a request does not pay for a system call.
//! While it sends, or waits to send again, spans wait in the queue, and those beyond its bound are dropped.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    runtime,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Counts, Settings, otlp,
    span::Span,
    transport::{Sent, Transport, TransportError},
};
use crate::{
    clock::{self, Clock},
    error::{SystemError, chain},
    logging::{hourly::Hourly, short},
    tasks::{self, Task},
};

/// The pause while spans come in, and while none do.
const BUSY: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_millis(100);
/// The pause before spans are sent again, which doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long the last attempt of the process may take.
const LAST_ATTEMPT: Duration = Duration::from_millis(1_500);

struct Exporter {
    settings: Settings,
    queue: Receiver<Box<Span>>,
    counts: Arc<Counts>,
    transport: Transport,
    spans: Vec<Span>,
    /// When the spans must be sent, also if they are few.
    due: Option<Instant>,
    clock: Clock,
    failures: Hourly,
    rejections: Hourly,
    overflows: Hourly,
    told_dropped: u64,
    /// A failure was told, and not yet that it is over.
    is_told: bool,
}

/// Starts the thread. `ending` is dropped when the process is about to end and the last spans are sent.
pub(super) fn start(
    settings: Settings,
    queue: Receiver<Box<Span>>,
    counts: Arc<Counts>,
    ending: SyncSender<()>,
) -> Result<(), SystemError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let transport = Transport::new(&settings);
    let mut exporter = Exporter {
        settings,
        queue,
        counts,
        transport,
        spans: Vec::new(),
        due: None,
        clock: Clock::start(),
        failures: Hourly::new(),
        rejections: Hourly::new(),
        overflows: Hourly::new(),
        told_dropped: 0,
        is_told: false,
    };
    let run = move || {
        let _ending = ending;
        tasks::keep_here(Task::Traces, || runtime.block_on(exporter.run()));
    };
    thread::Builder::new().name("traces".to_owned()).spawn(run)?;
    Ok(())
}

// === impl Exporter ===

impl Exporter {
    /// Returns at the end of the process.
    async fn run(&mut self) {
        loop {
            let is_ending = self.is_ending();
            let before = self.spans.len();
            self.fill();
            self.tell_dropped();
            let is_due = self.due.is_some_and(|due| clock::monotonic() >= due);
            if !self.spans.is_empty() && (is_ending || is_due || self.spans.len() >= self.settings.max_batch)
            {
                self.export().await;
                continue;
            }
            if is_ending {
                return;
            }
            sleep(if self.spans.len() > before { BUSY } else { IDLE }).await;
        }
    }

    fn is_ending(&self) -> bool {
        self.counts.is_ending.load(Ordering::Relaxed)
    }

    fn fill(&mut self) {
        while self.spans.len() < self.settings.max_batch {
            match self.queue.try_recv() {
                Ok(span) => self.spans.push(*span),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if !self.spans.is_empty() && self.due.is_none() {
            self.due = Some(clock::monotonic() + self.settings.schedule_delay);
        }
    }

    /// Sends the spans, or gives them up.
    async fn export(&mut self) {
        let body = Bytes::from(otlp::encode(&self.settings.resource, &self.spans));
        let count = self.spans.len() as u64;
        // First, so that they are not sent again if something below panics.
        self.spans.clear();
        self.due = None;
        let until = clock::monotonic() + self.settings.export_timeout;
        let mut pause = FIRST_PAUSE;
        let error = loop {
            let error = match self.attempt(body.clone()).await {
                Ok(sent) => return self.is_sent(count, sent),
                Err(error) => error,
            };
            if !error.may_pass() || self.is_ending() || clock::monotonic() + pause >= until {
                break error;
            }
            self.tell_failure(&error);
            self.wait(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        self.counts.failed.fetch_add(count, Ordering::Relaxed);
        self.tell_failure(&error);
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Sent, TransportError> {
        let most = if self.is_ending() { LAST_ATTEMPT } else { self.settings.timeout };
        let sent = timeout(most, self.transport.send(body)).await;
        if sent.is_err() {
            self.transport.close();
        }
        sent.unwrap_or(Err(TransportError::TooLate(most)))
    }

    /// Waits, but not beyond the end of the process.
    async fn wait(&self, pause: Duration) {
        let until = clock::monotonic() + pause;
        while !self.is_ending() && clock::monotonic() < until {
            sleep(IDLE.min(pause)).await;
        }
    }

    // === what is told ===

    fn is_sent(&mut self, count: u64, Sent { rejected, message }: Sent) {
        let rejected = rejected.min(count);
        self.counts.exported.fetch_add(count - rejected, Ordering::Relaxed);
        self.counts.rejected.fetch_add(rejected, Ordering::Relaxed);
        let collector = &self.settings.endpoint;
        if std::mem::take(&mut self.is_told) {
            info!(%collector, "the collector takes traces again");
        }
        if (rejected > 0 || !message.is_empty())
            && let Some(times) = self.rejections.occurs(self.clock.now_us())
        {
            let why = short(message.as_bytes());
            warn!(%collector, rejected, why, times, "the collector did not take all spans of a request");
        }
    }

    fn tell_failure(&mut self, error: &TransportError) {
        let Some(times) = self.failures.occurs(self.clock.now_us()) else { return };
        self.is_told = true;
        let (collector, error) = (&self.settings.endpoint, chain(error));
        warn!(
            %collector, error, times,
            "traces cannot be sent; requests are answered as ever, and tollgate_spans_total counts what is lost"
        );
    }

    fn tell_dropped(&mut self) {
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        if dropped == self.told_dropped || self.overflows.occurs(self.clock.now_us()).is_none() {
            return;
        }
        warn!(
            dropped = dropped - self.told_dropped,
            "spans were dropped, because more are recorded than the collector takes; sample fewer requests, or raise \
             OTEL_BSP_MAX_QUEUE_SIZE"
        );
        self.told_dropped = dropped;
    }
}
