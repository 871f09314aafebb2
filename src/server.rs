//! The process as its peers see it: two ports, one runtime per core, and an orderly end.
//!
//! The calling thread accepts connections, deals each to the runtime with the fewest open ones, and answers
//! the admin port. Each runtime is one thread that serves its connections and nothing else, with a service
//! built on that thread, so that what a service owns (connections to Redis) is driven by one runtime.
//!
//! Stopping has three phases, see [`Phase`]. In the first two no call is lost; the third cuts what is left.
//! [`Server::run`] returns only when each thread has been joined.

use std::{fmt, io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{net::TcpListener, runtime, select, time};
use tracing::{error, info, warn};

use crate::{
    admin::Admin,
    error::SystemError,
    lifecycle::{Lifecycle, Phase, Signals},
    metrics::Metrics,
    pb::rate_limit_service_server::RateLimitService,
    tasks::{self, Task},
};

mod accept;
mod bounded_body;
mod connection;
mod limits;
mod refusals;
mod routes;
mod runtimes;
mod strangers;
mod unvectored;

pub use limits::ConnectionLimits;

use accept::{Acceptor, bind};
use refusals::Refusals;
use routes::{Health, Routes};
use runtimes::Runtimes;
use strangers::Strangers;

/// How long the runtimes may take to end once their connections are cut. They need microseconds; one that
/// is stuck must not hold up the end.
const CUT_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Options {
    /// Port 0: any free one.
    pub grpc_listen: SocketAddr,
    /// Port 0: any free one.
    pub admin_listen: SocketAddr,
    pub runtimes: NonZeroUsize,
    /// From the signal to stop, which turns health, until nothing new is accepted.
    pub drain_wait: Duration,
    /// From then until open connections are cut.
    pub drain_timeout: Duration,
    pub connections: ConnectionLimits,
    /// Beyond it new connections are closed at once.
    pub max_connections: usize,
}

/// Both ports, bound; nothing is accepted yet.
#[derive(Debug)]
pub struct Server {
    main: runtime::Runtime,
    grpc: TcpListener,
    admin: TcpListener,
    addresses: Addresses,
    lifecycle: Lifecycle,
    options: Options,
}

/// A server whose runtimes run.
pub struct Started {
    server: Server,
    health: Health,
    runtimes: Runtimes,
}

/// The addresses really bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
}

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("cannot listen on {address} ({port})")]
    Listen { address: SocketAddr, port: Port, source: SystemError },
    #[error("cannot start a runtime")]
    Start(#[source] SystemError),
    #[error("cannot listen for signals")]
    Signals(#[source] SystemError),
    #[error("the admin server has ended")]
    AdminEnded(#[source] SystemError),
    #[error("runtime {index} has panicked")]
    RuntimePanicked { index: usize },
    #[error("{count} runtimes did not end within {CUT_GRACE:?} of being cut")]
    RuntimesStuck { count: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Grpc,
    Admin,
}

// === impl Server ===

impl Server {
    pub fn bind(options: Options) -> Result<Server, ServerError> {
        let main = current_thread_runtime()?;
        let (grpc, grpc_address) = main.block_on(bind(options.grpc_listen, Port::Grpc))?;
        let (admin, admin_address) = main.block_on(bind(options.admin_listen, Port::Admin))?;
        let addresses = Addresses { grpc: grpc_address, admin: admin_address };
        Ok(Server { main, grpc, admin, addresses, lifecycle: Lifecycle::new(), options })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A handle that shows how far the server is, and stops it.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// From here on SIGTERM, SIGINT and SIGHUP stop this server, and a second signal, more than a second after
    /// the first, ends it at once. Acts for the whole process and cannot be undone, so tests that share one stop
    /// their servers by the lifecycle.
    pub fn stop_on_signals(&self) -> Result<(), ServerError> {
        let _context = self.main.enter();
        let signals = Signals::install().map_err(|error| ServerError::Signals(error.into()))?;
        // Runs on the main runtime and ends with it.
        let Options { drain_wait, drain_timeout, .. } = self.options;
        let (lifecycle, mut installed) = (self.lifecycle.clone(), Some(signals));
        tasks::keep(Task::Signals, move || {
            let signals = installed.take().map_or_else(Signals::install, Ok);
            let lifecycle = lifecycle.clone();
            async move {
                match signals {
                    Ok(signals) => signals.drive(lifecycle, drain_wait, drain_timeout).await,
                    // Or nothing but SIGKILL would end the process from now on.
                    Err(error) => {
                        error!(error = %SystemError::from(error), "can no longer listen for signals; stopping");
                        lifecycle.advance_to(Phase::Leaving);
                    }
                }
            }
        });
        Ok(())
    }

    /// Starts the runtimes, which accept nothing yet. `make_service` is called once on the thread of each,
    /// inside its context. Fails when a runtime cannot be started.
    pub fn start<S: RateLimitService>(
        self,
        metrics: &Arc<Metrics>,
        make_service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Started, ServerError> {
        let health = self.main.block_on(Health::serving());
        let make_routes = {
            let (health, refusals) = (health.clone(), Refusals::new(Arc::clone(metrics)));
            Arc::new(move || Routes::new(make_service(), &health, &refusals))
        };
        let strangers = Strangers::new(Arc::clone(metrics));
        let runtimes = Runtimes::start(&self.options, make_routes, &self.lifecycle, strangers)?;
        Ok(Started { server: self, health, runtimes })
    }

    /// [`Server::start`], then [`Started::serve`].
    pub fn run<S: RateLimitService>(
        self,
        admin: Admin,
        make_service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<(), ServerError> {
        self.start(&admin.metrics(), make_service)?.serve(admin)
    }
}

// === impl Started ===

impl Started {
    /// Serves until the lifecycle has ended.
    ///
    /// Fails when a runtime panics or cannot be ended. Connections that had to be cut are no failure.
    pub fn serve(self, admin: Admin) -> Result<(), ServerError> {
        let Started { server, health, mut runtimes } = self;
        let Server { main, grpc, admin: admin_listener, lifecycle, options, .. } = server;
        let outcome = main.block_on(async {
            let acceptor = Acceptor::new(grpc, options.max_connections, admin.metrics());
            let serving = serve_and_drain(acceptor, &mut runtimes, &health, &lifecycle, &options);
            select! {
                outcome = serving => outcome,
                ended = admin.serve(admin_listener) => {
                    let error = ended.err().unwrap_or_else(|| io::ErrorKind::Other.into());
                    Err(ServerError::AdminEnded(error.into()))
                }
            }
        });
        // A thread that is stuck cannot be joined; the process ends without it.
        if let Err(ServerError::RuntimesStuck { .. }) = outcome {
            return outcome;
        }
        lifecycle.advance_to(Phase::Ended);
        outcome.and(runtimes.join())
    }
}

async fn serve_and_drain(
    acceptor: Acceptor,
    runtimes: &mut Runtimes,
    health: &Health,
    lifecycle: &Lifecycle,
    options: &Options,
) -> Result<(), ServerError> {
    // A runtime that ends by itself has panicked: its share of the connections would fail in silence, so
    // the others are drained and the process ends with an error, which `join` finds.
    select! {
        never = acceptor.accept(runtimes) => match never {},
        () = leave(health, lifecycle, options.drain_wait) => {}
        () = runtimes.one_ended() => {
            error!("a runtime has ended unexpectedly; stopping");
            health.not_serving().await;
        }
    }
    if let Err(error) = acceptor.close(runtimes) {
        warn!(error = %SystemError::from(error), "connections that were not accepted yet may be lost");
    }
    lifecycle.advance_to(Phase::Draining);

    runtimes.deal_no_more();
    select! {
        () = runtimes.all_ended() => {}
        () = time::sleep(options.drain_timeout) => {}
        () = lifecycle.reached(Phase::Ended) => {}
    }
    lifecycle.advance_to(Phase::Ended);
    let ended = time::timeout(CUT_GRACE, runtimes.all_ended()).await;
    if runtimes.cut() > 0 {
        warn!(connections = runtimes.cut(), "cut the connections that were still open");
    }
    ended.map_err(|_elapsed| ServerError::RuntimesStuck { count: runtimes.running() })?;
    info!("stopped");
    Ok(())
}

/// Returns once it is time to drain: `drain_wait` after health turned, or sooner when told so.
async fn leave(health: &Health, lifecycle: &Lifecycle, drain_wait: Duration) {
    lifecycle.reached(Phase::Leaving).await;
    health.not_serving().await;
    select! {
        () = time::sleep(drain_wait) => {}
        () = lifecycle.reached(Phase::Draining) => {}
    }
}

fn current_thread_runtime() -> Result<runtime::Runtime, ServerError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerError::Start(error.into()))
}

// === impl Port ===

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Port::Grpc => "gRPC",
            Port::Admin => "admin",
        })
    }
}
