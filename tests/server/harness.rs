//! A server in this process with a service that the test controls, and small clients.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::Semaphore;
use tollgate::{
    admin::Admin,
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
    pb::{
        RateLimitRequest, RateLimitResponse, authorization_server::Authorization,
        rate_limit_service_client::RateLimitServiceClient, rate_limit_service_server::RateLimitService,
    },
    protocol::{Service, authz::codec::CheckMessage, reply::Reply},
    server::{Addresses, ConnectionLimits, Options, Server, ServerError},
};
use tonic::{Request, Response, Status, transport::Channel};

pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Far longer than a test takes. Anything that waits for this must have ended for another reason before.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Longer than anything takes that waits for nothing, and shorter than every timeout of the server.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Shared by the test and the services of all runtimes.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Calls that have reached a service.
    pub(crate) arrived: AtomicUsize,
    /// Services that have been built.
    pub(crate) services: AtomicUsize,
    /// Services never have done what they do last.
    pub(crate) never_finishes: AtomicBool,
}

/// A call waits for a permit of `gate`. Its answer carries the number of its runtime as `raw_body`.
pub(crate) struct Gated {
    runtime: u8,
    gate: Arc<Semaphore>,
    stage: Arc<Stage>,
}

impl Gated {
    /// A service that is never called.
    pub(crate) fn idle() -> Gated {
        Gated { runtime: 0, gate: Arc::new(Semaphore::new(0)), stage: Arc::default() }
    }
}

#[tonic::async_trait]
impl RateLimitService for Gated {
    async fn should_rate_limit(
        &self,
        _request: Request<RateLimitRequest>,
    ) -> Result<Response<Reply>, Status> {
        self.stage.arrived.fetch_add(1, Ordering::SeqCst);
        let _permit = self.gate.acquire().await.unwrap();
        let answer = RateLimitResponse { raw_body: vec![self.runtime].into(), ..Default::default() };
        Ok(Response::new(answer.into()))
    }
}

#[tonic::async_trait]
impl Authorization for Gated {
    async fn check(&self, _call: Request<CheckMessage>) -> Result<Response<Reply>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

impl Service for Gated {
    async fn check_http(&self, _parts: &http::request::Parts) -> Result<http::Response<Vec<u8>>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn finish(&self) {
        if self.stage.never_finishes.load(Ordering::SeqCst) {
            std::future::pending().await
        }
    }
}

pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) gate: Arc<Semaphore>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::with(2, LONG)
    }

    pub(crate) fn with(runtimes: usize, drain_timeout: Duration) -> Running {
        Running::over(Options { drain_timeout, ..options(runtimes) })
    }

    pub(crate) fn over(options: Options) -> Running {
        let stage = Arc::<Stage>::default();
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let make_service = {
            let (stage, gate) = (Arc::clone(&stage), Arc::clone(&gate));
            move || Gated {
                runtime: u8::try_from(stage.services.fetch_add(1, Ordering::SeqCst)).unwrap(),
                gate: Arc::clone(&gate),
                stage: Arc::clone(&stage),
            }
        };
        let metrics = Arc::new(Metrics::new());
        let shown = Arc::clone(&metrics);
        // The server has an event loop of its own, which must not be started from within that of the test.
        let (bound, binding) = mpsc::channel();
        let thread = thread::spawn(move || {
            let server = Server::bind(options).unwrap();
            bound.send((server.addresses(), server.lifecycle())).unwrap();
            let admin = Admin::new(server.lifecycle(), shown);
            server.run(admin, make_service)
        });
        let (addresses, lifecycle) = binding.recv().unwrap();
        Running { addresses, lifecycle, metrics, stage, gate, thread: Some(thread) }
    }

    /// Calls wait from here on, until [`Running::open_gate`].
    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) async fn until_arrived(&self, calls: usize) {
        until(|| self.stage.arrived.load(Ordering::SeqCst) >= calls).await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.addresses.grpc)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> RateLimitServiceClient<Channel> {
        RateLimitServiceClient::new(self.channel().await)
    }

    /// The status and body of a GET on the admin port.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = http(self.addresses.admin, "GET", path);
        (head[9..12].parse().unwrap(), body)
    }

    /// Begins to drain and waits for the end.
    pub(crate) async fn stop(mut self) -> Result<(), ServerError> {
        self.lifecycle.advance_to(Phase::Draining);
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().unwrap().is_finished()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lifecycle.advance_to(Phase::Ended);
    }
}

pub(crate) fn bind(runtimes: usize, drain_timeout: Duration) -> Server {
    Server::bind(Options { drain_timeout, ..options(runtimes) }).unwrap()
}

pub(crate) fn options(runtimes: usize) -> Options {
    Options {
        grpc_listen: ANY_PORT,
        authz_http_listen: None,
        tls: None,
        admin_listen: ANY_PORT,
        debug_listen: None,
        metrics_listen: None,
        runtimes: runtimes.try_into().unwrap(),
        drain_wait: LONG,
        drain_timeout: LONG,
        connections: ConnectionLimits::default(),
        max_connections: 4_096,
    }
}

/// The head and body of the answer.
pub(crate) fn http(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Returns once `condition` holds. Fails the test if it does not within [`LONG`].
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let patience = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, patience).await.expect("the condition never held");
}
