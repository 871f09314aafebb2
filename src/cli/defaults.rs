//! The flags for limits that do not say everything, for each command that reads limits.

use clap::{ArgAction, Args};

use super::values;
use tollgate_core::limit::{DefaultAlgorithm, Defaults, Windows, lease_us};

/// A command that shows what `tollgate serve` does must be given what that is given.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct DefaultFlags {
    /// Algorithm where neither the limit nor its domain has `algorithm`: by_period, token_bucket or fixed_window.
    ///
    /// by_period means a token bucket, which refills, for periods shorter than a day, and a fixed window, which resets
    /// at UTC boundaries, for a day and longer. A limit with a burst is always a token bucket.
    #[arg(long, env = "TOLLGATE_DEFAULT_ALGORITHM", value_name = "ALGORITHM", default_value = "by_period")]
    default_algorithm: DefaultAlgorithm,

    /// Whether fixed windows of one month are the months of the calendar: on or off.
    ///
    /// On counts each month from its first day, at midnight UTC, instead of 30 days at a time. It holds for each limit of
    /// `unit: month` that is a fixed window and does not say `calendar` itself, from wherever the limit comes. The keys
    /// of these buckets change with it, so each starts anew.
    #[arg(long, env = "TOLLGATE_CALENDAR_MONTHS", value_name = "SWITCH", default_value = "off",
        action = ArgAction::Set, value_parser = values::switch)]
    calendar_months: bool,
}

/// Of the commands that grant leases or show them; the others are the same with and without.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LeaseFlag {
    /// How long Tollgate may decide on hits that it has reserved in Redis, without asking it: a time from 10ms to 10s, or
    /// off.
    ///
    /// It is for each token bucket and fixed window that does not say `lease` itself. The bound stays; a request that fits
    /// may be denied while runtimes hold hits that they have reserved and not spent.
    #[arg(long, env = "TOLLGATE_LEASE", value_name = "TIME", default_value = "off", value_parser = lease_us)]
    lease: u32,
}

// === impl DefaultFlags ===

impl DefaultFlags {
    pub(super) fn defaults(self) -> Defaults {
        let month = if self.calendar_months { Windows::CalendarMonth } else { Windows::Aligned };
        Defaults { algorithm: self.default_algorithm, month, ..Defaults::default() }
    }
}

// === impl LeaseFlag ===

impl LeaseFlag {
    pub(super) fn defaults(self, others: DefaultFlags) -> Defaults {
        Defaults { lease_us: self.lease, ..others.defaults() }
    }
}
