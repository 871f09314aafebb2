//! `GET /live` and `GET /events`: the seconds of the process as server-sent events, and what happened as JSON lines.
//!
//! A message is made when the connection has room for it, so a reader that does not read costs no memory and misses
//! seconds; [`super::connections`] ends its connection after a while.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::{select, task};

use super::{Admin, query::Query};
use crate::{
    lifecycle::{Lifecycle, Phase},
    live::{Asked, Extent, MOST_ASKED_BYTES, MOST_EVENTS, MOST_READERS, Points, Reader, Watch},
};

const NO_STORE: (axum::http::HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

pub(super) async fn live(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let Some(live) = &admin.live else { return StatusCode::NOT_FOUND.into_response() };
    let query = match Query::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    if admin.lifecycle.phase() >= Phase::Draining {
        return unavailable("stopping\n".to_owned());
    }
    let Some(reader) = live.reader() else {
        return unavailable(format!("{MOST_READERS} readers are connected already\n"));
    };
    live.share_names().await;
    let first = if query.first("history") == Some("0") { Extent::Return } else { Extent::Past };
    let rule = query.first("domain").zip(query.first("rule"));
    let rule = rule.map(|(domain, rule)| live.want_top(domain, rule));
    let key = match key(&query) {
        Ok(key) => key.map(|asked| live.watch(asked)).transpose(),
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let key = match key {
        Ok(key) => key,
        Err(why) => return unavailable(format!("{why}\n")),
    };
    let lifecycle = admin.lifecycle.clone();
    let messages =
        Messages::new(Subscription { reader, lifecycle, extent: first, points: Points::All, rule, key });
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    ([kind, NO_STORE], Body::new(messages)).into_response()
}

pub(super) async fn events(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let Some(live) = admin.live else { return StatusCode::NOT_FOUND.into_response() };
    let query = query.unwrap_or_default();
    let asked = Query::parse(&query).and_then(|query| {
        let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
        Ok((query.number("after")?, limit.unwrap_or(MOST_EVENTS)))
    });
    let (after, limit) = match asked {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    live.share_names().await;
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    match task::spawn_blocking(move || live.events(after, limit).lines()).await {
        Ok(lines) => ([kind, NO_STORE], lines).into_response(),
        // A panic, which the panic hook has logged.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The key that is asked for.
fn key(query: &Query) -> Result<Option<Asked>, String> {
    let entries: Vec<String> = query.all("entries").map(str::to_owned).collect();
    if entries.is_empty() {
        return Ok(None);
    }
    if entries.iter().map(String::len).sum::<usize>() > MOST_ASKED_BYTES {
        return Err(format!("the entries have more than {MOST_ASKED_BYTES} bytes"));
    }
    if let Some(entry) = entries.iter().find(|entry| !entry.contains('=')) {
        return Err(format!("entries must be KEY=VALUE, with the = written %3D, not {entry:?}"));
    }
    Ok(Some(Asked { domain: query.first("domain").map(str::to_owned), entries }))
}

fn unavailable(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, HeaderValue::from_static("5"))], why).into_response()
}

// === messages ===

/// What one reader gets.
struct Subscription {
    reader: Reader,
    lifecycle: Lifecycle,
    extent: Extent,
    points: Points,
    /// The domain and the rule whose top keys it gets.
    rule: Option<Arc<(String, String)>>,
    /// The key whose course it gets.
    key: Option<Arc<Watch>>,
}

/// The parts of a message, and the subscription that waits for the next one.
type Made = Option<(Vec<Bytes>, Subscription)>;

/// The body of an answer that ends only with the server.
struct Messages {
    ready: VecDeque<Bytes>,
    next: Pin<Box<dyn Future<Output = Made> + Send>>,
}

impl Messages {
    fn new(subscription: Subscription) -> Messages {
        let retry = Bytes::from_static(b"retry: 1000\n\n");
        Messages { ready: VecDeque::from([retry]), next: Box::pin(subscription.next()) }
    }
}

impl Subscription {
    /// The parts of the next message; None once the server drains.
    async fn next(mut self) -> Made {
        select! {
            biased;
            () = self.lifecycle.reached(Phase::Draining) => return None,
            () = self.reader.second_ended() => {}
        }
        let (live, extent, rule) = (Arc::clone(self.reader.live()), self.extent, self.rule.clone());
        let (key, points) = (self.key.clone(), self.points);
        let parts = task::spawn_blocking(move || {
            let (second, common) = live.second(extent);
            // What this reader alone has asked for, and the end of the message.
            let top = rule.map_or("null".to_owned(), |rule| live.top(&rule.0, &rule.1));
            let key = key.map_or("null".to_owned(), |key| live.course(&key, points));
            let head = format!("id: {second}\ndata: ");
            let own = format!(",\"top\":{top},\"key\":{key}}}\n\n");
            vec![Bytes::from(head), common, Bytes::from(own)]
        });
        (self.extent, self.points) = (Extent::Second, Points::Newest);
        // Fails after a panic, which the panic hook has logged.
        Some((parts.await.ok()?, self))
    }
}

impl hyper::body::Body for Messages {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            match self.next.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some((parts, subscription))) => {
                    self.ready.extend(parts);
                    self.next = Box::pin(subscription.next());
                }
            }
        }
    }
}
