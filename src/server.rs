//! The process as its peers see it: its ports, one runtime per core, and an orderly end.
//!
//! The thread that calls [`Server::run`] accepts connections, deals each to the runtime with the fewest open
//! connections, and serves the admin port. A runtime is a thread that only serves its connections. Its service is built
//! on that thread, so that whatever the service owns, such as connections to Redis, is driven by one runtime.
//!
//! Stopping has three phases, see [`Phase`]. In the first two no call is lost; the third cuts the connections that are
//! left. [`Server::run`] returns only when every thread has been joined.

use std::{io, iter, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime, select, task::JoinSet};
use tracing::error;

use crate::{
    admin::{Admin, Pages},
    error::SystemError,
    lifecycle::{Lifecycle, Phase, Signals},
    metrics::Metrics,
    protocol::Service,
    tasks::{self, Task},
};

mod accept;
mod aside;
mod authz_http;
mod bounded_body;
mod connection;
mod drain;
mod endings;
mod error;
mod limits;
mod not_http2;
mod refusals;
mod routes;
mod runtimes;
mod tls;
mod unvectored;

pub use error::{Port, ServerError};
pub use limits::ConnectionLimits;
pub use tls::{Tls, TlsFiles};

use accept::{Acceptor, bind};
use aside::Aside;
use drain::serve_and_drain;
use endings::Endings;
use refusals::Refusals;
use routes::{Health, Routes};
use runtimes::Runtimes;

/// How a server listens, serves and stops.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Envoy connects. Port 0 takes any free port.
    pub grpc_listen: SocketAddr,
    /// TLS on the gRPC port. None: it speaks plain text.
    pub tls: Option<Arc<Tls>>,
    /// Where ext_authz connects by HTTP. Port 0 takes any free port. None: nowhere.
    pub authz_http_listen: Option<SocketAddr>,
    /// Where operators connect. Port 0 takes any free port.
    pub admin_listen: SocketAddr,
    /// Where operators can also see the rules in force. None: on the admin port only.
    pub debug_listen: Option<SocketAddr>,
    /// Where metrics can also be scraped. None: on the admin port only.
    pub metrics_listen: Option<SocketAddr>,
    /// The number of runtimes, which are threads.
    pub runtimes: NonZeroUsize,
    /// From the signal to stop, when health checks begin to fail, until no connection is accepted any more.
    pub drain_wait: Duration,
    /// From then until open connections are cut.
    pub drain_timeout: Duration,
    /// How long each connection may live.
    pub connections: ConnectionLimits,
    /// The maximum number of open connections. Further ones are closed at once.
    pub max_connections: usize,
}

/// All ports are bound, but nothing is accepted yet.
#[derive(Debug)]
pub struct Server {
    main: runtime::Runtime,
    grpc: TcpListener,
    authz_http: Option<TcpListener>,
    /// The ports for operators.
    pages: Vec<(TcpListener, Pages)>,
    addresses: Addresses,
    lifecycle: Lifecycle,
    options: Options,
}

/// A server whose runtimes run, but which accepts nothing yet.
pub struct Started {
    server: Server,
    health: Health,
    runtimes: Runtimes,
}

/// The addresses that were bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Of the gRPC port.
    pub grpc: SocketAddr,
    /// Of the port for ext_authz by HTTP, if there is one.
    pub authz_http: Option<SocketAddr>,
    /// Of the admin port.
    pub admin: SocketAddr,
    /// Of the debug port, if there is one.
    pub debug: Option<SocketAddr>,
    /// Of the port for metrics alone, if there is one.
    pub metrics: Option<SocketAddr>,
}

// === impl Server ===

impl Server {
    /// Binds all ports. Fails with [`ServerError::Listen`] or [`ServerError::Start`].
    pub fn bind(options: Options) -> Result<Server, ServerError> {
        let main = current_thread_runtime()?;
        let bound = |address: Option<SocketAddr>, port| {
            address.map(|address| main.block_on(bind(address, port))).transpose().map(Option::unzip)
        };
        let (grpc, grpc_address) = main.block_on(bind(options.grpc_listen, Port::Grpc))?;
        let (admin, admin_address) = main.block_on(bind(options.admin_listen, Port::Admin))?;
        let (authz_http, authz_http_address) = bound(options.authz_http_listen, Port::AuthzHttp)?;
        let (debug, debug_address) = bound(options.debug_listen, Port::Debug)?;
        let (metrics, metrics_address) = bound(options.metrics_listen, Port::Metrics)?;
        let others = [debug.map(|port| (port, Pages::Rules)), metrics.map(|port| (port, Pages::Metrics))];
        let pages = iter::once((admin, Pages::All)).chain(others.into_iter().flatten()).collect();
        let addresses = Addresses {
            grpc: grpc_address,
            authz_http: authz_http_address,
            admin: admin_address,
            debug: debug_address,
            metrics: metrics_address,
        };
        Ok(Server { main, grpc, authz_http, pages, addresses, lifecycle: Lifecycle::new(), options })
    }

