//! The headers of an answer, in groups that can be switched.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

use super::{Contract, HEADER_KEY, HEADER_VALUE, RESPONSE_HEADERS, whole_seconds, writer::Writer};
use crate::limiter::Decision;
use tollgate_core::{decision::Verdict, matcher::RuleLimit};

/// What can be sent, beside the verdict and the statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `retry-after`, on a denial.
    RetryAfter,
    /// `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset`, on every answer.
    RateLimit,
    /// `ratelimit-policy` and `ratelimit` of draft-ietf-httpapi-ratelimit-headers-11, on every answer.
    Structured,
    /// A problem+json body (RFC 9457) and its content type, on a denial.
    ProblemBody,
}

/// The name of a group is none of those known.
#[derive(Debug, Error)]
#[error("no such group; there are retry-after, ratelimit, ratelimit-structured and problem-body")]
pub struct UnknownGroup;

impl Group {
    pub const DEFAULT: [Group; 3] = [Group::RetryAfter, Group::RateLimit, Group::ProblemBody];
}

impl FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(name: &str) -> Result<Group, UnknownGroup> {
        match name {
            "retry-after" => Ok(Group::RetryAfter),
            "ratelimit" => Ok(Group::RateLimit),
            "ratelimit-structured" => Ok(Group::Structured),
            "problem-body" => Ok(Group::ProblemBody),
            _ => Err(UnknownGroup),
        }
    }
}

// === Jitter ===

/// What `retry-after` adds to the true wait at random, so that clients denied together do not return
/// together: a whole number of seconds from 0 to max(1, share · wait), never above a bound; or nothing if the share
/// is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    share: f64,
    most_s: u64,
}

/// Half a minute spreads a crowd; a share alone would send clients whose quota of a day is used up home for hours.
const MOST_JITTER: Duration = Duration::from_secs(30);

/// The share is not from 0 to 1.
#[derive(Debug, Error)]
#[error("the share of jitter must be a number from 0 to 1")]
pub struct BadShare;

impl Default for Jitter {
    fn default() -> Self {
        Jitter { share: 0.2, most_s: MOST_JITTER.as_secs() }
    }
}

impl FromStr for Jitter {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Jitter, BadShare> {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.map(|share| Jitter { share, ..Jitter::default() }).ok_or(BadShare)
    }
}

impl Jitter {
    pub const NONE: Jitter = Jitter { share: 0.0, most_s: 0 };

    /// The same with another bound, cut to whole seconds.
    #[must_use]
    pub fn at_most(self, most: Duration) -> Jitter {
        Jitter { most_s: most.as_secs(), ..self }
    }

    fn seconds(self, wait_s: u64) -> u64 {
        if self.share <= 0.0 {
            return 0;
        }
        // Rounded after the product: jitter on a wait of one second would vanish otherwise.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
        #[allow(clippy::cast_precision_loss, reason = "it is random anyway")]
        let most = ((wait_s as f64 * self.share).round() as u64).max(1);
        rand::random_range(0..=most.min(self.most_s))
    }
}

// === headers ===

pub(super) fn headers(
    contract: &Contract,
    speaker: &Decision<'_>,
    verdict: Verdict,
    response: &mut Writer<'_>,
) {
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
                header(response, "content-type", "application/problem+json");
            }
            Group::RetryAfter | Group::ProblemBody => {}
        }
    }
}

/// `q` is what comes back in the window `w`; how much may be taken at once is a parameter of our own.
fn structured(response: &mut Writer<'_>, speaker: &Decision<'_>, reset_s: u64) {
    let limit = &speaker.limit.limit;
    let name = quoted_name(&speaker.limit);
    let policy = format!(
        "{name};q={};w={};tollgate-burst={}",
        limit.requests_per_unit(),
        limit.period().seconds(),
        limit.burst()
    );
    header(response, "ratelimit-policy", &policy);
    header(response, "ratelimit", &format!("{name};r={};t={reset_s}", speaker.remaining));
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

fn header(response: &mut Writer<'_>, name: &str, value: &str) {
    response.message(RESPONSE_HEADERS, |header| {
        header.bytes(HEADER_KEY, name.as_bytes());
        header.bytes(HEADER_VALUE, value.as_bytes());
    });
}

fn number(response: &mut Writer<'_>, name: &str, value: u64) {
    header(response, name, itoa::Buffer::new().format(value));
}
