//! `lab floor`: the least that a decision can cost here.
//!
//! Tollgate's own server (runtimes, connections, HTTP/2, tonic, decoding) with a service that decides nothing
//! and answers an empty OK. What Tollgate costs above it is what deciding costs.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tollgate::{
    admin::Admin,
    lifecycle::Lifecycle,
    metrics::Metrics,
    pb::{
        RateLimitRequest, RateLimitResponse, auth::CheckResponse, authorization_server::Authorization,
        rate_limit_response::Code, rate_limit_service_server::RateLimitService,
    },
    protocol::{Service, authz::codec::CheckMessage, reply::Reply},
    server::{ConnectionLimits, Options, Server, ServerError},
};
use tonic::{Request, Response, Status, codegen::http};

#[derive(Debug, Args)]
pub struct FloorArgs {
    #[arg(long, default_value = "127.0.0.1:0")]
    grpc_listen: SocketAddr,
    #[arg(long, default_value = "1")]
    runtimes: NonZeroUsize,
}

#[derive(Debug)]
pub struct Floor(Server);

/// The one answer of each service.
struct AlwaysOk {
    rls: Reply,
    authz: Reply,
}

/// Serves until SIGTERM. Prints where as its first line: `floor grpc=IP:PORT`.
pub fn run(args: &FloorArgs) -> Result<(), ServerError> {
    let floor = Floor::bind(args.grpc_listen, args.runtimes)?;
    floor.0.stop_on_signals()?;
    // Nobody to tell is no reason not to serve.
    let _ = writeln!(io::stdout(), "floor grpc={}", floor.addr());
    floor.serve()
}

// === impl Floor ===

impl Floor {
    pub fn bind(grpc_listen: SocketAddr, runtimes: NonZeroUsize) -> Result<Floor, ServerError> {
        let admin_listen = SocketAddr::new(grpc_listen.ip(), 0);
        let (drain_wait, drain_timeout) = (Duration::ZERO, Duration::from_secs(1));
        let (connections, max_connections) = (ConnectionLimits::default(), usize::MAX);
        let options = Options {
            grpc_listen,
            authz_http_listen: None,
            tls: None,
            admin_listen,
            debug_listen: None,
            metrics_listen: None,
            runtimes,
            drain_wait,
            drain_timeout,
            connections,
            max_connections,
        };
        Server::bind(options).map(Floor)
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.addresses().grpc
    }

    pub fn lifecycle(&self) -> Lifecycle {
        self.0.lifecycle()
    }

    /// Until its lifecycle has ended.
    pub fn serve(self) -> Result<(), ServerError> {
        let admin = Admin::new(self.lifecycle(), Arc::new(Metrics::new()));
        self.0.run(admin, || {
            let ok = RateLimitResponse { overall_code: Code::Ok.into(), ..RateLimitResponse::default() };
            AlwaysOk { rls: ok.into(), authz: CheckResponse::default().into() }
        })
    }
}

#[tonic::async_trait]
impl RateLimitService for AlwaysOk {
    async fn should_rate_limit(
        &self,
        _request: Request<RateLimitRequest>,
    ) -> Result<Response<Reply>, Status> {
        Ok(Response::new(self.rls.clone()))
    }
}

#[tonic::async_trait]
impl Authorization for AlwaysOk {
    async fn check(&self, _call: Request<CheckMessage>) -> Result<Response<Reply>, Status> {
        Ok(Response::new(self.authz.clone()))
    }
}

impl Service for AlwaysOk {
    async fn check_http(&self, _parts: &http::request::Parts) -> Result<http::Response<Vec<u8>>, Status> {
        Ok(http::Response::default())
    }
}
