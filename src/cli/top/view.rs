//! What is drawn: the figures of all addresses together.

use std::collections::{HashMap, HashSet};

use super::{
    Source,
    feed::Heard,
    figures::{Figures, LeftOut, Row},
    text,
};

/// Denials count as going on for so long after the last one.
const RECENT_MS: u64 = 10_000;

/// How a rule stands, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Denying,
    Near,
    WouldDeny,
    Shadow,
    Ok,
}

#[derive(Debug, Default)]
pub(super) struct View {
    /// Denials first.
    pub(super) rows: Vec<(State, Row)>,
    pub(super) left_out: LeftOut,
    pub(super) time_ms: u64,
    pub(super) replicas: usize,
    /// Sentences about the limiter, and about addresses that cannot be read. Empty: all is well.
    pub(super) problems: Vec<String>,
    /// What is well.
    pub(super) store: String,
}

// === impl Source ===

impl Source {
    fn figures(&self) -> Option<&Figures> {
        match self.heard.as_ref()? {
            Heard::Figures(figures) => Some(figures),
            Heard::Lost { last, .. } => last.as_deref(),
        }
    }

    /// Why it cannot be read, in a sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.heard {
            Some(Heard::Lost { why, .. }) => Some(format!("{}: {why}", self.url)),
            Some(Heard::Figures(_)) => None,
            None => Some(format!("{}: no answer yet", self.url)),
        }
    }
}

// === impl View ===

impl View {
    pub(super) fn of(sources: &[Source]) -> View {
        let mut view = View::default();
        let mut told: HashMap<(String, String), Row> = HashMap::new();
        let mut seen: HashSet<&str> = HashSet::new();
        // Who knows more replicas first: each of them tells the figures of all that share its Redis.
        let mut known: Vec<&Figures> = sources.iter().filter_map(Source::figures).collect();
        known.sort_by_key(|figures| std::cmp::Reverse(figures.replicas.len()));
        let mut stores = Vec::new();
        for figures in known {
            view.problems.extend(
                figures
                    .problems
                    .iter()
                    .filter(|one| !view.problems.contains(one))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            if figures.replicas.iter().any(|name| seen.contains(name.as_str())) {
                continue;
            }
            seen.extend(figures.replicas.iter().map(String::as_str));
            view.time_ms = view.time_ms.max(figures.time_ms);
            view.left_out.add(figures.left_out);
            stores.push(store(figures));
            for row in &figures.rows {
                let key = (row.domain.clone(), row.rule.clone());
                told.entry(key).and_modify(|sum| sum.add(row)).or_insert_with(|| row.clone());
            }
        }
        stores.dedup();
        view.store = stores.join("; ");
        view.replicas = seen.len();
        let lost = sources.iter().filter(|source| source.heard.is_some()).filter_map(Source::trouble);
        view.problems.extend(lost);
        view.rows = told.into_values().map(|row| (state(&row, view.time_ms), row)).collect();
        view.rows.sort_by(|(state, row), (other, next)| {
            let size = |row: &Row| (row.denied + row.would_deny, row.admitted);
            let closeness = next.share.unwrap_or(0.0).total_cmp(&row.share.unwrap_or(0.0));
            let by_size = size(next).cmp(&size(row));
            let within = if *state == State::Near { closeness.then(by_size) } else { by_size };
            state
                .cmp(other)
                .then(within)
                .then_with(|| (&row.domain, &row.rule).cmp(&(&next.domain, &next.rule)))
        });
        view
    }

    /// Nothing has been told yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.time_ms == 0
    }

    /// Who is denied.
    pub(super) fn headline(&self) -> String {
        let denied: u64 = self.rows.iter().map(|(_, row)| row.denied).sum::<u64>() + self.left_out.denied;
        let admitted: u64 =
            self.rows.iter().map(|(_, row)| row.admitted).sum::<u64>() + self.left_out.admitted;
        let of = |state: State| self.rows.iter().filter(|(own, _)| *own == state).count() as u64;
        let (denying, near) = (of(State::Denying), of(State::Near));
        if self.rows.is_empty() {
            return "No rule has a limit.".to_owned();
        }
        let near = if near > 0 { format!(" {} near.", text::count(near)) } else { String::new() };
        let admitted = text::count(admitted);
        if denying == 0 {
            return format!("Nobody is being denied; {admitted} admitted in the last second.{near}");
        }
        let (rules, denied) = (text::plural(denying, "rule"), text::plural(denied, "denial"));
        format!(
            "{denied} and {admitted} admitted in the last second. {rules} of {} denying.{near}",
            self.rows.len()
        )
    }

    /// Whether the limiter is well, if it is.
    pub(super) fn well(&self) -> String {
        format!("The limiter is well: {}, {}.", text::plural(self.replicas as u64, "replica"), self.store)
    }
}

fn store(figures: &Figures) -> String {
    match (figures.store.is_memory, figures.store.p99_us, figures.store.deadline_us) {
        (true, ..) => "buckets in memory".to_owned(),
        (false, Some(p99), Some(deadline)) => {
            format!("store p99 at most {} of {}", text::micros(p99), text::micros(deadline))
        }
        _ => "buckets in Redis".to_owned(),
    }
}

fn state(row: &Row, now_ms: u64) -> State {
    let is_recent = row.last_denial_ms.is_some_and(|at| now_ms.saturating_sub(at) < RECENT_MS);
    if row.denied > 0 || is_recent {
        State::Denying
    } else if row.would_deny > 0 {
        State::WouldDeny
    } else if row.keys_near > 0 {
        State::Near
    } else if row.is_shadow {
        State::Shadow
    } else {
        State::Ok
    }
}

// === impl Row, LeftOut ===

impl Row {
    fn add(&mut self, other: &Row) {
        self.admitted += other.admitted;
        self.denied += other.denied;
        self.would_deny += other.would_deny;
        self.keys_near += other.keys_near;
        self.keys_over += other.keys_over;
        self.last_denial_ms = self.last_denial_ms.max(other.last_denial_ms);
        self.share = match (self.share, other.share) {
            (Some(own), Some(its)) => Some(own.max(its)),
            (own, its) => own.or(its),
        };
    }
}

impl LeftOut {
    const fn add(&mut self, other: LeftOut) {
        self.rules += other.rules;
        self.admitted += other.admitted;
        self.denied += other.denied;
    }
}
