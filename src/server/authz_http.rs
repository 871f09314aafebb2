//! Connections of ext_authz by HTTP/1.1, from their first byte to their end.

use std::{convert::Infallible, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time};

use super::{
    ConnectionLimits,
    connection::{ConnectionError, PREFACE_TIMEOUT, run},
    routes::Routes,
};
use crate::{
    clock,
    lifecycle::{Lifecycle, Phase},
    protocol::Service,
};

/// The most lines of headers in a request; a longer one is answered 431. Envoy passes on 100 by default.
const MAX_HEADERS: usize = 256;
/// The buffer for the bytes before the body. A request that is much longer is answered 431. Envoy passes on 60 KiB by
/// default, and the path once more.
const MAX_HEAD_BYTES: usize = 256 << 10;
/// The most bytes of a body that are read, and thrown away, to keep the connection.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a client may take from one request to the next. Envoy closes its own end after an hour, and must be the first:
/// a request that crosses our closing would be answered 403.
const HEAD_TIMEOUT: Duration = Duration::from_secs(4_200);

/// How long a client may take to send the rest of a body. Its decision does not wait any longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until the client closes the connection, or until it is drained or cut.
///
/// HTTP/1.1 cannot say in advance that a connection will be closed, and a request that crosses the closing is lost, which
/// Envoy answers with 403. So once a connection is too old, or the process is about to stop, the next answer closes it.
pub(super) async fn serve<S: Service>(
    stream: std::net::TcpStream,
    routes: Routes<S>,
    lifecycle: &Lifecycle,
    limits: &ConnectionLimits,
) -> Result<(), ConnectionError> {
    let stream = TcpStream::from_std(stream).map_err(|error| ConnectionError::Broken(error.into()))?;
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    // One that never sends anything is given up, as on the gRPC port.
    if time::timeout(PREFACE_TIMEOUT, stream.readable()).await.is_err() {
        return Err(ConnectionError::Silent);
    }
    let old_at = clock::monotonic() + limits.age();
    let is_last = || clock::monotonic() >= old_at || lifecycle.phase() >= Phase::Leaving;
    let service = service_fn(|request| answer(&routes, request, is_last()));
    let limits = ConnectionLimits { max_age: None, ..*limits };
    let connection = pin!(http1.serve_connection(TokioIo::new(stream), service));
    let ended = run(connection, |connection| connection.graceful_shutdown(), lifecycle, &limits).await;
    ended.map_err(|error| match error {
        // hyper has answered it with 400, 414 or 431.
        ConnectionError::Http(error) if error.is_parse() => ConnectionError::Unreadable(error),
        other => other,
    })
}

async fn answer<S: Service>(
    routes: &Routes<S>,
    request: Request<Incoming>,
    is_last: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut response = routes.check_http(&parts).await.map(|body| Full::new(Bytes::from(body)));
    let is_drained = time::timeout(BODY_TIMEOUT, is_drained(body)).await.unwrap_or(false);
    if is_last || !is_drained {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads a body to its end. False if it is too long or broken, so that the connection cannot be used again.
async fn is_drained(mut body: Incoming) -> bool {
    let mut left = MAX_BODY_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return false };
        left = rest;
    }
    true
}
