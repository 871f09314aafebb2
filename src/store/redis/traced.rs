//! What is recorded of a batch: a span by the conventions for databases, with links to the requests that it carried.

use crate::{
    store::StoreError,
    traces::{Batch, SpanContext, Tracer},
};

/// A batch that has landed.
pub(super) struct Landed<'a, S> {
    /// The spans of those of its requests that are recorded.
    pub(super) spans: S,
    /// The number of all its requests.
    pub(super) requests: usize,
    pub(super) took_us: u64,
    pub(super) error: Option<&'a StoreError>,
}

pub(super) fn record(tracer: &Tracer, landed: Landed<'_, impl Iterator<Item = SpanContext>>) {
    let Landed { spans, requests, took_us, error } = landed;
    // A look first, since most batches carry nothing that is recorded.
    let mut spans = spans.peekable();
    if spans.peek().is_none() {
        return;
    }
    let mut attributes = vec![("db.system.name", "redis".into()), ("db.operation.name", "EVALSHA".into())];
    attributes.push(("tollgate.batch.requests", requests.into()));
    // A single request is no batch, by the conventions.
    if requests > 1 {
        attributes.push(("db.operation.batch.size", requests.into()));
    }
    if let Some(error) = error {
        if let StoreError::Refused(refusal) = error {
            attributes.push(("db.response.status_code", refusal.code().into()));
        }
        attributes.push(("error.type", error.kind().into()));
    }
    tracer.batch(Batch { name: "EVALSHA", links: spans, took_us, attributes, has_failed: error.is_some() });
}
