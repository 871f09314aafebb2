//! What is recorded of one request, or of one batch.

use std::{borrow::Cow, time::Instant};

use super::context::SpanContext;
use crate::clock;

/// A span, until it is encoded.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) context: SpanContext,
    /// The caller's span; 0: there is none.
    pub(super) parent: u64,
    pub(super) state: Box<str>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// Since the Unix epoch.
    pub(super) start_us: u64,
    pub(super) took_us: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) links: Vec<SpanContext>,
    /// The links beyond those that are kept.
    pub(super) links_left_out: u32,
    pub(super) has_failed: bool,
}

/// Which end of a call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that Tollgate answers.
    Server,
    /// A call that Tollgate makes.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Started {
    /// The trace that it is part of, also if it is not recorded.
    pub(super) context: SpanContext,
    pub(super) begun: Instant,
    /// None: it is not recorded.
    pub(super) span: Option<Box<Span>>,
}

impl Started {
    /// Adds an attribute, if the request is recorded. Its value must not come from a client.
    pub fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((name, value.into()));
        }
    }

    /// Its trace, also if it is not recorded.
    pub fn trace(&self) -> super::TraceId {
        self.context.trace
    }

    /// The span that others can refer to. None: it is not recorded.
    pub fn recorded(&self) -> Option<SpanContext> {
        self.span.as_ref().map(|span| span.context)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Span {
    /// A span that begins now.
    pub(super) fn new(context: SpanContext, kind: Kind) -> Span {
        Span {
            context,
            parent: 0,
            state: Box::default(),
            name: Cow::Borrowed(""),
            kind,
            start_us: clock::unix_us(),
            took_us: 0,
            attributes: Vec::new(),
            links: Vec::new(),
            links_left_out: 0,
            has_failed: false,
        }
    }
}
