//! A RateLimitService that records each call. It answers OVER_LIMIT, so that no request needs an
//! upstream.

use std::{net::SocketAddr, time::Duration};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::mpsc};
use tollgate::{
    pb::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::Code,
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    },
    protocol::reply::Reply,
};
use tonic::{Request, Response, Status};
use tower_service::Service as _;

pub(crate) struct Recorder {
    addr: SocketAddr,
    recorded: mpsc::UnboundedReceiver<RateLimitRequest>,
}

struct Recording(mpsc::UnboundedSender<RateLimitRequest>);

#[tonic::async_trait]
impl RateLimitService for Recording {
    async fn should_rate_limit(&self, request: Request<RateLimitRequest>) -> Result<Response<Reply>, Status> {
        self.0.send(request.into_inner()).expect("the test listens");
        let answer = RateLimitResponse { overall_code: Code::OverLimit.into(), ..Default::default() };
        Ok(Response::new(answer.into()))
    }
}

impl Recorder {
    pub(crate) async fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (sender, recorded) = mpsc::unbounded_channel();
        let service = RateLimitServiceServer::new(Recording(sender));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                let answer = service_fn(move |request| service.clone().call(request));
                let http2 = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http2.serve_connection(TokioIo::new(stream), answer));
            }
        });
        Recorder { addr, recorded }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next call.
    pub(crate) async fn next(&mut self) -> RateLimitRequest {
        let next = tokio::time::timeout(Duration::from_secs(10), self.recorded.recv()).await;
        next.expect("a call within ten seconds").expect("the recorder runs")
    }
}
