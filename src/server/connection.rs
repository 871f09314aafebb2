//! One connection, from its first byte to its end.

use std::{
    io,
    pin::{Pin, pin},
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{io::Interest, net::TcpStream, select, time};
use tokio_rustls::server::TlsStream;

use super::{ConnectionLimits, not_http2::Opening, routes::Routes, tls::Tls, unvectored::Unvectored};
use crate::{
    error::SystemError,
    lifecycle::{Lifecycle, Phase},
    protocol::Service,
};

/// Maximum number of streams that a client may have open on one connection. hyper's default is 200. Envoy's own circuit
/// breaker allows 1,024 on each of its workers, and Envoy lets a request beyond our maximum pass unlimited.
const MAX_STREAMS: u32 = 4_096;

/// Maximum number of streams that a client may have opened and reset before the server has seen them. Beyond it h2
/// closes the connection. Its default of 20 is too low: when the server stalls for longer than Envoy's timeout (20 ms)
/// with more calls than that under way, the next read brings the calls and their resets together.
const MAX_UNSEEN_RESETS: usize = 1_024;

/// Bytes that a client may send before they are read. With hyper's 1 MiB, many long requests wait for the window and
/// arrive in small frames, and h2 closes a connection on which those exceed half of it (`too_many_data_frames`).
/// `bounded_body` bounds what has been read.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Maximum size of the headers of one call, names and values. Envoy sends some 400 bytes of its own, and
/// `initial_metadata` may contain a header of Envoy's client.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// How long a client may take to send the HTTP/2 preface.
pub(super) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same once the server drains. It is enough for a connection that was accepted just before and whose first request
/// follows the preface at once.
const PREFACE_GRACE: Duration = Duration::from_millis(100);

/// The first bytes of every HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const PREFACE_BYTES: usize = 24;

/// The first byte of every TLS connection (RFC 8446, section 5.1).
const FIRST_OF_HANDSHAKE: u8 = 0x16;

/// Pause before looking again if the first bytes arrive in pieces, which no known client does.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// Why a connection ended, if its client did not close it.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error("the client does not speak HTTP/2: {0:?}")]
    NotHttp2(Opening),
    #[error("the client sent nothing for {PREFACE_TIMEOUT:?}")]
    Silent,
    #[error("the client does not speak TLS")]
    NotTls,
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    #[error("a check by HTTP cannot be read")]
    Unreadable(#[source] hyper::Error),
    #[error("it broke before the first request")]
    Broken(#[source] SystemError),
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("it was still open when the server ended")]
    Cut,
    #[error("it was still open {0:?} after the client was told to open another")]
    Outstayed(Duration),
}

pub(super) fn http2(limits: &ConnectionLimits) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive_timeout)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS);
    http2
}

/// Serves until the client closes the connection, or until it is drained, too old or cut. When it is drained or too
/// old, requests under way are answered, and the client is told (GOAWAY) to send no more on it.
pub(super) async fn serve<S: Service>(
    stream: std::net::TcpStream,
    tls: Option<&Tls>,
    routes: Routes<S>,
    http2: &http2::Builder<TokioExecutor>,
    lifecycle: &Lifecycle,
    limits: &ConnectionLimits,
) -> Result<(), ConnectionError> {
    let stream = TcpStream::from_std(stream).map_err(|error| ConnectionError::Broken(error.into()))?;
    if let Some(tls) = tls {
        return serve_over_tls(stream, tls, routes, http2, lifecycle, limits).await;
    }
    // hyper would wait for the preface for ever, even while draining.
    select! {
        greeted = time::timeout(PREFACE_TIMEOUT, greeting(&stream)) => match greeted {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return Err(stalled(&stream).await),
        },
        () = draining_for(PREFACE_GRACE, lifecycle) => return Ok(()),
    }
    let connection = pin!(http2.serve_connection(Unvectored::new(stream), routes));
    run(connection, |connection| connection.graceful_shutdown(), lifecycle, limits).await
}

/// The same over TLS. A handshake has the time of a preface.
async fn serve_over_tls<S: Service>(
    stream: TcpStream,
    tls: &Tls,
    routes: Routes<S>,
    http2: &http2::Builder<TokioExecutor>,
    lifecycle: &Lifecycle,
    limits: &ConnectionLimits,
) -> Result<(), ConnectionError> {
    let stream = select! {
        secured = secured(stream, tls) => match secured? {
            Some(stream) => stream,
            None => return Ok(()),
        },
        () = draining_for(PREFACE_GRACE, lifecycle) => return Ok(()),
    };
    let connection = pin!(http2.serve_connection(TokioIo::new(stream), routes));
    run(connection, |connection| connection.graceful_shutdown(), lifecycle, limits).await
}

/// The stream after its handshake. None if the client has closed the connection without sending anything.
async fn secured(stream: TcpStream, tls: &Tls) -> Result<Option<TlsStream<TcpStream>>, ConnectionError> {
    let until = time::Instant::now() + PREFACE_TIMEOUT;
    let mut start = [0; PREFACE_BYTES];
    let peeked = time::timeout_at(until, stream.peek(&mut start)).await;
    let peeked = peeked.map_err(|_elapsed| ConnectionError::Silent)?;
    let there = peeked.map_err(|error| ConnectionError::Broken(error.into()))?;
    match start[..there] {
        [] => Ok(None),
        [FIRST_OF_HANDSHAKE, ..] => {
            tls.accept(stream, until).await.map(Some).map_err(ConnectionError::Handshake)
        }
        _ => Err(ConnectionError::NotTls),
    }
}

