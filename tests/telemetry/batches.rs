//! Spans of batches to a Redis Cluster.

use lab::{binaries::Part, redis::Cluster};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tollgate::pb::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry};

use super::{
    Service,
    collector::{Collector, Protocol, attribute},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const DESCRIPTORS: usize = 12;

/// A request whose buckets lie in the slots of several masters.
fn wide() -> RateLimitRequest {
    let descriptor = |number: usize| {
        let entry = Entry { key: "user".into(), value: number.to_string().into() };
        RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
    };
    let descriptors = (0..DESCRIPTORS).map(descriptor).collect();
    RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 }
}

#[tokio::test]
async fn each_batch_to_a_redis_cluster_is_a_span_with_links_to_its_requests() {
    if !lab::real::available(&[Part::Redis]) {
        return;
    }
    let cluster = Cluster::start(3, 0).await.expect("a Cluster starts");
    let collector = Collector::start(Protocol::Http).await;
    let (url, store) = (format!("http://{}", collector.address), cluster.url());
    let args = ["--store", &store[..], "--store-deadline", "5s", "--denial-cache", "off"];
    let mut service = Service::start("traces-cluster", |serve| {
        serve
            .args(&args)
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
    })
    .await;
    service.until_ready().await;
    service.ask("user", &[("x-b3-sampled", "0")]).await;
    let caller = format!("00-{TRACE}-00f067aa0ba902b7-01");
    service.ask("user", &[("traceparent", &caller)]).await;
    let (batches, requests) = split(collector.until(2).await);
    assert_eq!((batches.len(), requests.len()), (1, 1), "{batches:?}");
    is_batch_of(&batches[0], &requests[0]);

    let mut call = tonic::Request::new(wide());
    call.metadata_mut().insert("traceparent", caller.parse().expect("ASCII"));
    service.client.should_rate_limit(call).await.expect("an answer");
    // The request, and a batch for each master at least.
    let spans = collector.until(6).await;
    let (batches, requests) = split(spans.into_iter().skip(2).collect());
    assert_eq!(requests.len(), 1);
    assert!((3..=DESCRIPTORS).contains(&batches.len()), "{batches:?}");
    for batch in &batches {
        is_batch_of(batch, &requests[0]);
    }
}

/// Batches, and requests.
fn split(spans: Vec<Span>) -> (Vec<Span>, Vec<Span>) {
    spans.into_iter().partition(|span| span.kind == SpanKind::Client as i32)
}

fn is_batch_of(batch: &Span, request: &Span) {
    assert_eq!((&batch.name[..], batch.parent_span_id.len()), ("EVALSHA", 0));
    assert_eq!(attribute(batch, "db.system.name").as_deref(), Some("redis"));
    let count: usize = attribute(batch, "tollgate.batch.requests").expect("there").parse().expect("a number");
    assert!(count >= 1 && batch.links.len() == count, "{batch:?}");
    for link in &batch.links {
        assert_eq!((&link.trace_id, &link.span_id), (&request.trace_id, &request.span_id));
    }
    assert_eq!(attribute(batch, "error.type"), None);
}
