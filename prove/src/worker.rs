//! One of the clients that work side by side: sends a request, waits for the answer, writes it down.
//!
//! It owns its links and its record, so that nothing is shared while the load runs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    contract::{self, Answer, Told},
    link::{Link, LinkError, Outgoing, Protocol, SendError},
    record::{Class, Entry, Record},
    timeline::Timeline,
};
use tollgate_core::{audit::Span, error::chain};

/// A request without an answer by then has none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A longer body is not read to its end, which costs its connection.
const LONGEST_BODY: usize = 1 << 20;

/// Between two attempts to connect, so that a dead target is not hammered at the speed of its refusals.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Where one target is, and what is sent there.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) address: SocketAddr,
    pub(super) request: Outgoing,
}

/// What all workers have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) spots: Vec<Spot>,
    pub(super) protocol: Protocol,
    pub(super) burst: u32,
    pub(super) timeline: Timeline,
}

#[derive(Debug)]
pub(super) struct Worker {
    common: Arc<Common>,
    links: Vec<Option<Link>>,
    record: Record,
}

/// What the client learns from one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) class: Class,
    pub(super) told: Option<Told>,
}

struct Sent {
    start_us: u64,
    end_us: u64,
    answer: Result<Response<Incoming>, Silence>,
}

struct Silence {
    kind: &'static str,
    error: String,
}

impl Worker {
    pub(super) fn new(common: Arc<Common>) -> Worker {
        let links = common.spots.iter().map(|_| None).collect();
        Worker { common, links, record: Record::default() }
    }

    pub(super) fn into_record(self) -> Record {
        self.record
    }

    pub(super) fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Opens the links ahead of the first request; one that fails now is tried again when it is needed.
    pub(super) async fn connect(&mut self) {
        for target in 0..self.links.len() {
            // The request that needs the link reports the failure.
            drop(self.link(target).await);
        }
    }

    /// Uses connections that another worker has opened already (HTTP/2), where they can be shared.
    pub(super) fn share_links_of(&mut self, other: &Worker) {
        for (mine, theirs) in self.links.iter_mut().zip(&other.links) {
            *mine = theirs.as_ref().and_then(Link::shared);
        }
    }

    /// One request to one target. `due_us` is when it should have been sent, if it is late.
    pub(super) async fn send(&mut self, target: usize, due_us: Option<u64>) -> Reply {
        let sent = self.exchange(target).await;
        let latency_us = sent.end_us - due_us.unwrap_or(sent.start_us).min(sent.start_us);
        let mut entry = Entry {
            span: Span { start_us: sent.start_us, end_us: sent.end_us },
            latency_us: u32::try_from(latency_us).unwrap_or(u32::MAX),
            status: 0,
            target: u16::try_from(target).expect("at most 1000 targets"),
            class: Class::Silent,
        };
        match sent.answer {
            Ok(response) => {
                entry.status = response.status().as_u16();
                self.judge(target, entry, response).await
            }
            Err(silence) => {
                self.record.unanswered(entry, silence.kind, silence.error);
                Reply { class: Class::Silent, told: None }
            }
        }
    }

    async fn judge(&mut self, target: usize, entry: Entry, response: Response<Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        let body = match timeout(ANSWER_TIMEOUT, Limited::new(body, LONGEST_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => {
                self.links[target] = None;
                Bytes::new()
            }
        };
        let answer = Answer { status: head.status, headers: &head.headers, body: &body };
        let judgement = contract::judge(answer, self.common.burst);
        let told = (head.status == StatusCode::TOO_MANY_REQUESTS).then(|| contract::told(&head.headers));
        let reply = Reply { class: judgement.class, told: told.flatten() };
        self.record.answered(entry, judgement);
        reply
    }

    /// Sends once; a second time only if the connection turned out closed before anything was written.
    async fn exchange(&mut self, target: usize) -> Sent {
        let mut start_us = self.common.timeline.before_us();
        let mut silence = Silence { kind: "unsent", error: SendError::Unsent.to_string() };
        for _ in 0..2 {
            let request = self.common.spots[target].request.clone();
            let timeline = self.common.timeline;
            let link = match self.link(target).await {
                Ok(link) => link,
                Err(error) => {
                    silence = Silence { kind: "no connection", error: chain(&error) };
                    tokio::time::sleep(CONNECT_PAUSE).await;
                    break;
                }
            };
            start_us = timeline.before_us();
            let answer = timeout(ANSWER_TIMEOUT, link.send(request)).await;
            let end_us = timeline.after_us();
            silence = match answer {
                Ok(Ok(response)) => return Sent { start_us, end_us, answer: Ok(response) },
                Ok(Err(SendError::Unsent)) => {
                    self.links[target] = None;
                    continue;
                }
                Ok(Err(error)) => Silence { kind: "broken connection", error: chain(&error) },
                Err(_) => Silence { kind: "timeout", error: format!("no answer within {ANSWER_TIMEOUT:?}") },
            };
            self.links[target] = None;
            break;
        }
        Sent { start_us, end_us: self.common.timeline.after_us(), answer: Err(silence) }
    }

    async fn link(&mut self, target: usize) -> Result<&mut Link, LinkError> {
        let (address, protocol) = (self.common.spots[target].address, self.common.protocol);
        let slot = &mut self.links[target];
        if let Some(link) = slot
            && !link.is_ready().await
        {
            *slot = None;
        }
        match slot {
            Some(link) => Ok(link),
            None => Ok(slot.insert(Link::open(address, protocol).await?)),
        }
    }
}
