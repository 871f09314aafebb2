//! One connection: asks, reads, and counts what falls into the measured time.
//!
//! A closed loop keeps `quota` requests in flight: whatever one read answers is asked again in one write. An
//! open loop asks when a ticket says so; its latencies count from the ticket, not from the write, so a
//! service that stalls is charged for those that it kept from being sent.

use std::{
    collections::VecDeque,
    future, iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    select,
    sync::mpsc::UnboundedReceiver,
};

use super::{
    LoadError,
    wire::{Answer, Kind, Wire},
};
use crate::bench::keys::{Asks, Demand};

const BUFFER: usize = 256 << 10;

/// So many requests are due since then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tickets {
    pub(super) due: Instant,
    pub(super) count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    WarmUp,
    Measuring,
    Over,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    phase: AtomicU8,
    in_flight: AtomicU64,
    asks: Mutex<Asks>,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) ok: u64,
    pub(super) over: u64,
    pub(super) limited: u64,
    pub(super) errors: u64,
    /// Of decisions.
    pub(super) latencies_ns: Vec<u32>,
}

struct Connection<W> {
    wire: W,
    quota: usize,
    shared: Arc<Shared>,
    under_way: UnderWay,
    /// Of tickets that are not asked yet.
    due: VecDeque<Instant>,
    /// No more is asked.
    ended: bool,
    out: Vec<u8>,
    answers: Vec<Answer>,
}

/// Requests without an answer, by number.
#[derive(Debug, Default)]
struct UnderWay {
    first: u64,
    requests: VecDeque<Option<Request>>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    due: Instant,
    limited: bool,
}

/// Returns when the time is up, or nothing is left to ask, and each request is answered.
pub(super) async fn drive<W: Wire>(
    stream: impl AsyncRead + AsyncWrite,
    wire: W,
    quota: usize,
    shared: Arc<Shared>,
    mut tickets: Option<UnboundedReceiver<Tickets>>,
) -> Result<(), LoadError> {
    let mut connection = Connection::new(wire, quota, shared);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut input = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        connection.ask(tickets.is_none());
        if !connection.out.is_empty() {
            writer.write_all(&connection.out).await.map_err(LoadError::Broken)?;
            // A stream of TLS may hold records back until it is flushed; a TCP stream does nothing here.
            writer.flush().await.map_err(LoadError::Broken)?;
            connection.out.clear();
        }
        if connection.ended && connection.under_way.count == 0 {
            return Ok(());
        }
        select! {
            read = reader.read(&mut input[filled..]) => match read.map_err(LoadError::Broken)? {
                0 => return Err(LoadError::Closed),
                read => filled += read,
            },
            ticket = next(&mut tickets), if !connection.ended => {
                match ticket {
                    Some(Tickets { due, count }) => connection.due.extend(iter::repeat_n(due, count)),
                    None => connection.ended = true,
                }
                continue;
            }
        }
        let done = connection.read(&input[..filled])?;
        input.copy_within(done..filled, 0);
        filled -= done;
    }
}

async fn next(tickets: &mut Option<UnboundedReceiver<Tickets>>) -> Option<Tickets> {
    match tickets {
        Some(tickets) => tickets.recv().await,
        None => future::pending().await,
    }
}

// === impl Connection ===

impl<W: Wire> Connection<W> {
    fn new(mut wire: W, quota: usize, shared: Arc<Shared>) -> Connection<W> {
        let mut out = Vec::with_capacity(BUFFER);
        wire.greet(&mut out);
        let (under_way, due, answers) = (UnderWay::default(), VecDeque::new(), Vec::new());
        Connection { wire, quota, shared, under_way, due, ended: false, out, answers }
    }

    /// Writes what may be asked now.
    fn ask(&mut self, closed_loop: bool) {
        self.ended |= self.shared.phase() == Phase::Over;
        let before = self.under_way.count;
        while !self.ended && self.wire.may_ask(self.under_way.count) {
            let due = match self.due.front() {
                Some(due) => *due,
                None if closed_loop && self.under_way.count < self.quota => Instant::now(),
                None => break,
            };
            let Some(ask) = self.shared.next() else {
                self.ended = true;
                break;
            };
            self.due.pop_front();
            self.wire.ask(ask, &mut self.out);
            self.under_way.begin(Request { due, limited: ask.is_limited() });
        }
        let asked = (self.under_way.count - before) as u64;
        self.shared.in_flight.fetch_add(asked, Ordering::Relaxed);
    }

    fn read(&mut self, input: &[u8]) -> Result<usize, LoadError> {
        let done = self.wire.read(input, &mut self.out, &mut self.answers)?;
        let now = Instant::now();
        let measuring = self.shared.phase() == Phase::Measuring;
        let mut tally = self.shared.tally();
        let before = self.under_way.count;
        for answer in self.answers.drain(..) {
            if let Some(request) = self.under_way.end(answer.number)
                && measuring
            {
                tally.count(answer.kind, request, now);
            }
        }
        self.shared.in_flight.fetch_sub((before - self.under_way.count) as u64, Ordering::Relaxed);
        Ok(done)
    }
}

// === impl UnderWay ===

impl UnderWay {
    fn begin(&mut self, request: Request) {
        self.requests.push_back(Some(request));
        self.count += 1;
    }

    /// None if request `number` has ended before.
    fn end(&mut self, number: u64) -> Option<Request> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let request = self.requests.get_mut(index)?.take()?;
        self.count -= 1;
        while let Some(None) = self.requests.front() {
            self.requests.pop_front();
            self.first += 1;
        }
        Some(request)
    }
}

// === impl Shared, Tally ===

impl Shared {
    pub(super) fn new(asks: Asks) -> Shared {
        let phase = AtomicU8::new(Phase::WarmUp as u8);
        let (asks, tally) = (Mutex::new(asks), Mutex::default());
        Shared { phase, in_flight: AtomicU64::new(0), asks, tally }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Measuring,
            _ => Phase::Over,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Demand> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl Tally {
    fn count(&mut self, kind: Kind, request: Request, now: Instant) {
        match kind {
            Kind::Ok => self.ok += 1,
            Kind::OverLimit => self.over += 1,
            Kind::Error => {
                self.errors += 1;
                return;
            }
        }
        self.limited += u64::from(request.limited);
        let took_ns = now.saturating_duration_since(request.due).as_nanos();
        self.latencies_ns.push(u32::try_from(took_ns).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_ends_once_whatever_the_order_of_answers() {
        let mut under_way = UnderWay::default();
        let request = Request { due: Instant::now(), limited: false };
        (0..3).for_each(|_| under_way.begin(request));
        assert_eq!([2, 0, 0, 7].map(|number| under_way.end(number).is_some()), [true, true, false, false]);
        assert_eq!((under_way.count, under_way.first), (1, 1));
        under_way.begin(request);
        assert_eq!([1, 2, 3].map(|number| under_way.end(number).is_some()), [true, false, true]);
        assert_eq!((under_way.count, under_way.requests.len()), (0, 0));
    }

    #[test]
    fn an_error_is_counted_and_has_no_latency() {
        let mut tally = Tally::default();
        let due = Instant::now();
        for kind in [Kind::Ok, Kind::OverLimit, Kind::OverLimit, Kind::Error] {
            tally.count(kind, Request { due, limited: true }, due + Duration::from_micros(3));
        }
        assert_eq!((tally.ok, tally.over, tally.limited, tally.errors), (1, 2, 3, 1));
        assert_eq!(tally.latencies_ns, [3_000; 3]);
    }
}
