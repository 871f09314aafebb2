//! Traces: a span for each request that is recorded, and one for each batch of such requests, sent by OTLP.
//!
//! A request never waits for this. It hands its span to a bounded queue, and a thread of its own encodes the spans and
//! sends them to a collector. A span that finds the queue full is dropped; a collector that is away or refuses costs
//! spans. Both are counted and told.
//!
//! The formats are small and stable, so they stand here and in `proto/opentelemetry`, and no SDK is used; see
//! `docs/decisions.md`.

mod context;
mod export;
mod otlp;
mod parent;
mod sampler;
mod span;
mod transport;

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{certificates::ClientTls, clock, error::SystemError};
pub use context::{SpanContext, TraceId};
pub use parent::Propagators;
pub use sampler::{Ratio, Sampler};
use span::Span;
pub use span::{Kind, Started, Value};
use tollgate_core::duration::micros;

/// The most links of a span, as OpenTelemetry has it by default.
const MOST_LINKS: usize = 128;
/// How long the end of the process waits for the spans that are left.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// How spans reach the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A POST of the message, by HTTP/1.1.
    Http,
    /// A call of `TraceService/Export`.
    Grpc,
}

/// Where the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of a POST; gRPC has its own.
    pub path: String,
    /// None: plain text.
    pub tls: Option<ClientTls>,
}

/// What is recorded, and where it goes.
#[derive(Clone)]
pub struct Settings {
    /// How it is sent.
    pub protocol: Protocol,
    /// Where it is sent.
    pub endpoint: Endpoint,
    /// Sent along; they may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long an attempt to send may take.
    pub timeout: Duration,
    /// How long all attempts to send the same spans may take.
    pub export_timeout: Duration,
    /// The longest time that a span waits to be sent.
    pub schedule_delay: Duration,
    /// The most spans that wait.
    pub max_queue: usize,
    /// The most spans that are sent at once.
    pub max_batch: usize,
    /// Which requests are recorded.
    pub sampler: Sampler,
    /// Which headers name the caller.
    pub propagators: Propagators,
    /// What the collector is told of this process.
    pub resource: Vec<(String, String)>,
}

/// Records requests. A clone shares everything.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spans: SyncSender<Box<Span>>,
    counts: Arc<Counts>,
    sampler: Sampler,
    propagators: Propagators,
}

/// The thread that sends the spans of the process.
#[derive(Debug)]
pub struct TraceThread {
    tracer: Tracer,
    /// Hangs up when the last span is sent.
    ended: Receiver<()>,
}

/// The number of spans so far.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    /// The process is about to end.
    is_ending: AtomicBool,
}

/// The end of a request or of a call.
#[derive(Debug)]
pub struct End {
    /// The span's name.
    pub name: Cow<'static, str>,
    /// Its fault is this end's, by the conventions of the protocol.
    pub has_failed: bool,
}

/// A batch that has ended.
#[derive(Debug)]
pub struct Batch<L> {
    /// The span's name.
    pub name: &'static str,
    /// The requests in it that are recorded.
    pub links: L,
    /// From when it was sent until it was answered or lost.
    pub took_us: u64,
    /// What it was.
    pub attributes: Vec<(&'static str, Value)>,
    /// It was not answered.
    pub has_failed: bool,
}

/// The trace that the headers of a request name.
pub fn named_trace(headers: &HeaderMap) -> Option<TraceId> {
    Propagators::default().parent(headers)?.ids.map(|(trace, _)| trace)
}

// === impl Settings ===

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let Endpoint { host, port, path, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

// === impl TraceThread ===

impl TraceThread {
    /// Starts the thread. A collector that is away is told and tried again, forever. Fails only if the system refuses a
    /// thread.
    pub fn start(settings: Settings) -> Result<TraceThread, SystemError> {
        let (spans, queue) = mpsc::sync_channel(settings.max_queue);
        let (ending, ended) = mpsc::sync_channel(1);
        let counts = Arc::<Counts>::default();
        let Settings { sampler, propagators, .. } = settings;
        export::start(settings, queue, Arc::clone(&counts), ending)?;
        let tracer = Tracer(Arc::new(Shared { spans, counts, sampler, propagators }));
        Ok(TraceThread { tracer, ended })
    }

    /// Looks up the number of spans by what has become of them: exported, dropped, failed or rejected.
    pub fn counts(&self) -> impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static {
        let counts = Arc::clone(&self.tracer.0.counts);
        move || {
            let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let Counts { exported, dropped, failed, rejected, .. } = &*counts;
            vec![
                ("exported", now(exported)),
                ("dropped", now(dropped)),
                ("failed", now(failed)),
                ("rejected", now(rejected)),
            ]
        }
    }

    /// What records.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Waits for the spans that are left, for two seconds at most.
    pub fn finish(self) {
        self.tracer.0.counts.is_ending.store(true, Ordering::Relaxed);
        // Both an end and the time that has run out are fine.
        let _ = self.ended.recv_timeout(LAST_SPANS_WITHIN);
    }
}

// === impl Tracer ===

impl Tracer {
    /// Begins a request that came with these headers.
    pub fn begin(&self, headers: &HeaderMap) -> Started {
        let begun = clock::monotonic();
        let parent = self.0.propagators.parent(headers).unwrap_or_default();
        let (trace, caller) = match parent.ids {
            Some((trace, span)) => (trace, span),
            None => (TraceId::random(), 0),
        };
        if !self.0.sampler.takes(parent.is_sampled, trace) {
            return Started { context: SpanContext { trace, span: caller }, begun, span: None };
        }
        let context = SpanContext { trace, span: context::random_span() };
        let span = Span { parent: caller, state: parent.state, ..Span::new(context, Kind::Server) };
        Started { context, begun, span: Some(Box::new(span)) }
    }

    /// Ends a request, and hands over what was recorded of it.
    pub fn end(&self, started: Started, end: End) {
        let Some(mut span) = started.span else { return };
        span.took_us = micros(clock::monotonic().duration_since(started.begun));
        (span.name, span.has_failed) = (end.name, end.has_failed);
        self.hand_over(span);
    }

    /// Records a batch that has just ended, if it carried a request that is recorded. It is a trace of its own, since it
    /// belongs to many, and names them as links.
    pub fn batch(&self, batch: Batch<impl Iterator<Item = SpanContext>>) {
        let Batch { name, links, took_us, attributes, has_failed } = batch;
        let mut links = links.peekable();
        if links.peek().is_none() {
            return;
        }
        let context = SpanContext { trace: TraceId::random(), span: context::random_span() };
        let mut span = Span::new(context, Kind::Client);
        span.links = links.by_ref().take(MOST_LINKS).collect();
        span.links_left_out = u32::try_from(links.count()).unwrap_or(u32::MAX);
        span.start_us = span.start_us.saturating_sub(took_us);
        (span.name, span.took_us) = (name.into(), took_us);
        (span.attributes, span.has_failed) = (attributes, has_failed);
        self.hand_over(Box::new(span));
    }

    fn hand_over(&self, span: Box<Span>) {
        if self.0.spans.try_send(span).is_err() {
            self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