    /// The addresses that were bound.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A handle that shows the server's phase, and stops it.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }

    /// From here on SIGTERM, SIGINT and SIGHUP stop this server, and a second signal that comes more than a second
    /// after the first ends it at once. This acts for the whole process and cannot be undone, so tests that share a
    /// process stop their servers by the lifecycle. Fails if the system refuses a handler.
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
                    // Otherwise only SIGKILL could end the process from now on.
                    Err(error) => {
                        error!(error = %SystemError::from(error), "can no longer listen for signals; stopping");
                        lifecycle.advance_to(Phase::Leaving);
                    }
                }
            }
        });
        Ok(())
    }

    /// Waits for an event, while signals are heard. False if the server was told to stop before.
    pub fn wait_for(&self, event: impl Future<Output = ()>) -> bool {
        self.main.block_on(async {
            select! {
                () = event => true,
                () = self.lifecycle.reached(Phase::Leaving) => false,
            }
        })
    }

    /// Starts the runtimes; no connection is accepted yet. Each calls `make_service` once, on its own thread and in its
    /// own context. Fails if a runtime cannot be started.
    pub fn start<S: Service>(
        self,
        metrics: &Arc<Metrics>,
        make_service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Started, ServerError> {
        if let Some(tls) = &self.options.tls {
            let _context = self.main.enter();
            tls.follow();
        }
        let health = self.main.block_on(Health::serving());
        let make_routes = {
            let (health, refusals) = (health.clone(), Refusals::new(Arc::clone(metrics)));
            Arc::new(move || Routes::new(make_service(), &health, &refusals))
        };
        let endings = Endings::new(Arc::clone(metrics));
        let runtimes = Runtimes::start(&self.options, make_routes, &self.lifecycle, endings)?;
        Ok(Started { server: self, health, runtimes })
    }

    /// [`Server::start`], then [`Started::serve`].
    pub fn run<S: Service>(
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
    /// Fails if a runtime panics or does not end. Connections that had to be cut are no failure.
    pub fn serve(self, admin: Admin) -> Result<(), ServerError> {
        let Started { server, health, mut runtimes } = self;
        let Server { main, grpc, authz_http, pages, lifecycle, options, .. } = server;
        let aside = Arc::new(Aside::to(&runtimes));
        admin.counting_connections(runtimes.counter());
        let acting = Arc::clone(&aside);
        let admin = admin
            .answering_json(move |body| Arc::clone(&aside).json(body))
            .answering_acts(move |order, request| Arc::clone(&acting).act(order, request));
        let outcome = main.block_on(async {
            let accept =
                |listener, port| Acceptor::new(listener, port, options.max_connections, admin.metrics());
            let acceptors =
                (accept(grpc, Port::Grpc), authz_http.map(|listener| accept(listener, Port::AuthzHttp)));
            let serving = serve_and_drain(acceptors, &mut runtimes, &health, &lifecycle, &options);
            let mut operators = JoinSet::new();
            for (listener, pages) in pages {
                operators.spawn(admin.clone().serve(listener, pages));
            }
            select! {
                outcome = serving => outcome,
                Some(ended) = operators.join_next() => {
                    let error = ended.unwrap_or_else(|error| Err(error.into())).err();
                    Err(ServerError::AdminEnded(error.unwrap_or_else(|| io::ErrorKind::Other.into()).into()))
                }
            }
        });
        // A stuck thread cannot be joined. The process ends without it.
        if let Err(ServerError::RuntimesStuck { .. }) = outcome {
            return outcome;
        }
        lifecycle.advance_to(Phase::Ended);
        outcome.and(runtimes.join())
    }
}

fn current_thread_runtime() -> Result<runtime::Runtime, ServerError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServerError::Start(error.into()))
}
