//! Small HTTP limiters for `tollgate prove`: one that is exact, and others that are each wrong in their own way.
//!
//! Each runs on a thread of its own, and stops when it is dropped.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::watch};
use tollgate::clock::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Exact,
    /// Admits the burst in each second of the wall clock.
    FixedWindow,
    /// The same, but each second begins a third of a second late.
    FixedWindowLate,
    /// Saves up to twice the burst while idle.
    DoublesAfterIdling,
    DeniesAll,
    /// Denies every second take that fits.
    DeniesHalf,
    /// Has half the burst and half the refill.
    HalfTheLimit,
    /// Holds back half of the hits that it was asked for in the last 300 ms, as leases of 100 ms may, and at most so many.
    HoldsBack(u64),
    /// Admits everything, and its answers do not show who made them.
    Unlimited,
    /// Exact, but every 50th answer is a 503.
    Fails,
    /// Exact, but without the limiter's headers.
    Unsigned,
    /// Exact, but a 429 does not say when to come back.
    NoRetryAfter,
    /// Exact, but its metrics say that it gave fallback answers.
    FallbackAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

pub(crate) struct Limiter {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Limiter {
    pub(crate) fn start(manner: Manner, burst: u64, per_second: u64, http: Http) -> Limiter {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let bucket = Arc::new(Mutex::new(Bucket::full(manner, burst, per_second)));
        let thread = std::thread::spawn(move || runtime.block_on(serve(listener, bucket, http, stopped)));
        Limiter { address, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn serve(
    listener: TcpListener,
    bucket: Arc<Mutex<Bucket>>,
    http: Http,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|&stopped| stopped) => return,
        };
        let (stream, _) = accepted.unwrap();
        stream.set_nodelay(true).unwrap();
        let bucket = Arc::clone(&bucket);
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&mut bucket.lock().unwrap(), &request);
            async { Ok::<_, Infallible>(answer) }
        });
        let io = TokioIo::new(stream);
        // A client may close the connection at any time.
        tokio::spawn(async move {
            match http {
                Http::One => drop(conn::http1::Builder::new().serve_connection(io, service).await),
                Http::Two => {
                    drop(conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await);
                }
            }
        });
    }
}

struct Bucket {
    manner: Manner,
    clock: Clock,
    burst: u64,
    cost_us: u64,
    full_at_us: u64,
    /// The number of the fixed window, and how many requests it admitted.
    window: (u64, u64),
    asked: u64,
    fitted: u64,
    lately_us: VecDeque<u64>,
}

impl Bucket {
    fn full(manner: Manner, burst: u64, per_second: u64) -> Bucket {
        let clock = Clock::start();
        let half = u64::from(manner == Manner::HalfTheLimit);
        Bucket {
            manner,
            clock,
            burst: burst >> half,
            cost_us: (1_000_000 / per_second) << half,
            full_at_us: 0,
            window: (0, 0),
            asked: 0,
            fitted: 0,
            lately_us: VecDeque::new(),
        }
    }

    /// The microseconds to wait; 0 if it is admitted.
    fn take(&mut self, now_us: u64) -> u64 {
        if self.asked == 0 {
            // It is full at the first request, with nothing saved up before.
            self.full_at_us = now_us;
        }
        self.asked += 1;
        match self.manner {
            Manner::Unlimited => 0,
            Manner::DeniesAll => 1_000_000,
            Manner::FixedWindow => self.take_from_window(now_us),
            Manner::FixedWindowLate => self.take_from_window(now_us - 333_333),
            _ => self.take_from_bucket(now_us),
        }
    }

    fn take_from_window(&mut self, now_us: u64) -> u64 {
        let number = now_us / 1_000_000;
        if self.window.0 != number {
            self.window = (number, 0);
        }
        if self.window.1 == self.burst {
            return (number + 1) * 1_000_000 - now_us;
        }
        self.window.1 += 1;
        0
    }

    fn take_from_bucket(&mut self, now_us: u64) -> u64 {
        let worth_us = self.burst * self.cost_us;
        let floor_us = match self.manner {
            Manner::DoublesAfterIdling => now_us - worth_us,
            _ => now_us,
        };
        let then_full_at_us = self.full_at_us.max(floor_us) + self.cost_us;
        let held_back_us = self.holds_back(now_us) * self.cost_us;
        if then_full_at_us + held_back_us > now_us + worth_us {
            return then_full_at_us + held_back_us - (now_us + worth_us);
        }
        self.fitted += 1;
        if self.manner == Manner::DeniesHalf && self.fitted.is_multiple_of(2) {
            return 1;
        }
        self.full_at_us = then_full_at_us;
        0
    }
}

impl Bucket {
    fn holds_back(&mut self, now_us: u64) -> u64 {
        let Manner::HoldsBack(most) = self.manner else { return 0 };
        self.lately_us.push_back(now_us);
        while self.lately_us.front().is_some_and(|at_us| at_us + 300_000 < now_us) {
            self.lately_us.pop_front();
        }
        (self.lately_us.len() as u64 / 2).min(most)
    }
}

fn answer(bucket: &mut Bucket, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/metrics" {
        return metrics(bucket);
    }
    let wait_us = bucket.take(bucket.clock.now_us());
    if bucket.manner == Manner::Fails && bucket.asked.is_multiple_of(50) {
        return Response::builder().status(503).body(Full::default()).unwrap();
    }
    let mut response = Response::builder().status(if wait_us == 0 { 200 } else { 429 });
    if !matches!(bucket.manner, Manner::Unsigned | Manner::Unlimited) {
        let reset_s = wait_us.div_ceil(1_000_000);
        let burst = match bucket.manner {
            Manner::HalfTheLimit => bucket.burst * 2,
            _ => bucket.burst,
        };
        response = response
            .header("ratelimit-limit", burst)
            .header("ratelimit-remaining", 0)
            .header("ratelimit-reset", reset_s);
        if wait_us > 0 && bucket.manner != Manner::NoRetryAfter {
            response = response.header("retry-after", reset_s);
        }
    }
    if wait_us == 0 {
        return response.body(Full::from("hello")).unwrap();
    }
    let problem = r#"{"title":"Too Many Requests","status":429,"violated-policies":["key"]}"#;
    response.header("content-type", "application/problem+json").body(Full::from(problem)).unwrap()
}

fn metrics(bucket: &Bucket) -> Response<Full<Bytes>> {
    let source = if bucket.manner == Manner::FallbackAnswers { "local" } else { "store" };
    let text = format!("tollgate_decisions_total{{source=\"{source}\"}} {}\n", bucket.asked);
    Response::new(Full::from(text))
}
