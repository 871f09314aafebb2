//! The algorithm of a limit that names none.

use std::str::FromStr;

use thiserror::Error;

use super::{Algorithm, Period};

/// A period of this length or a longer one is a quota, which resets; a shorter one is a rate, which refills.
const QUOTA_SECONDS: u64 = 86_400;

/// The algorithm of a limit that names none.
///
/// A part of [`Defaults`](super::Defaults), which all limits ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DefaultAlgorithm {
    /// Rates refill and quotas reset, as people understand "10 a second" and "1,000 a day": a period shorter than a
    /// day is a token bucket, a day and longer a fixed window in UTC. The length counts: 24 hours are a day.
    #[default]
    ByPeriod,
    /// Token buckets, whatever the period.
    TokenBucket,
    /// Fixed windows, whatever the period.
    FixedWindow,
}

/// A name that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it must be by_period, token_bucket or fixed_window")]
pub struct UnknownDefault;

impl FromStr for DefaultAlgorithm {
    type Err = UnknownDefault;

    fn from_str(name: &str) -> Result<DefaultAlgorithm, UnknownDefault> {
        DefaultAlgorithm::from_name(name).ok_or(UnknownDefault)
    }
}

impl DefaultAlgorithm {
    /// All of them, the default first.
    pub const ALL: [DefaultAlgorithm; 3] =
        [DefaultAlgorithm::ByPeriod, DefaultAlgorithm::TokenBucket, DefaultAlgorithm::FixedWindow];

    /// The choice of this name in a limits file; None if there is none.
    pub fn from_name(name: &str) -> Option<DefaultAlgorithm> {
        DefaultAlgorithm::ALL.into_iter().find(|default| default.name() == name)
    }

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            DefaultAlgorithm::ByPeriod => "by_period",
            DefaultAlgorithm::TokenBucket => Algorithm::TokenBucket.name(),
            DefaultAlgorithm::FixedWindow => Algorithm::FixedWindow.name(),
        }
    }

    /// The algorithm of a limit of this period that names none. One with a `burst` is a token bucket, since nothing
    /// else has one.
    pub fn algorithm_for(self, period: Period, burst: Option<u32>) -> Algorithm {
        match self {
            _ if burst.is_some() => Algorithm::TokenBucket,
            DefaultAlgorithm::TokenBucket => Algorithm::TokenBucket,
            DefaultAlgorithm::FixedWindow => Algorithm::FixedWindow,
            DefaultAlgorithm::ByPeriod if period.seconds() < QUOTA_SECONDS => Algorithm::TokenBucket,
            DefaultAlgorithm::ByPeriod => Algorithm::FixedWindow,
        }
    }
}
