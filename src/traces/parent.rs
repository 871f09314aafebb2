//! Reads the parent of a request from its headers: W3C Trace Context, and B3 in one header or in several.
//!
//! What cannot be read counts as not there, as both formats demand.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::TraceId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// The most bytes of `tracestate` that are kept. A longer one is left out, which the format permits.
const MOST_OF_STATE: usize = 512;

/// The formats that are read, in this order; the first that names a parent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagators {
    /// `traceparent` and `tracestate`.
    pub w3c: bool,
    /// `b3`.
    pub b3: bool,
    /// `x-b3-traceid` and its siblings.
    pub b3_multi: bool,
}

/// What the headers say of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parent {
    /// The trace, and the caller's span. None: the headers only say whether to sample.
    pub(super) ids: Option<(TraceId, u64)>,
    /// Whether the caller's span is recorded. None: it leaves that open.
    pub(super) is_sampled: Option<bool>,
    /// The rest of `tracestate`, which is handed on.
    pub(super) state: Box<str>,
}

// === impl Propagators ===

impl Default for Propagators {
    fn default() -> Propagators {
        Propagators { w3c: true, b3: true, b3_multi: true }
    }
}

impl Propagators {
    pub(super) fn parent(self, headers: &HeaderMap) -> Option<Parent> {
        let w3c = || self.w3c.then(|| w3c(headers)).flatten();
        let b3 = || self.b3.then(|| b3(only(headers, &B3)?)).flatten();
        let b3_multi = || self.b3_multi.then(|| b3_multi(headers)).flatten();
        w3c().or_else(b3).or_else(b3_multi)
    }
}

fn w3c(headers: &HeaderMap) -> Option<Parent> {
    let text = only(headers, &TRACEPARENT)?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_known = match (version, parts.next()) {
        ("ff", _) => false,
        ("00", more) => more.is_none(),
        // Later versions may add parts.
        (later, _) => later.len() == 2 && lower_hex(later).is_some(),
    };
    if !is_known || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let ids = ids(lower_hex(trace)?, lower_hex(span)?)?;
    let is_sampled = Some(lower_hex(flags)? & 1 == 1);
    Some(Parent { ids: Some(ids), is_sampled, state: state(headers) })
}

/// Several headers are one list.
fn state(headers: &HeaderMap) -> Box<str> {
    let mut all = String::new();
    for value in headers.get_all(&TRACESTATE) {
        let Ok(text) = value.to_str() else { return Box::default() };
        if all.len() + text.len() >= MOST_OF_STATE {
            return Box::default();
        }
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(text.trim());
    }
    all.into()
}

fn b3(text: &str) -> Option<Parent> {
    let mut parts = text.split('-');
    let first = parts.next()?;
    let Some(span) = parts.next() else {
        return Some(Parent { is_sampled: Some(b3_sampled(first)?), ..Parent::default() });
    };
    let ids = b3_ids(first, span)?;
    let is_sampled = parts.next().map(b3_sampled);
    // A word that is not known makes the whole header worth nothing.
    let is_sampled = match is_sampled {
        Some(word) => Some(word?),
        None => None,
    };
    Some(Parent { ids: Some(ids), is_sampled, ..Parent::default() })
}

fn b3_multi(headers: &HeaderMap) -> Option<Parent> {
    let is_debug = only(headers, &B3_FLAGS) == Some("1");
    let sampled = only(headers, &B3_SAMPLED).and_then(b3_sampled);
    let is_sampled = if is_debug { Some(true) } else { sampled };
    let ids = match (only(headers, &B3_TRACE_ID), only(headers, &B3_SPAN_ID)) {
        (Some(trace), Some(span)) => Some(b3_ids(trace, span)?),
        _ => None,
    };
    (ids.is_some() || is_sampled.is_some()).then(|| Parent { ids, is_sampled, ..Parent::default() })
}

