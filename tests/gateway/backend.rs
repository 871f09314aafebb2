//! The application behind the gateway: it answers everything.

use std::{convert::Infallible, net::Ipv4Addr, thread};

use ::http::{Request, Response};
use http_body_util::Empty;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime};

pub(crate) const PORT: u16 = 9999;

/// On a thread of its own, because it serves tests whose runtimes come and go.
pub(crate) fn start() {
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve());
    });
}

async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await.expect("a port of our own");
    while let Ok((stream, _)) = listener.accept().await {
        let answer = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
