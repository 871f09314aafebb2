//! The application behind the node. Headers of a request say how to answer it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How many requests are inside, and how many were at most.
#[derive(Debug, Default)]
struct Inside {
    now: AtomicUsize,
    most: AtomicUsize,
}

pub(crate) struct Application {
    addr: SocketAddr,
    inside: Arc<Inside>,
}

impl Application {
    pub(crate) async fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let inside = Arc::<Inside>::default();
        let shared = Arc::clone(&inside);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inside = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&inside)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Application { addr, inside }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The most requests that were inside at once.
    pub(crate) fn most_inside(&self) -> usize {
        self.inside.most.load(Ordering::SeqCst)
    }
}

async fn answer(
    request: Request<Incoming>,
    inside: Arc<Inside>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let now = inside.now.fetch_add(1, Ordering::SeqCst) + 1;
    inside.most.fetch_max(now, Ordering::SeqCst);
    let said =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    tokio::time::sleep(Duration::from_millis(said("x-say-after-ms").unwrap_or(0))).await;
    let body = match said("x-say-tokens") {
        Some(tokens) => format!("{{\"usage\":{{\"total_tokens\":{tokens}}}}}"),
        None => "{}".to_owned(),
    };
    let status = said("x-say-status").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let response = Response::builder().status(status).header("content-type", "application/json");
    inside.now.fetch_sub(1, Ordering::SeqCst);
    Ok(response.body(Full::new(body.into())).expect("a response"))
}
