//! The months of the calendar in UTC: proleptic Gregorian, in whole microseconds since the Unix epoch, without leap
//! seconds.
//!
//! `lua/fixed_window.lua` does the same arithmetic in Redis.

const DAY_US: u64 = 86_400_000_000;
/// 400 years, after which the calendar repeats.
const DAYS_OF_ERA: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01. Years are counted from March, so that a leap day is the last day of its year.
const DAYS_TO_EPOCH: u64 = 719_468;
/// Months from March of the year 0 to January 1970.
const MONTHS_TO_EPOCH: u64 = 1_970 * 12 - 2;

/// One month of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// The months since January 1970.
    pub number: u64,
    /// Its first microsecond, since the Unix epoch.
    pub starts_us: u64,
    /// The first microsecond of the next month.
    pub ends_us: u64,
}

impl Month {
    /// The month that holds this instant, in microseconds since the Unix epoch. What would end after the last instant of
    /// a u64 ends there.
    pub fn at(us: u64) -> Month {
        let days = us / DAY_US + DAYS_TO_EPOCH;
        let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
        // Without the leap days before it, each year has 365 days.
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let first_day = days_before_year(year);
        let month = (5 * (day - first_day) + 2) / 153;
        let starts = first_day + days_before_month(month);
        let ends = match month {
            FEBRUARY => days_before_year(year + 1),
            _ => first_day + days_before_month(month + 1),
        };
        let us_at = |day: u64| (era * DAYS_OF_ERA + day - DAYS_TO_EPOCH).saturating_mul(DAY_US);
        let number = (era * 400 + year) * 12 + month - MONTHS_TO_EPOCH;
        Month { number, starts_us: us_at(starts), ends_us: us_at(ends) }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> u64 {
        (self.ends_us - self.starts_us) / 1_000_000
    }
}

/// The last month of a year that begins in March.
const FEBRUARY: u64 = 11;

/// The days of an era before a year of it.
fn days_before_year(year: u64) -> u64 {
    year * 365 + year / 4 - year / 100 + year / 400
}

/// The days of a year before a month of it, the first of which is March.
fn days_before_month(month: u64) -> u64 {
    (153 * month + 2) / 5
}

#[cfg(test)]
mod tests;
