//! The requests of one stream: which response is accepted or refused, and when.
//!
//! Versions and nonces are opaque: an equal version may hold other rules, since servers count anew when they start. A
//! response is accepted at once, because a server may send nothing more before. A refusal waits, because a server may
//! answer it with the same response at once; without the pause both would spin.

use std::time::{Duration, Instant};

use super::answer::TYPE_URL;
use crate::pb::{core::Node, discovery::DiscoveryRequest, google::rpc::Status};

/// The pause before the first refusal. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, and so the longest that a set which mends the mistake has to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// INVALID_ARGUMENT of gRPC.
const INVALID: i32 = 3;

/// What one stream has said so far.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The version that was accepted last. Empty: none on this stream.
    version: String,
    /// The refusals since then.
    refusals: u32,
    /// The refusal that waits, and when it is due.
    waiting: Option<(Instant, DiscoveryRequest)>,
}

// === impl Stream ===

impl Stream {
    /// A new stream, and its first request. Version and nonce are empty, so that the server sends all that it has.
    pub(super) fn open(node: Node) -> (Stream, DiscoveryRequest) {
        let stream = Stream::default();
        let first = DiscoveryRequest { node: Some(node), ..stream.request(String::new()) };
        (stream, first)
    }

    /// The request that accepts this response. A refusal that waits is dropped, since the response is newer.
    pub(super) fn accept(&mut self, version: String, nonce: String) -> DiscoveryRequest {
        *self = Stream { version, ..Stream::default() };
        self.request(nonce)
    }

    /// Refuses a response, at the time of [`Stream::due`].
    pub(super) fn refuse(&mut self, now: Instant, nonce: String, message: String) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals.min(16)).min(LONGEST_PAUSE);
        let error_detail = Some(Status { code: INVALID, message, details: Vec::new() });
        let request = DiscoveryRequest { error_detail, ..self.request(nonce) };
        // A server that sends on without waiting gets one refusal, of its newest response, and not later for that.
        let due = self.waiting.take().map_or(now + pause, |(due, _)| due);
        self.refusals = self.refusals.saturating_add(1);
        self.waiting = Some((due, request));
    }

    /// When a refusal has to be sent.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(due, _)| *due)
    }

    /// The refusal, if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<DiscoveryRequest> {
        self.waiting.take_if(|(due, _)| *due <= now).map(|(_, request)| request)
    }

    fn request(&self, response_nonce: String) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: self.version.clone(),
            type_url: TYPE_URL.to_owned(),
            response_nonce,
            ..DiscoveryRequest::default()
        }
    }
}

#[cfg(test)]
mod tests;
