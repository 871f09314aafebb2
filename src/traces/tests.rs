use super::*;
use crate::clock;

/// A tracer whose spans are read from the queue, where nobody sends them.
fn tracer(sampler: Sampler) -> (Tracer, Receiver<Box<Span>>) {
    let (spans, queue) = mpsc::sync_channel(4);
    let (counts, propagators) = (Arc::default(), Propagators::default());
    (Tracer(Arc::new(Shared { spans, counts, sampler, propagators })), queue)
}

const ALL: Sampler = Sampler { ratio: Ratio::ALL, is_parent_based: true };

fn end() -> End {
    End { name: "x".into(), has_failed: false }
}

fn headers(sampled: &str) -> HeaderMap {
    let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{sampled}");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", parent.parse().expect("a value"));
    headers.insert("tracestate", "a=1".parse().expect("a value"));
    headers
}

#[test]
fn a_span_continues_the_trace_of_its_caller() {
    let (tracer, queue) = tracer(ALL);
    let mut started = tracer.begin(&headers("01"));
    started.add("n", 7_i64);
    let context = started.recorded().expect("it is recorded");
    tracer.end(started, End { name: "x".into(), has_failed: true });
    let span = queue.try_recv().expect("a span");
    assert_eq!((span.context, span.parent, &*span.state), (context, 0x00f0_67aa_0ba9_02b7, "a=1"));
    assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&span.attributes[..], span.has_failed), (&[("n", Value::Number(7))][..], true));
    assert!(span.start_us.abs_diff(clock::unix_us()) < 60_000_000);
}

#[test]
fn what_the_caller_does_not_record_is_not_recorded_here_and_its_trace_is_known() {
    let (tracer, queue) = tracer(ALL);
    let mut started = tracer.begin(&headers("00"));
    started.add("n", 7_i64);
    assert_eq!(started.recorded(), None);
    assert_eq!(started.trace().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    tracer.end(started, end());
    assert!(queue.try_recv().is_err());
}

#[test]
fn without_a_caller_each_request_is_a_trace_of_its_own() {
    let (tracer, _queue) = tracer(ALL);
    let [one, other] = [(); 2].map(|()| tracer.begin(&HeaderMap::new()).recorded().expect("recorded"));
    assert!(one.trace != other.trace && one.span != other.span && one.span != 0);
}

#[test]
fn a_span_that_finds_the_queue_full_is_dropped_and_counted() {
    let (tracer, queue) = tracer(ALL);
    for _ in 0..6 {
        tracer.end(tracer.begin(&HeaderMap::new()), end());
    }
    assert_eq!(tracer.0.counts.dropped.load(Ordering::Relaxed), 2);
    assert_eq!(queue.try_iter().count(), 4);
}

#[test]
fn a_batch_refers_to_its_requests_and_is_recorded_only_for_their_sake() {
    let (tracer, queue) = tracer(ALL);
    let batch = |links: Vec<SpanContext>| Batch {
        name: "b",
        links: links.into_iter(),
        took_us: 1_000,
        attributes: Vec::new(),
        has_failed: false,
    };
    tracer.batch(batch(Vec::new()));
    assert!(queue.try_recv().is_err());
    let link = |number: u64| SpanContext { trace: TraceId(number.into()), span: number };
    let links: Vec<SpanContext> = (1..=130).map(link).collect();
    tracer.batch(batch(links.clone()));
    let span = queue.try_recv().expect("a span");
    assert_eq!((&span.links[..], span.links_left_out, span.parent), (&links[..128], 2, 0));
    assert!(links.iter().all(|link| link.trace != span.context.trace), "it is in no request's trace");
}
