//! The numbers that make no limit, and why.

use thiserror::Error;

use super::{Algorithm, MOST_IN_WINDOW_WITH_DEBT, MOST_LOGGED, Overdraft, Period, Unit};

/// The text is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be off or a time from 10ms to 10s")]
pub struct NoLease;

/// Why numbers do not make a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitError {
    /// A burst stands beside zero requests per period, so the bucket would never refill.
    #[error("burst must be 0 when requests_per_unit is 0, since nothing would ever refill it")]
    BurstWithoutRefill,
    /// The burst is zero.
    #[error("burst must be at least 1; to deny every request, say requests_per_unit: 0")]
    BurstZero,
    /// The bucket would take more than 71 years to fill, and half of that if it may owe: its times would not be exact.
    #[error("a burst of {burst} at {requests_per_unit} per {period} would take over {years} years to fill")]
    #[allow(missing_docs, reason = "the message names each field")]
    FillsTooSlowly { burst: u32, requests_per_unit: u32, period: Period, years: u32 },
    /// The period is longer than the times of a bucket can be.
    #[error("a period of {period} is over 71 years")]
    #[allow(missing_docs, reason = "the message names it")]
    PeriodTooLong { period: Period },
    /// A burst stands beside an algorithm that has none.
    #[error(
        "{} takes no burst: it admits requests_per_unit at once; leave out `burst`, or `algorithm`",
        .0.name()
    )]
    BurstNotTaken(Algorithm),
    /// Calendar months are asked for, and the unit is another one.
    #[error(
        "calendar: true goes with unit: month, found unit: {0}; write `unit: month`, or leave out `calendar`"
    )]
    CalendarUnit(Unit),
    /// Calendar months are asked for, and the period has several.
    #[error(
        "calendar: true counts by single months, found {period}; leave out `unit_multiplier`, or `calendar`"
    )]
    #[allow(missing_docs, reason = "the message names it")]
    CalendarMonths { period: Period },
    /// Calendar months are asked for, and the algorithm has no windows.
    #[error(
        "calendar: true goes with algorithm: fixed_window, found {}; leave out `algorithm`, or `calendar`",
        .0.name()
    )]
    CalendarAlgorithm(Algorithm),
    /// A burst stands beside calendar months.
    #[error(
        "calendar: true makes a fixed_window, which takes no burst: it admits requests_per_unit at once; leave \
         out `burst`, or `calendar`"
    )]
    CalendarBurst,
    /// A sliding log may not owe.
    #[error("a sliding_window_log cannot have overdraft: {}; use a token_bucket or a fixed_window", .0.name())]
    LogCannotOwe(Overdraft),
    /// A lease is asked for, and the algorithm is a sliding log.
    #[error(
        "a sliding_window_log takes no lease; leave out `lease`, or use a token_bucket or a fixed_window"
    )]
    LogLease,
    /// A lease is too short or too long.
    #[error("a lease lasts from 10ms to 10s, or is off; found {}ms", *.lease_us / 1_000)]
    #[allow(missing_docs, reason = "the message names it")]
    LeaseLength { lease_us: u32 },
    /// A sliding log would have to remember more entries than it may.
    #[error("a sliding_window_log keeps each request: at most {MOST_LOGGED} per period, found {0}")]
    LogTooLong(u32),
    /// A window that may owe would have to count further than it can.
    #[error(
        "overdraft: {} in a fixed_window: at most {MOST_IN_WINDOW_WITH_DEBT} per period, found \
         {requests_per_unit}; algorithm: token_bucket takes more", .overdraft.name()
    )]
    #[allow(missing_docs, reason = "the message names each field")]
    WindowTooLarge { overdraft: Overdraft, requests_per_unit: u32 },
}