fn b3_sampled(word: &str) -> Option<bool> {
    match word {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// A trace's id may be short in B3.
fn b3_ids(trace: &str, span: &str) -> Option<(TraceId, u64)> {
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
        return None;
    }
    ids(hex(trace)?, hex(span)?)
}

fn ids(trace: u128, span: u128) -> Option<(TraceId, u64)> {
    let span = u64::try_from(span).ok()?;
    (trace != 0 && span != 0).then_some((TraceId(trace), span))
}

fn lower_hex(text: &str) -> Option<u128> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { None } else { hex(text) }
}

fn hex(text: &str) -> Option<u128> {
    // It would accept a sign.
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) { u128::from_str_radix(text, 16).ok() } else { None }
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::to_str);
    match (lines.next(), lines.next()) {
        (Some(Ok(text)), None) => Some(text.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    fn parent(headers: &[(&'static str, &str)]) -> Option<Parent> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        Propagators::default().parent(&map)
    }

    fn of(trace: u128, is_sampled: Option<bool>) -> Option<Parent> {
        Some(Parent { ids: Some((TraceId(trace), SPAN)), is_sampled, ..Parent::default() })
    }

    #[test]
    fn every_format_names_the_same_parent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let ids = [("x-b3-traceid", trace), ("x-b3-spanid", span)];
        for (flag, is_sampled) in [("1", true), ("0", false)] {
            let w3c = format!("00-{trace}-{span}-0{flag}");
            assert_eq!(parent(&[("traceparent", &w3c)]), of(TRACE, Some(is_sampled)));
            let single = format!("{trace}-{span}-{flag}-05e3ac9a4f6e3b90");
            assert_eq!(parent(&[("b3", &single)]), of(TRACE, Some(is_sampled)));
            let multi = [ids[0], ids[1], ("x-b3-sampled", flag)];
            assert_eq!(parent(&multi), of(TRACE, Some(is_sampled)));
        }
        assert_eq!(parent(&ids), of(TRACE, None), "the caller leaves it open");
        assert_eq!(parent(&[ids[0], ids[1], ("x-b3-flags", "1")]), of(TRACE, Some(true)), "debug");
        assert_eq!(parent(&[("b3", &format!("{trace}-{span}"))]), of(TRACE, None));
        assert_eq!(parent(&[("b3", &format!("{trace}-{span}-d"))]), of(TRACE, Some(true)));
        let short = format!("{}-{span}-1", &trace[16..]);
        assert_eq!(parent(&[("b3", &short)]), of(TRACE & u128::from(u64::MAX), Some(true)));
        let only_sampled = Parent { is_sampled: Some(false), ..Parent::default() };
        assert_eq!(parent(&[("b3", "0")]), Some(only_sampled.clone()));
        assert_eq!(parent(&[("x-b3-sampled", "0")]), Some(only_sampled));
    }

    #[test]
    fn the_first_format_counts_and_the_state_comes_along() {
        let w3c = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let b3 = ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0");
        let found = parent(&[b3, w3c, ("tracestate", "a=1,b=2"), ("tracestate", "c=3")]).expect("a parent");
        assert_eq!((found.ids, &*found.state), (of(TRACE, None).unwrap().ids, "a=1,b=2,c=3"));
        let long = "a=".to_owned() + &"x".repeat(600);
        assert_eq!(&*parent(&[w3c, ("tracestate", &long)]).expect("a parent").state, "");
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(parent(&[("traceparent", bad)]), None, "{bad}");
            assert_eq!(parent(&[("b3", bad)]), None, "{bad}");
        }
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parent(&[("traceparent", good), ("traceparent", good)]), None, "twice");
        let later = format!("cc{}-what-comes", &good[2..]);
        assert_eq!(parent(&[("traceparent", &later)]), of(TRACE, Some(true)));
        assert_eq!(parent(&[("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-x")]), None);
        assert_eq!(parent(&[("x-b3-traceid", "x"), ("x-b3-spanid", "y"), ("x-b3-sampled", "1")]), None);
    }
}
