//! What a limit is that does not say so itself.

use super::{Algorithm, DefaultAlgorithm, LimitSpec, Period, Windows};

/// How limits count that leave it open. Limits of files, of a control plane and those that requests bring along all ask
/// this, so that they cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Defaults {
    /// The algorithm of limits that name none.
    pub algorithm: DefaultAlgorithm,
    /// The windows of fixed windows of exactly one month. Other windows are aligned.
    pub month: Windows,
    /// How long hits may be reserved by limits that do not say so, in microseconds; 0 for never.
    pub lease_us: u32,
}

/// With windows that are aligned.
impl From<DefaultAlgorithm> for Defaults {
    fn from(algorithm: DefaultAlgorithm) -> Defaults {
        Defaults { algorithm, ..Defaults::default() }
    }
}

impl Defaults {
    /// A limit that says no more than its number and its period.
    pub fn spec(self, requests_per_unit: u32, period: Period) -> LimitSpec {
        let (algorithm, windows) = self.counting(period, None, None, None);
        let lease_us = self.lease_us(algorithm, None);
        LimitSpec { algorithm, windows, lease_us, ..LimitSpec::new(requests_per_unit, period) }
    }

    /// How long hits may be reserved that are counted like this; `lease_us` is what the limit says.
    pub fn lease_us(self, algorithm: Algorithm, lease_us: Option<u32>) -> u32 {
        match algorithm {
            Algorithm::TokenBucket | Algorithm::FixedWindow => lease_us.unwrap_or(self.lease_us),
            // It has none, and `LimitSpec::check` refuses one that is asked for.
            Algorithm::SlidingWindowLog => lease_us.unwrap_or(0),
        }
    }

    /// How a limit counts of which this is known. Calendar months are fixed windows unless the limit names another
    /// algorithm, which [`LimitSpec::check`] refuses.
    pub fn counting(
        self,
        period: Period,
        burst: Option<u32>,
        algorithm: Option<Algorithm>,
        windows: Option<Windows>,
    ) -> (Algorithm, Windows) {
        let algorithm = algorithm.unwrap_or_else(|| match windows {
            Some(Windows::CalendarMonth) => Algorithm::FixedWindow,
            _ => self.algorithm.algorithm_for(period, burst),
        });
        let is_month = algorithm == Algorithm::FixedWindow && period.is_one_month();
        let default = if is_month && burst.is_none() { self.month } else { Windows::Aligned };
        (algorithm, windows.unwrap_or(default))
    }
}
