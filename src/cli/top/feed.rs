//! Reads `/live` of one address, again and again.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time};

use super::{figures::Figures, text, url::AdminUrl};
use crate::error::{SystemError, chain};

/// How long connecting may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Messages come every second; without one for so long, the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Several times the largest message of 200 rules.
const LONGEST_MESSAGE: usize = 8 << 20;
/// Of an answer that refuses.
const LONGEST_REFUSAL: usize = 4 << 10;

/// What came from an address last.
#[derive(Debug)]
pub(super) enum Heard {
    Figures(Box<Figures>),
    Lost { why: String, last: Option<Box<Figures>> },
}

#[derive(Debug, Error)]
enum FeedError {
    #[error("cannot connect; give the admin address of a Tollgate, which is its --admin-listen")]
    Connect(#[source] SystemError),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    NoAnswer,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("no live figures there: {status} {text}")]
    Refused { status: StatusCode, text: String },
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the connection was closed")]
    Closed,
    #[error("the answer is not Tollgate's: {0}")]
    NotFigures(&'static str),
}

/// The connection ends with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends when nobody listens any more.
pub(super) async fn follow(url: AdminUrl, number: usize, to: mpsc::Sender<(usize, Heard)>) {
    loop {
        let Err(error) = read(&url, number, &to).await else { return };
        let lost = Heard::Lost { why: chain(&error), last: None };
        if to.send((number, lost)).await.is_err() {
            return;
        }
        time::sleep(AGAIN_AFTER).await;
    }
}

/// Returns when nobody listens any more.
async fn read(url: &AdminUrl, number: usize, to: &mpsc::Sender<(usize, Heard)>) -> Result<(), FeedError> {
    let (mut body, _driver) = open(url).await?;
    let mut buffer = Vec::new();
    loop {
        let Ok(frame) = time::timeout(SILENCE, body.frame()).await else { return Err(FeedError::Silent) };
        let frame = frame.ok_or(FeedError::Closed)?.map_err(FeedError::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(event) = next_event(&mut buffer) {
            let Some(message) = message(&event) else { continue };
            let figures = Figures::read(&message).map_err(FeedError::NotFigures)?;
            if to.send((number, Heard::Figures(Box::new(figures)))).await.is_err() {
                return Ok(());
            }
        }
        if buffer.len() > LONGEST_MESSAGE {
            return Err(FeedError::NotFigures("a message is too long"));
        }
    }
}

async fn open(url: &AdminUrl) -> Result<(Incoming, Driver), FeedError> {
    let late = |_: time::error::Elapsed| FeedError::NoAnswer;
    let connect = |error: io::Error| FeedError::Connect(error.into());
    let stream = time::timeout(PATIENCE, TcpStream::connect(&url.host_and_port)).await.map_err(late)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream.map_err(connect)?)).await.map_err(FeedError::Broken)?;
    // What goes wrong on it comes back from the request and the body.
    let driver = Driver(tokio::spawn(async { drop(connection.await) }));
    let request = Request::get(url.path("live?history=0"))
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "text/event-stream")
        .body(Empty::<Bytes>::new())
        .expect("a URL that was parsed makes a request");
    let answer = time::timeout(PATIENCE, sender.send_request(request)).await.map_err(late)?;
    let answer = answer.map_err(FeedError::Broken)?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok((answer.into_body(), driver));
    }
    let refusal = time::timeout(PATIENCE, Limited::new(answer.into_body(), LONGEST_REFUSAL).collect()).await;
    let told = refusal.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    Err(FeedError::Refused { status, text: text::cut(String::from_utf8_lossy(&told).trim(), 200) })
}

/// Takes the first whole event out of the buffer.
fn next_event(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let rest = buffer.split_off(end + 2);
    Some(std::mem::replace(buffer, rest))
}

/// The data of an event. None: it is a comment or an instruction.
fn message(event: &[u8]) -> Option<Vec<u8>> {
    let lines = event.split(|byte| *byte == b'\n');
    let data: Vec<&[u8]> = lines.filter_map(|line| line.strip_prefix(b"data:")).collect();
    (!data.is_empty()).then(|| data.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart_wherever_the_reads_end() {
        let stream = b"retry: 1000\n\n: ping\n\nid: 1\ndata: {\"a\":1}\n\nid: 2\ndata: {}\n\nid: 3\ndata: {";
        for size in 1..stream.len() {
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                buffer.extend_from_slice(part);
                while let Some(event) = next_event(&mut buffer) {
                    found.extend(message(&event));
                }
            }
            assert_eq!(found, [b" {\"a\":1}".to_vec(), b" {}".to_vec()], "in parts of {size}");
        }
    }
}
