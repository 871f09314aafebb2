//! The contract: how an outcome is presented to Envoy and to its client. The headers of a 429 are made here.
//!
//! The rate-limit service (`rls`) and ext_authz (`check`) have the same headers and the same body. Envoy forwards
//! headers as they are, so nothing that a client sent gets into one: they consist of numbers and of
//! names from the configuration, escaped. Tollgate sends no `x-ratelimit-*`: Envoy appends its own, and clients would
//! see both.

pub mod check;
pub mod dynamic;
mod groups;
mod problem;
mod rls;
mod writer;

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    fallback::Source,
    limiter::{Decision, Outcome},
};
pub use groups::{Group, Jitter, UnknownGroup};
use tollgate_core::{decision::Verdict, matcher::RuleLimit};

/// The parts of an answer that operators choose, and what was made for them in advance.
#[derive(Debug, Clone)]
pub struct Contract {
    groups: Vec<Group>,
    jitter: Jitter,
    /// The body of a denial by one limit alone, made once for each. [`RuleLimit::index`] finds it.
    bodies: Vec<Box<str>>,
}

impl Default for Contract {
    fn default() -> Self {
        Contract::new(Group::DEFAULT.to_vec(), Jitter::default())
    }
}

impl Contract {
    /// A contract that is not yet [made ready](Self::for_limits) for any limits.
    pub fn new(groups: Vec<Group>, jitter: Jitter) -> Contract {
        Contract { groups, jitter, bodies: Vec::new() }
    }

    /// The groups that are sent.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The random part of `retry-after`.
    pub fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The same contract with the bodies of denials by these limits, which must be all limits of one matcher in order.
    #[must_use]
    pub fn for_limits(mut self, limits: &[Arc<RuleLimit>]) -> Contract {
        self.bodies = limits.iter().map(|limit| problem::body_for(limit).into()).collect();
        self
    }

    /// What the client is told besides the verdict. `verdict` is the one that it is told.
    fn write(&self, outcome: &Outcome<'_>, verdict: Verdict, to: &mut impl Response) {
        // A fallback answer that allows has no figures to show.
        let Some(speaker) = outcome.speaker().filter(|speaker| speaker.source != Source::Allow) else {
            return;
        };
        headers(self, speaker, verdict, to);
        if verdict == Verdict::Deny && self.groups.contains(&Group::ProblemBody) {
            to.body(self.body(outcome, speaker).as_bytes());
        }
    }

    fn body(&self, outcome: &Outcome<'_>, speaker: &Decision<'_>) -> Cow<'_, str> {
        let is_plain =
            speaker.source != Source::Deny && !speaker.never_fits && outcome.denying().count() == 1;
        let made = speaker.limit.index.find(&self.bodies).filter(|_| is_plain);
        made.map_or_else(|| problem::body(outcome, speaker).into(), |body| Cow::Borrowed(&**body))
    }
}

/// Rounded up, so that a client that waits that many seconds does not come too early.
fn whole_seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

/// An answer that is being written, in the form of one protocol.
trait Response {
    /// Adds a header for the client. Names and values are printable ASCII.
    fn header(&mut self, name: &'static str, value: &str);

    /// Sets the body, after all headers.
    fn body(&mut self, body: &[u8]);
}

// === headers ===

fn headers(contract: &Contract, speaker: &Decision<'_>, verdict: Verdict, response: &mut impl Response) {
    let reset_s = whole_seconds(speaker.reset_us);
    for group in &contract.groups {
        match group {
            Group::RetryAfter if verdict == Verdict::Deny => {
                number(response, "retry-after", reset_s.saturating_add(contract.jitter.seconds(reset_s)));
            }
            Group::RateLimit => {
                number(response, "ratelimit-limit", speaker.limit.limit.burst().into());
                number(response, "ratelimit-remaining", speaker.remaining.into());
                number(response, "ratelimit-reset", reset_s);
            }
            Group::Structured => structured(response, speaker, reset_s),
            Group::ProblemBody if verdict == Verdict::Deny => {
                response.header("content-type", "application/problem+json");
            }
            Group::RetryAfter | Group::ProblemBody => {}
        }
    }
}

/// `q` hits come back in the window of `w` seconds. The burst is a parameter of our own.
///
/// A calendar month is as long as the current one, so that a client that spreads `q` over `w` uses all of it, and `t` is
/// never more than `w`. If nothing tells which month it is, `w` is left out, as the draft allows.
fn structured(response: &mut impl Response, speaker: &Decision<'_>, reset_s: u64) {
    let limit = &speaker.limit.limit;
    let name = quoted_name(&speaker.limit);
    let window = Window(limit.period_seconds_at(speaker.now_us));
    let policy = format!("{name};q={}{window};tollgate-burst={}", limit.requests_per_unit(), limit.burst());
    response.header("ratelimit-policy", &policy);
    response.header("ratelimit", &format!("{name};r={};t={reset_s}", speaker.remaining));
}

/// The parameter `w`, if its seconds are known. It is written in place, without a String of its own.
struct Window(Option<u64>);

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |seconds| write!(f, ";w={seconds}"))
    }
}

/// A String of RFC 9651: printable ASCII in quotes. Other characters of a name become `?`.
fn quoted_name(limit: &RuleLimit) -> String {
    let label = limit.label();
    let mut quoted = String::with_capacity(label.len() + 2);
    quoted.push('"');
    for letter in label.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

fn number(response: &mut impl Response, name: &'static str, value: u64) {
    response.header(name, itoa::Buffer::new().format(value));
}

#[cfg(test)]
mod tests;
