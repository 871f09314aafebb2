//! Traces by OTLP, to a collector that answers, refuses, is silent or is away.

use std::{net::TcpListener, time::Duration};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use tollgate::{
    clock,
    pb::{
        auth::{self, authorization_client::AuthorizationClient},
        rate_limit_response::Code as Overall,
    },
};

use super::{
    Service, VALUE,
    collector::{Answer, Collector, Protocol, attribute},
    support,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const EXPORTED: &str = "tollgate_spans_total{result=\"exported\"}";
const FAILED: &str = "tollgate_spans_total{result=\"failed\"}";
const DROPPED: &str = "tollgate_spans_total{result=\"dropped\"}";

/// A Tollgate that sends its spans there soon.
async fn tracing(test: &str, endpoint: &str, variables: &[(&str, &str)], args: &[&str]) -> Service {
    Service::start(test, |serve| {
        let serve = serve.args(args).variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let serve = serve.variable("OTEL_BSP_SCHEDULE_DELAY", "50");
        variables.iter().fold(serve, |serve, (name, value)| serve.variable(name, value))
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(span: &Span, name: &str, value: &str) {
    assert_eq!(attribute(span, name).as_deref(), Some(value), "{name} of {span:?}");
}

/// What a span of `ShouldRateLimit` always has.
fn is_request(span: &Span) {
    let method = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    assert_eq!((&span.name[..], span.kind), (method, SpanKind::Server as i32));
    named(span, "rpc.system.name", "grpc");
    named(span, "rpc.method", method);
    let now_ns = clock::unix_us() * 1_000;
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano && span.end_time_unix_nano <= now_ns);
    assert!(now_ns - span.start_time_unix_nano < 60_000_000_000, "{span:?}");
}

#[tokio::test]
async fn by_http_a_denied_request_is_a_span_below_its_callers_and_shows_no_value() {
    let collector = Collector::start(Protocol::Http).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t0ken"),
        ("OTEL_SERVICE_NAME", "limits"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=edge"),
    ];
    let url = format!("http://{}", collector.address);
    let mut service = tracing("traces-http", &url, &variables, &[]).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", &parent[..]), ("tracestate", "vendor=1")];
    service.ask("once", &headers).await;
    assert_eq!(service.ask("once", &headers).await.overall_code(), Overall::OverLimit);
    let spans = collector.until(2).await;
    for (span, verdict) in spans.iter().zip(["allow", "deny"]) {
        is_request(span);
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
        assert_eq!(span.trace_state, "vendor=1");
        named(span, "rpc.response.status_code", "OK");
        named(span, "tollgate.verdict", verdict);
        named(span, "tollgate.rule", "once");
        named(span, "tollgate.domain", "edge");
        named(span, "tollgate.source", "store");
        assert!(span.status.is_none(), "a denial is an answer");
        assert!(!format!("{span:?}").contains(VALUE));
    }
    assert_ne!(spans[0].span_id, spans[1].span_id);
    assert_eq!(collector.header("authorization").as_deref(), Some("Bearer t0ken"));
    let resource = collector.resource();
    for (name, value) in [("service.name", "limits"), ("team", "edge"), ("telemetry.sdk.language", "rust")] {
        assert!(resource.contains(&(name.to_owned(), value.to_owned())), "{resource:?}");
    }
    service.until_counted(EXPORTED, 2).await;
    assert!(!service.process.log_text().contains("t0ken"));
}

#[tokio::test]
async fn by_grpc_a_batch_is_a_span_of_its_own_with_links_to_its_requests() {
    let Some(redis) = support::redis().await else { return };
    let collector = Collector::start(Protocol::Grpc).await;
    let url = format!("http://{}", collector.address);
    let store = redis.url();
    let mut service = tracing(
        "traces-grpc",
        &url,
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        &["--store", &store, "--store-deadline", "5s", "--denial-cache", "off"],
    )
    .await;
    service.until_ready().await;
    let mut others = service.client.clone();
    let mut asked = Vec::new();
    for number in 1..=3_u8 {
        asked.push(format!("{number:032x}"));
        let single = format!("{number:032x}-{CALLER}-1");
        service.ask("user", &[("b3", &single[..])]).await;
    }
    // One that its caller does not record: its batch says nothing of it.
    service.ask("user", &[("x-b3-sampled", "0")]).await;
    // And one that means nothing.
    let status = others.should_rate_limit(tollgate::pb::RateLimitRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let spans = collector.until(7).await;
    let (batches, requests): (Vec<Span>, Vec<Span>) =
        spans.into_iter().partition(|span| span.kind == SpanKind::Client as i32);
    assert_eq!((batches.len(), requests.len()), (3, 4));
    requests.iter().for_each(is_request);
    let invalid = requests.last().expect("the last one");
    named(invalid, "rpc.response.status_code", "INVALID_ARGUMENT");
    assert!(invalid.status.is_none(), "it is the caller's fault");
    let mut linked = Vec::new();
    for batch in &batches {
        assert_eq!((&batch.name[..], batch.parent_span_id.len()), ("EVALSHA", 0));
        named(batch, "db.system.name", "redis");
        named(batch, "db.operation.name", "EVALSHA");
        named(batch, "tollgate.batch.requests", "1");
        for link in &batch.links {
            let request =
                requests.iter().find(|request| request.span_id == link.span_id).expect("its request");
            assert_eq!(request.trace_id, link.trace_id);
            assert_ne!(batch.trace_id, link.trace_id, "it is linked, and not nested");
            linked.push(hex(&link.trace_id));
        }
    }
    linked.sort();
    assert_eq!(linked, asked);
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_of_the_request_and_of_no_batch() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let collector = Collector::start(Protocol::Http).await;
    let url = format!("http://{}", collector.address);
    let store = format!("redis://{nobody}");
    let args = ["--store", &store, "--on-store-failure", "error"];
    let mut service = tracing("traces-away", &url, &[], &args).await;
    let descriptor = tollgate::pb::RateLimitDescriptor {
        entries: vec![tollgate::pb::rate_limit_descriptor::Entry { key: "user".into(), value: VALUE.into() }],
        ..Default::default()
    };
    let request = tollgate::pb::RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![descriptor],
        hits_addend: 0,
    };
    assert_eq!(service.client.should_rate_limit(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    let span = collector.until(1).await.remove(0);
    is_request(&span);
    named(&span, "error.type", "UNAVAILABLE");
    named(&span, "tollgate.source", "error");
    named(&span, "tollgate.store_error", "disconnected");
    assert_eq!(span.status.expect("a status").code, StatusCode::Error as i32);
}

#[tokio::test]
async fn both_doors_of_ext_authz_are_recorded() {
    let collector = Collector::start(Protocol::Http).await;
    let url = format!("http://{}", collector.address);
    let limits = format!(
        "{}authz: [{{ rate_limits: [{{ actions: [{{ request_headers: {{ header_name: x-key, descriptor_key: once }} }}] }}] }}]\n",
        super::LIMITS
    );
    let file = support::file("telemetry-traces-authz-own.yaml", &limits);
    let serve = lab::tollgate::Serve::new(&file)
        .args(&["--drain-wait", "0s", "--runtimes", "1", "--authz-http-listen", "127.0.0.1:0"])
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50");
    let process = lab::tollgate::Tollgate::start(&serve).await.expect("starts");
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", process.grpc()));
    let channel = channel.expect("an address").connect().await.expect("connects");
    let http = auth::attribute_context::HttpRequest {
        headers: [("x-key".to_owned(), VALUE.to_owned())].into(),
        ..Default::default()
    };
    let request = auth::attribute_context::Request { http: Some(http), time: None };
    let attributes = auth::AttributeContext { request: Some(request), ..Default::default() };
    let mut call = tonic::Request::new(auth::CheckRequest { attributes: Some(attributes) });
    let metadata = call.metadata_mut();
    metadata.insert("x-b3-traceid", TRACE.parse().expect("ASCII"));
    metadata.insert("x-b3-spanid", CALLER.parse().expect("ASCII"));
    AuthorizationClient::new(channel).check(call).await.expect("an answer");
    let span = collector.until(1).await.remove(0);
    assert_eq!(span.name, "envoy.service.auth.v3.Authorization/Check");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));

    let log = process.log_text();
    let by_http = log.split("authz_http=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let by_http = by_http.expect("it is told").parse().expect("an address");
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("x-key", VALUE), ("traceparent", &parent[..])];
    let answer = lab::http::get(by_http, "/secret-path", &headers).await.expect("an answer");
    assert_eq!(answer.status, 429);
    let span = collector.until(2).await.remove(1);
    assert_eq!((&span.name[..], hex(&span.trace_id)), ("GET", TRACE.to_owned()));
    named(&span, "http.request.method", "GET");
    named(&span, "http.response.status_code", "429");
    named(&span, "tollgate.verdict", "deny");
    let told = format!("{span:?}");
    assert!(!told.contains(VALUE) && !told.contains("secret-path"), "{told}");
}

#[tokio::test]
async fn a_collector_that_is_silent_or_refuses_costs_spans_and_no_request_waits() {
    let collector = Collector::start(Protocol::Grpc).await;
    collector.answers(Answer::Silence);
    let url = format!("http://{}", collector.address);
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "300"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
    ];
    let mut service = tracing("traces-silent", &url, &variables, &[]).await;
    let started = clock::monotonic();
    for _ in 0..300 {
        assert_eq!(service.ask("user", &[]).await.overall_code(), Overall::Ok);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    service.until_counted(FAILED, 8).await;
    service.until_counted(DROPPED, 1).await;
    let told = service.process.log_text();
    assert!(told.contains("traces cannot be sent") && told.contains("no answer within 200ms"), "{told}");
    assert_eq!(told.matches("traces cannot be sent").count(), 1, "once an hour: {told}");
    collector.answers(Answer::Ok);
    service.until_logged("the collector takes traces again").await;
    collector.answers(Answer::RejectsOne);
    service.ask("user", &[]).await;
    service.until_counted("tollgate_spans_total{result=\"rejected\"}", 1).await;
    service.until_logged("one is too old").await;
}

#[tokio::test]
async fn what_a_collector_has_no_time_for_is_sent_again() {
    let collector = Collector::start(Protocol::Http).await;
    collector.answers(Answer::Unavailable);
    let mut service = tracing("traces-again", &format!("http://{}", collector.address), &[], &[]).await;
    service.ask("user", &[]).await;
    for _ in 0..200 {
        if collector.requests() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    collector.answers(Answer::Ok);
    is_request(&collector.until(1).await[0]);
    service.until_counted(EXPORTED, 1).await;
    assert_eq!(service.counted(FAILED).await, 0);
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start(Protocol::Http).await;
    let variables = [("OTEL_BSP_SCHEDULE_DELAY", "60000")];
    let mut service = tracing("traces-end", &format!("http://{}", collector.address), &variables, &[]).await;
    service.ask("user", &[]).await;
    service.process.terminate(Duration::from_secs(20)).await.expect("ends");
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_nothing_from_starting_or_ending() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let mut service = tracing("traces-nobody", &format!("http://{nobody}"), &[], &[]).await;
    service.ask("user", &[]).await;
    service.until_logged("traces cannot be sent").await;
    let started = clock::monotonic();
    service.process.terminate(Duration::from_secs(20)).await.expect("ends");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_traces_nothing_is_sent_and_the_log_still_names_the_callers_trace() {
    let collector = Collector::start(Protocol::Http).await;
    let url = format!("http://{}", collector.address);
    let log = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("traces-off.json");
    let _ = std::fs::remove_file(&log);
    let file = log.display().to_string();
    let args = ["--traces=off", "--decision-log", &file];
    let mut service = tracing("traces-off", &url, &[], &args).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    for _ in 0..2 {
        service.ask("once", &[("traceparent", &parent[..])]).await;
    }
    service.until_counted("tollgate_decision_log_lines_total{result=\"written\"}", 1).await;
    let line = std::fs::read_to_string(&log).expect("can be read");
    assert!(line.contains(&format!("\"trace_id\":\"{TRACE}\"")), "{line}");
    assert!(!service.page().await.contains("tollgate_spans_total"));
    assert_eq!(collector.requests(), 0);
}