/// Drives a connection to its end, which `shut_down` asks for when it is time to drain, or when it is too old.
pub(super) async fn run<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    lifecycle: &Lifecycle,
    limits: &ConnectionLimits,
) -> Result<(), ConnectionError> {
    let grace = select! {
        biased;
        ended = &mut connection => return ended.map_err(ConnectionError::Http),
        () = lifecycle.reached(Phase::Draining) => Duration::MAX,
        () = time::sleep(limits.age()) => limits.max_age_grace,
    };
    shut_down(connection.as_mut());
    select! {
        biased;
        ended = connection => ended.map_err(ConnectionError::Http),
        () = lifecycle.reached(Phase::Ended) => Err(ConnectionError::Cut),
        () = time::sleep(grace) => Err(ConnectionError::Outstayed(grace)),
    }
}

async fn draining_for(grace: Duration, lifecycle: &Lifecycle) {
    lifecycle.reached(Phase::Draining).await;
    time::sleep(grace).await;
}

/// Whether the client has begun to speak HTTP/2; false if it has closed the connection without sending anything. Does
/// not consume its bytes. Waits for more of them while they may still turn out to be one protocol or another.
async fn greeting(stream: &TcpStream) -> Result<bool, ConnectionError> {
    let broken = |error: io::Error| ConnectionError::Broken(error.into());
    let mut start = [0; PREFACE_BYTES];
    loop {
        let there = stream.peek(&mut start).await.map_err(broken)?;
        let start = &start[..there];
        let not_http2 = || Err(ConnectionError::NotHttp2(Opening::from_bytes(start)));
        match there {
            0 => return Ok(false),
            PREFACE_BYTES if start == PREFACE => return Ok(true),
            _ if !PREFACE.starts_with(start) && !Opening::is_unfinished(start) => return not_http2(),
            _ if stream.ready(Interest::READABLE).await.map_err(broken)?.is_read_closed() => {
                return not_http2();
            }
            _ => time::sleep(PREFACE_PAUSE).await,
        }
    }
}

/// The error for a client that stopped in the middle of its first bytes, or before them.
async fn stalled(stream: &TcpStream) -> ConnectionError {
    let mut start = [0; PREFACE_BYTES];
    match time::timeout(Duration::ZERO, stream.peek(&mut start)).await {
        Ok(Ok(there)) if !PREFACE.starts_with(&start[..there]) => {
            ConnectionError::NotHttp2(Opening::from_bytes(&start[..there]))
        }
        _ => ConnectionError::Silent,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    /// Polls once, when there is something to read.
    async fn is_decided<F: Future>(server: &TcpStream, greeting: Pin<&mut F>) -> Option<F::Output> {
        server.readable().await.unwrap();
        time::timeout(Duration::ZERO, greeting).await.ok()
    }

    #[tokio::test]
    async fn first_bytes_that_come_in_pieces_are_told_apart_when_enough_have_come() {
        let expected: [(&[&[u8]], Option<Opening>); 6] = [
            (&[b"P", b"O", b"ST /envoy.service.rate"], Some(Opening::Decision)),
            (&[b"POST /", b"json HTTP/1.1"], Some(Opening::Http1)),
            (&[b"G", b"ET /"], Some(Opening::Http1)),
            (&[&[0x16], &[0x03]], Some(Opening::Tls)),
            (&[b"P", b"ING"], Some(Opening::Other)),
            (&[b"P", &PREFACE[1..]], None),
        ];
        for (pieces, opening) in expected {
            let (mut client, server) = pair().await;
            let mut greeting = pin!(greeting(&server));
            let (last, first) = pieces.split_last().unwrap();
            for piece in first {
                client.write_all(piece).await.unwrap();
                let decided = is_decided(&server, greeting.as_mut()).await;
                assert!(decided.is_none(), "{pieces:?} after {piece:?}: {decided:?}");
            }
            client.write_all(last).await.unwrap();
            match greeting.await {
                Ok(is_http2) => assert!(is_http2 && opening.is_none(), "{pieces:?}"),
                Err(ConnectionError::NotHttp2(found)) => assert_eq!(Some(found), opening, "{pieces:?}"),
                Err(error) => panic!("{pieces:?}: {error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_stops_in_between_is_judged_by_what_it_has_sent() {
        let expected: [(&[u8], Option<Opening>); 4] =
            [(b"POST /", Some(Opening::Http1)), (b"PO", Some(Opening::Other)), (b"PRI", None), (b"", None)];
        for (start, opening) in expected {
            let (mut client, server) = pair().await;
            client.write_all(start).await.unwrap();
            if !start.is_empty() {
                server.readable().await.unwrap();
            }
            let found = match stalled(&server).await {
                ConnectionError::NotHttp2(opening) => Some(opening),
                _ => None,
            };
            assert_eq!(found, opening, "{start:?}");
            drop(client);
            if !start.is_empty() {
                let ended = greeting(&server).await;
                let opening = opening.unwrap_or(Opening::Other);
                assert!(
                    matches!(ended, Err(ConnectionError::NotHttp2(found)) if found == opening),
                    "{start:?}"
                );
            }
        }
    }
}
