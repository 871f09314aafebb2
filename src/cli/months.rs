//! The flag that makes monthly quotas follow the calendar, for each command that reads limits.

use clap::{ArgAction, Args};

use super::values;
use tollgate_core::limit::Windows;

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct CalendarMonths {
    /// Whether fixed windows of one month are the months of the calendar: on or off.
    ///
    /// On counts each month from its first day, at midnight UTC, instead of 30 days at a time. It holds for each limit of
    /// `unit: month` that is a fixed window and does not say `calendar` itself, from wherever the limit comes. The keys
    /// of these buckets change with it, so each starts anew.
    #[arg(long, env = "TOLLGATE_CALENDAR_MONTHS", value_name = "SWITCH", default_value = "off",
        action = ArgAction::Set, value_parser = values::switch)]
    calendar_months: bool,
}

impl CalendarMonths {
    pub(super) fn windows(self) -> Windows {
        if self.calendar_months { Windows::CalendarMonth } else { Windows::Aligned }
    }
}
