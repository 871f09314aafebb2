//! Clients whose bytes cannot be read: those of the gRPC port that do not begin with HTTP/2, or with TLS where the port speaks it: counted, and warned about.
//!
//! Envoy speaks HTTP/1.1 unless its cluster says otherwise. It gets no answer then, and lets every request pass in
//! silence, so a warning names the setting. Probes and scanners come to every open port: one that speaks neither HTTP
//! nor TLS is only counted, and one that sends nothing is not even counted.

use std::{io, net::SocketAddr, sync::Arc};

use tracing::warn;

use crate::{
    clock::Clock,
    logging::{
        hourly::Hourly,
        short,
        subjects::{Due, Warnings},
    },
    metrics::{Door, Metrics},
};

/// What a connection began with in place of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Envoy's call for a decision, over HTTP/1.1.
    Decision,
    Http1,
    Tls,
    Other,
}

/// Counts and warnings for the whole process.
#[derive(Debug)]
pub(super) struct NotHttp2 {
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Apart from other HTTP/1.1, so that an earlier probe does not hide the warning about an Envoy.
    decision: Hourly,
    http1: Hourly,
    tls: Hourly,
    plain: Hourly,
    /// By reason, so that a scanner does not hide the warning about an Envoy whose certificate has expired.
    handshakes: Warnings,
    unreadable: Hourly,
}

/// Calls to the rate-limit service and of ext_authz, as far as they fit into the bytes that are looked at.
const DECISIONS: [&[u8]; 2] = [b"POST /envoy.service.rate", b"POST /envoy.service.auth"];
/// The beginnings of HTTP/1.1 requests.
const REQUESTS: [&[u8]; 9] = [
    b"GET /",
    b"HEAD /",
    b"POST /",
    b"PUT /",
    b"DELETE /",
    b"PATCH /",
    b"TRACE /",
    b"OPTIONS /",
    b"OPTIONS *",
];
/// A handshake record of any version of TLS (RFC 8446, section 5.1).
const HANDSHAKE: &[u8] = &[0x16, 0x03];

// === impl Opening ===

impl Opening {
    /// Judges by the first bytes, however many have arrived.
    pub(super) fn from_bytes(start: &[u8]) -> Opening {
        if DECISIONS.iter().any(|decision| start.starts_with(decision)) {
            Opening::Decision
        } else if REQUESTS.iter().any(|request| start.starts_with(request)) {
            Opening::Http1
        } else if start.starts_with(HANDSHAKE) {
            Opening::Tls
        } else {
            Opening::Other
        }
    }

    /// Whether the bytes that follow may still turn this into another opening.
    pub(super) fn is_unfinished(start: &[u8]) -> bool {
        let mut all = REQUESTS.into_iter().chain(DECISIONS).chain([HANDSHAKE]);
        all.any(|whole| whole.len() > start.len() && whole.starts_with(start))
    }

    /// The word in the metric's label.
    const fn kind(self) -> &'static str {
        match self {
            Opening::Decision | Opening::Http1 => "http1",
            Opening::Tls => "tls",
            Opening::Other => "other",
        }
    }
}

// === impl NotHttp2 ===

impl NotHttp2 {
    pub(super) fn new(metrics: Arc<Metrics>) -> NotHttp2 {
        let [decision, http1, tls, plain, unreadable] = [const { Hourly::new() }; 5];
        let (clock, handshakes) = (Clock::start(), Warnings::default());
        NotHttp2 { metrics, clock, decision, http1, tls, plain, handshakes, unreadable }
    }

    /// A connection from `peer` began like this, and was closed.
    pub(super) fn note(&self, peer: SocketAddr, opening: Opening) {
        self.metrics.count_not_http2(opening.kind());
        let told = |kind: &Hourly| kind.occurs(self.clock.now_us());
        match opening {
            Opening::Decision => {
                if let Some(times) = told(&self.decision) {
                    warn!(%peer, times, "{ENVOY_OVER_HTTP1}");
                }
            }
            Opening::Http1 => {
                if let Some(times) = told(&self.http1) {
                    warn!(%peer, times, "{SOMEBODY_OVER_HTTP1}");
                }
            }
            Opening::Tls => {
                if let Some(times) = told(&self.tls) {
                    warn!(%peer, times, "{OVER_TLS}");
                }
            }
            Opening::Other => {}
        }
    }

