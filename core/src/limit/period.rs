//! How long a limit counts for.

use std::fmt;

/// The period that `requests_per_unit` counts for: `multiplier` units, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    /// The unit of the period.
    pub unit: Unit,
    /// How many units make the period; at least 1 in a checked limit.
    pub multiplier: u32,
}

/// What a period is counted in. A month has 30 days, a year 365; only [`Windows::CalendarMonth`](super::Windows) has the
/// months of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 1 second.
    Second,
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

impl Unit {
    /// All units, the shortest first.
    pub const ALL: [Unit; 7] =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

    /// The unit of that name, in any case; none for a name that is no unit.
    pub fn from_name(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name))
    }

    /// Its name in a limits file, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
            Unit::Year => "year",
        }
    }

    /// The length of one unit in seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Month => 30 * 86_400,
            Unit::Year => 365 * 86_400,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Period ===

impl From<Unit> for Period {
    fn from(unit: Unit) -> Period {
        Period { unit, multiplier: 1 }
    }
}

impl Period {
    /// A multiplier of 0 counts as 1, which is what the protocol means by an absent one.
    pub fn seconds(self) -> u64 {
        self.unit.seconds() * u64::from(self.multiplier.max(1))
    }

    /// Whether it is `month`, not as many days.
    pub fn is_one_month(self) -> bool {
        self.unit == Unit::Month && self.multiplier <= 1
    }
}

/// `minute`, or `5 minutes`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.multiplier {
            0 | 1 => write!(f, "{}", self.unit),
            many => write!(f, "{many} {}s", self.unit),
        }
    }
}
