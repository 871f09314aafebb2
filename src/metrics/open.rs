//! The page in OpenMetrics' text format, for scrapers that ask for it: the same series, and beside some of them an
//! exemplar, which names the trace of a request.
//!
//! It is made from the plain page, so that the two cannot differ. OpenMetrics wants the name of each counter to end with
//! `_total`. Those of envoyproxy/ratelimit do not; their names stay as they are, and their type becomes `unknown`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError, TryLockError},
};

use super::{Door, Metrics};
use crate::{clock, limiter::Outcome};

/// Value of the content-type header of this format.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const UNITS: [&str; 2] = ["seconds", "bytes"];

/// The ids of a request that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceIds {
    /// Of its trace.
    pub trace: u128,
    /// Of its span.
    pub span: u64,
}

/// The latest request that was recorded and counted in a series.
#[derive(Debug, Default)]
pub(super) struct Exemplar(Mutex<Option<Kept>>);

#[derive(Debug, Clone, Copy)]
struct Kept {
    ids: TraceIds,
    value: f64,
    at_us: u64,
}

/// What follows a sample on its line, by the sample's name and labels as they stand on the plain page.
pub(super) type Exemplars = HashMap<String, String>;

// === impl Metrics ===

impl Metrics {
    /// Keeps a request that was counted as this outcome as an exemplar. Only for requests that are recorded: others have
    /// no trace that could be found.
    pub fn exemplify(&self, door: Door, outcome: &Outcome<'_>, ids: TraceIds) {
        self.requests.exemplify(door, outcome, ids);
        self.durations.exemplify(door, outcome.elapsed, ids);
    }

    /// All metrics in OpenMetrics' text format, with exemplars.
    pub fn render_open(&self) -> String {
        let mut exemplars = Exemplars::new();
        self.requests.show_exemplars(&mut exemplars);
        self.durations.show_exemplars(&mut exemplars);
        convert(&self.render(), &exemplars)
    }
}

// === impl Exemplar ===

impl Exemplar {
    /// Keeps this request. Does nothing while another thread keeps or shows one.
    pub(super) fn keep(&self, ids: TraceIds, value: f64) {
        let mut kept = match self.0.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        *kept = Some(Kept { ids, value, at_us: clock::unix_us() });
    }

    /// Adds it to those of the page.
    pub(super) fn show(&self, sample: impl FnOnce() -> String, exemplars: &mut Exemplars) {
        let kept = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Kept { ids: TraceIds { trace, span }, value, at_us }) = kept else { return };
        let (seconds, millis) = (at_us / 1_000_000, at_us / 1_000 % 1_000);
        let exemplar =
            format!(" # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} {value} {seconds}.{millis:03}");
        exemplars.insert(sample(), exemplar);
    }
}

/// The plain page in the other format, with these exemplars.
pub(super) fn convert(page: &str, exemplars: &Exemplars) -> String {
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kinds: HashMap<&str, &str> = kinds.collect();
    let mut open = String::with_capacity(page.len() + page.len() / 8);
    for line in page.lines() {
        // A String takes all that is written.
        let _ = if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            let (family, _) = family(name, kinds.get(name).copied().unwrap_or("unknown"));
            writeln!(open, "# HELP {family} {}", help.replace('"', "\\\""))
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (family, kind) = family(name, kind);
            let unit =
                UNITS.iter().find(|unit| family.strip_suffix(**unit).is_some_and(|it| it.ends_with('_')));
            writeln!(open, "# TYPE {family} {kind}")
                .and_then(|()| unit.map_or(Ok(()), |unit| writeln!(open, "# UNIT {family} {unit}")))
        } else if line.is_empty() || line.starts_with('#') {
            Ok(())
        } else {
            open.push_str(&with_float_bound(line));
            let exemplar = line.rsplit_once(' ').and_then(|(sample, _)| exemplars.get(sample));
            writeln!(open, "{}", exemplar.map_or("", String::as_str))
        };
    }
    open.push_str("# EOF\n");
    open
}

/// The name and the type of a family.
fn family<'n>(name: &'n str, kind: &'n str) -> (&'n str, &'n str) {
    match (kind, name.strip_suffix("_total")) {
        ("counter", Some(family)) => (family, "counter"),
        ("counter", None) => (name, "unknown"),
        _ => (name, kind),
    }
}

/// OpenMetrics wants the bound of a bucket written as a float.
fn with_float_bound(line: &str) -> String {
    let Some(bucket) = line.find("_bucket{").filter(|at| line.find('{').is_some_and(|brace| *at < brace))
    else {
        return line.to_owned();
    };
    // Not `le="` alone, with which `rule="` ends.
    let labels = &line[bucket..];
    let Some(at) =
        [",le=\"", "{le=\""].iter().find_map(|label| Some(bucket + labels.find(label)? + label.len()))
    else {
        return line.to_owned();
    };
    let (head, rest) = line.split_at(at);
    let (bound, tail) = rest.split_once('"').unwrap_or((rest, ""));
    let is_whole = !bound.is_empty() && bound.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole { format!("{head}{bound}.0\"{tail}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP a_total Counts \"a\".
# TYPE a_total counter
a_total{x=\"1\"} 3
a_total{x=\"2\"} 4
# HELP their_hits Theirs.
# TYPE their_hits counter
their_hits 5
# HELP t_seconds Times.
# TYPE t_seconds histogram
t_seconds_bucket{le=\"0.5\"} 1
t_seconds_bucket{le=\"1\"} 2
t_seconds_bucket{rule=\"7\",le=\"1\"} 2
t_seconds_bucket{le=\"+Inf\"} 2
t_seconds_sum 0.7
t_seconds_count 2
";

    #[test]
    fn counters_lose_their_ending_in_the_head_and_the_end_is_told() {
        let exemplar = Exemplar::default();
        let ids = TraceIds { trace: 0xabc, span: 0xd };
        exemplar.keep(ids, 0.25);
        let mut exemplars = Exemplars::new();
        exemplar.show(|| "t_seconds_bucket{le=\"0.5\"}".to_owned(), &mut exemplars);
        let open = convert(PAGE, &exemplars);
        for line in [
            "# HELP a Counts \\\"a\\\".",
            "# TYPE a counter",
            "a_total{x=\"1\"} 3",
            "# TYPE their_hits unknown",
            "their_hits 5",
            "# TYPE t_seconds histogram",
            "# UNIT t_seconds seconds",
            "t_seconds_bucket{le=\"1.0\"} 2",
            "t_seconds_bucket{rule=\"7\",le=\"1.0\"} 2",
            "t_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(open.lines().any(|shown| shown == line), "no {line} in {open}");
        }
        let exemplified = open.lines().find(|line| line.starts_with("t_seconds_bucket{le=\"0.5\"} 1 # "));
        let ids = "{trace_id=\"00000000000000000000000000000abc\",span_id=\"000000000000000d\"} 0.25 ";
        assert!(exemplified.is_some_and(|line| line.contains(ids)), "{open}");
        assert_eq!(open.matches(" # {").count(), 1);
        assert!(open.ends_with("\n# EOF\n"));
    }
}