    /// A connection from `peer` to a port that speaks TLS began with something else, and was closed.
    pub(super) fn note_plain(&self, peer: SocketAddr) {
        self.metrics.count_not_http2("plain");
        if let Some(times) = self.plain.occurs(self.clock.now_us()) {
            warn!(%peer, times, "{PLAIN}");
        }
    }

    /// A check by HTTP from `peer` could not be read, and was answered with an error.
    pub(super) fn note_unreadable(&self, peer: SocketAddr, error: &hyper::Error) {
        self.metrics.count_invalid(Door::AuthzHttp);
        if let Some(times) = self.unreadable.occurs(self.clock.now_us()) {
            warn!(%peer, times, %error, "{UNREADABLE}");
        }
    }

    /// A handshake with `peer` failed, and the connection was closed.
    pub(super) fn note_handshake(&self, peer: SocketAddr, error: &io::Error) {
        self.metrics.count_not_http2("handshake");
        let reason = error.to_string();
        let Some(due) = self.handshakes.occurs(kind_of_reason(&reason)) else { return };
        let reason = short(reason.as_bytes());
        match due {
            Due::Subject { times } => warn!(%peer, times, error = reason, "{HANDSHAKE_FAILED}"),
            Due::Others { times } => warn!(%peer, times, error = reason, "{OTHER_HANDSHAKES_FAILED}"),
        }
    }
}

/// The words of a reason before its first number. One for an expired certificate has the time in it, and would be new
/// every second.
fn kind_of_reason(reason: &str) -> &str {
    reason.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default()
}

const ENVOY_OVER_HTTP1: &str = "Envoy calls the gRPC port over HTTP/1.1 and gets no answer. Its rate-limit filter lets \
    requests pass unlimited then, and its ext_authz filter denies them: set explicit_http_config: { http2_protocol_options: {} } on its cluster for Tollgate";
const SOMEBODY_OVER_HTTP1: &str = "a client of the gRPC port speaks HTTP/1.1 and gets no answer. If it is an Envoy, its \
    requests pass unlimited: set http2_protocol_options on its cluster for Tollgate. Send HTTP probes to the \
    admin port";
const PLAIN: &str = "a client of the gRPC port does not speak TLS, and gets no answer. If it is an Envoy, its requests may pass \
    unlimited: give its cluster for Tollgate a transport_socket of TLS, or remove --grpc-tls-cert";
const HANDSHAKE_FAILED: &str = "a TLS handshake on the gRPC port failed. If the client is an Envoy, its requests may pass \
    unlimited: compare its CA and its certificate with --grpc-tls-cert and --grpc-client-ca";
const OTHER_HANDSHAKES_FAILED: &str = "TLS handshakes on the gRPC port failed for further reasons, and this is one of them. If a \
    client is an Envoy, its requests may pass unlimited";
const UNREADABLE: &str = "a check by HTTP cannot be read, and was answered with 400, 414 or 431, which Envoy passes on to its \
    client. The port speaks HTTP/1.1 only, with up to 256 headers and a path below 64 kB, and refuses some characters in it (docs/authz.md)";
const OVER_TLS: &str = "a client of the gRPC port speaks TLS, which this Tollgate does not speak, and gets no answer. If it is \
    an Envoy, its requests pass unlimited: remove the TLS transport_socket from its cluster for Tollgate, or set \
    --grpc-tls-cert";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_speaks_is_told_by_its_first_bytes() {
        let expected: [(&[u8], Opening); 17] = [
            (
                b"POST /envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit HTTP/1.1",
                Opening::Decision,
            ),
            (b"POST /envoy.service.rate", Opening::Decision),
            (b"POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1", Opening::Decision),
            (b"POST /json HTTP/1.1", Opening::Http1),
            (b"GET / HTTP/1.1", Opening::Http1),
            (b"GET /", Opening::Http1),
            (b"OPTIONS * HTTP/1.1", Opening::Http1),
            (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], Opening::Tls),
            (&[0x16, 0x03], Opening::Tls),
            (&[0x16], Opening::Other),
            (&[0x16, 0x02], Opening::Other),
            // nmap, a proxy's preamble, Redis, ssh, and parts of a word.
            (b"OPTIONS sip:nm SIP/2.0", Opening::Other),
            (b"PROXY TCP4 10.0.0.1", Opening::Other),
            (b"PING\r\n", Opening::Other),
            (b"SSH-2.0-x", Opening::Other),
            (b"GET", Opening::Other),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Opening::Other),
        ];
        for (start, opening) in expected {
            assert_eq!(Opening::from_bytes(start), opening, "{}", String::from_utf8_lossy(start));
        }
    }
}
