//! Where fixed windows begin and end: at multiples of their length, or with the months of the calendar.

use std::fmt;

use super::{Algorithm, Limit, LimitError, LimitSpec, Period, Unit};
use crate::calendar::Month;

/// Where the windows of a fixed window begin. Other algorithms have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Windows {
    /// At multiples of the period's length since the Unix epoch.
    #[default]
    Aligned,
    /// On the first day of each calendar month, at midnight UTC.
    CalendarMonth,
}

/// The period of a limit in words: `minute`, `5 minutes` or `calendar month`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Per {
    period: Period,
    windows: Windows,
}

impl LimitSpec {
    /// Calendar months are windows of exactly one month.
    pub(super) fn check_windows(&self) -> Result<(), LimitError> {
        let LimitSpec { period, algorithm, windows, burst, .. } = *self;
        match windows {
            Windows::Aligned => Ok(()),
            _ if period.unit != Unit::Month => Err(LimitError::CalendarUnit(period.unit)),
            _ if !period.is_one_month() => Err(LimitError::CalendarMonths { period }),
            _ if algorithm != Algorithm::FixedWindow => Err(LimitError::CalendarAlgorithm(algorithm)),
            _ if burst.is_some() => Err(LimitError::CalendarBurst),
            Windows::CalendarMonth => Ok(()),
        }
    }
}

impl Limit {
    /// Where the windows of a fixed window begin.
    pub fn windows(&self) -> Windows {
        self.windows
    }

    /// The period in words.
    pub fn per(&self) -> Per {
        Per { period: self.period, windows: self.windows }
    }

    /// The length of the period in seconds, for calendar months that of the month at this instant. None if the instant
    /// is not known and makes a difference.
    pub fn period_seconds_at(&self, now_us: Option<u64>) -> Option<u64> {
        match self.windows {
            Windows::Aligned => Some(self.period.seconds()),
            Windows::CalendarMonth => now_us.map(|now_us| Month::at(now_us).seconds()),
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.windows {
            Windows::Aligned => write!(f, "{}", self.period),
            Windows::CalendarMonth => write!(f, "calendar {}", self.period),
        }
    }
}

#[cfg(test)]
mod tests;
