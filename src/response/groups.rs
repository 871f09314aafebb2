//! What an answer may contain beside its verdict, as operators choose it: groups of headers, and jitter.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

/// A part of an answer that can be switched on or off. The verdict and the statuses are always sent.
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

/// No group has this name.
#[derive(Debug, Error)]
#[error("no such group; there are retry-after, ratelimit, ratelimit-structured and problem-body")]
pub struct UnknownGroup;

impl Group {
    /// The groups that are sent unless others are chosen.
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

/// The random part of `retry-after`, so that clients that were denied together do not return together. It is a whole
/// number of seconds from 0 to max(1, share · wait), at most a bound; or nothing if the share is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    share: f64,
    most_s: u64,
}

/// Half a minute spreads a crowd. A share alone would add hours for clients that have used up the quota of a day.
const MOST_JITTER: Duration = Duration::from_secs(30);

/// The share is not a number from 0 to 1.
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
    /// No random part.
    pub const NONE: Jitter = Jitter { share: 0.0, most_s: 0 };

    /// The same jitter with another bound, which is cut to whole seconds.
    #[must_use]
    pub fn at_most(self, most: Duration) -> Jitter {
        Jitter { most_s: most.as_secs(), ..self }
    }

    /// A random number of seconds to add to a wait.
    pub(super) fn seconds(self, wait_s: u64) -> u64 {
        if self.share <= 0.0 {
            return 0;
        }
        // At least 1, or jitter on a short wait would vanish.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
        #[allow(clippy::cast_precision_loss, reason = "it is random anyway")]
        let most = ((wait_s as f64 * self.share).round() as u64).max(1);
        rand::random_range(0..=most.min(self.most_s))
    }
}
