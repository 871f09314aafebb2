//! Everything else: TLS, connections, logs, answers, metrics.

use super::reader::Reader;
use crate::metrics::NearLimitRatio;

/// How long `serve` drains under this name. Envoys of Envoy Gateway go on asking a replica until the kubelet, the
/// EndpointSlice and Envoy Gateway have told them that it leaves.
const DRAIN_WAIT: &str = "10s";

/// The reference sends no headers of its own by default; what a 429 carries besides, it does not have.
const HEADERS: &str = "retry-after,problem-body";
const MORE_HEADERS: &str = "retry-after,ratelimit,problem-body";

/// Headers whose names the reference lets operators choose, and their names here.
const NAMES: [(&str, &str); 3] = [
    ("LIMIT_LIMIT_HEADER", "ratelimit-limit"),
    ("LIMIT_REMAINING_HEADER", "ratelimit-remaining"),
    ("LIMIT_RESET_HEADER", "ratelimit-reset"),
];

/// What the reference takes for no end.
const NO_GRACE: &str = "8760h";

pub(super) fn translate(reader: &mut Reader<'_>) {
    reader.put("drain-wait", DRAIN_WAIT, &[]);
    reader.put("admin-json", "on", &[]);
    tls(reader);
    connections(reader);
    logs(reader);
    answers(reader);
    metrics(reader);
    if reader.is_on("USE_CALENDAR_MONTH_RATE_LIMIT") {
        reader.put("calendar-months", "on", &["USE_CALENDAR_MONTH_RATE_LIMIT"]);
    } else {
        reader.honour(&["USE_CALENDAR_MONTH_RATE_LIMIT"]);
    }
}

fn tls(reader: &mut Reader<'_>) {
    if !reader.is_on("GRPC_SERVER_USE_TLS") {
        reader.honour(&["GRPC_SERVER_USE_TLS"]);
        return;
    }
    let certificate: &[&str; 2] = &["GRPC_SERVER_USE_TLS", "GRPC_SERVER_TLS_CERT"];
    let key: &[&str; 1] = &["GRPC_SERVER_TLS_KEY"];
    for (flag, by) in [("grpc-tls-cert", &certificate[..]), ("grpc-tls-key", key)] {
        let name = by[by.len() - 1];
        match reader.text(name) {
            Some(file) => reader.put(flag, file, by),
            None if reader.tollgate(flag).is_some() => reader.put(flag, "", by),
            None => reader.refuse(name, "name a file, because GRPC_SERVER_USE_TLS is true"),
        }
    }
    if let Some(authority) = reader.text("GRPC_CLIENT_TLS_CACERT") {
        reader.put("grpc-client-ca", authority, &["GRPC_CLIENT_TLS_CACERT"]);
        reader.leave_to("GRPC_CLIENT_TLS_CACERT", &["GRPC_SERVER_TLS_CA_CERT"]);
    } else if let Some(authority) = reader.text("GRPC_SERVER_TLS_CA_CERT") {
        reader.put("grpc-client-ca", authority, &["GRPC_SERVER_TLS_CA_CERT"]);
    }
    if reader.text("GRPC_CLIENT_TLS_SAN").is_some() {
        reader.refuse(
            "GRPC_CLIENT_TLS_SAN",
            "Tollgate checks who signed a client's certificate, not its names: leave it empty, and let \
             GRPC_CLIENT_TLS_CACERT name an authority that signs for Envoys only",
        );
    }
}

fn connections(reader: &mut Reader<'_>) {
    if let Some(age) = reader.time("GRPC_MAX_CONNECTION_AGE") {
        reader.put("max-connection-age", format!("{}ns", age.as_nanos()), &["GRPC_MAX_CONNECTION_AGE"]);
    }
    if let Some(grace) = reader.time("GRPC_MAX_CONNECTION_AGE_GRACE") {
        let grace = if grace.is_zero() { NO_GRACE.to_owned() } else { format!("{}ns", grace.as_nanos()) };
        reader.put("max-connection-age-grace", grace, &["GRPC_MAX_CONNECTION_AGE_GRACE"]);
    }
}

fn logs(reader: &mut Reader<'_>) {
    if let Some(level) = reader.text("LOG_LEVEL").map(str::to_ascii_lowercase) {
        let level = match &level[..] {
            "panic" | "fatal" => Some("error"),
            "warning" => Some("warn"),
            "error" | "warn" | "info" | "debug" | "trace" => Some(&level[..]),
            _ => None,
        };
        match level {
            Some(level) => reader.put("log-level", level, &["LOG_LEVEL"]),
            None => reader.refuse("LOG_LEVEL", "write error, warn, info, debug or trace"),
        }
    }
    // The reference takes every other word for text.
    let is_json = reader.text("LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    reader.put("log-format", if is_json { "json" } else { "text" }, &["LOG_FORMAT"]);
}

fn answers(reader: &mut Reader<'_>) {
    let switches: [(&str, &[&str; 1]); 3] = [
        ("shadow-mode", &["SHADOW_MODE"]),
        ("quota-mode", &["QUOTA_MODE"]),
        ("dynamic-metadata", &["RESPONSE_DYNAMIC_METADATA"]),
    ];
    for (flag, by) in switches {
        if reader.text(by[0]).is_some() {
            reader.put(flag, if reader.is_on(by[0]) { "on" } else { "off" }, by);
        }
    }
    let has_headers = reader.is_on("LIMIT_RESPONSE_HEADERS_ENABLED");
    let headers = if has_headers { MORE_HEADERS } else { HEADERS };
    reader.put("headers", headers, &["LIMIT_RESPONSE_HEADERS_ENABLED"]);
    for (variable, name) in NAMES {
        let other = reader.text(variable).filter(|other| !other.eq_ignore_ascii_case(name));
        if let Some(other) = other.filter(|_| has_headers) {
            reader.warnings.push(format!(
                "{variable} is {other:?}, but the header is called {name}: let Envoy rename it, or clients read {name}"
            ));
        }
    }
}

fn metrics(reader: &mut Reader<'_>) {
    reader.put("reference-metrics", "on", &[]);
    let Some(ratio) = reader.text("NEAR_LIMIT_RATIO") else { return };
    match ratio.parse::<NearLimitRatio>() {
        Ok(_) => reader.put("near-limit-ratio", ratio, &["NEAR_LIMIT_RATIO"]),
        // Not worth a refusal, since no decision depends on it.
        Err(error) => {
            reader.honour(&["NEAR_LIMIT_RATIO"]);
            reader.warnings.push(format!("NEAR_LIMIT_RATIO is {ratio:?}, and 0.8 is used instead: {error}"));
        }
    }
}
