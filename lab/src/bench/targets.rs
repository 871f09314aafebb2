//! What is to be reached, as ratios within one run, and whether it was.
//!
//! The [`table`] has them. Two more are held by tests, not measured: allocations per decision, and that idle buckets leave
//! memory.

mod table;

use super::{
    figures::{CaseFigures, Report},
    stats::Spread,
};
pub use table::TARGETS;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub work: &'static str,
    pub case: &'static str,
    pub bound: Bound,
    /// What was reached, over the rounds; none if this run does not say.
    measure: fn(&CaseFigures) -> Option<Spread>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

/// A target beside what was measured.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub target: Target,
    pub measured: Option<Spread>,
    pub verdict: Verdict,
}

pub fn evaluate(report: &Report) -> Vec<Outcome> {
    TARGETS.iter().map(|target| target.evaluate(report)).collect()
}

// === impl Target ===

impl Target {
    /// The median decides.
    fn evaluate(&self, report: &Report) -> Outcome {
        let case = report.cases.iter().find(|case| case.name == self.case);
        let measured = case.and_then(self.measure);
        let verdict = match measured {
            Some(spread) if self.bound.holds(spread.median) => Verdict::Met,
            Some(_) => Verdict::Missed,
            None => Verdict::NotMeasured,
        };
        Outcome { target: *self, measured, verdict }
    }
}

// === impl Bound, Verdict ===

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "≤ {most}"),
            Bound::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

impl Verdict {
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::NotMeasured => "not measured",
        }
    }
}

#[cfg(test)]
mod tests;
