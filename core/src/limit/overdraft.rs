//! What happens to hits that do not fit.

use super::{Algorithm, LONGEST_FILL_WITH_DEBT_US, Limit, MOST_IN_WINDOW_WITH_DEBT};

/// What happens to a take that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overdraft {
    /// It is denied and costs nothing.
    #[default]
    Never,
    /// It is denied and charged all the same, until the bucket owes one burst: for what is billed after
    /// it was served.
    Charge,
    /// As `Charge` for hits that the request states, while its rule is asked as one is that is billed
    /// afterwards; else as `Never`.
    Auto,
}

impl Overdraft {
    /// All, the default first.
    pub const ALL: [Overdraft; 3] = [Overdraft::Never, Overdraft::Charge, Overdraft::Auto];

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            Overdraft::Never => "never",
            Overdraft::Charge => "charge",
            Overdraft::Auto => "auto",
        }
    }

    /// Whether a bucket may come to owe.
    pub const fn may_owe(self) -> bool {
        !matches!(self, Overdraft::Never)
    }
}

impl Limit {
    /// The same limit with another overdraft; unchanged if it cannot have that.
    #[must_use]
    pub fn with_overdraft(self, overdraft: Overdraft) -> Limit {
        let may_owe = match self.algorithm {
            Algorithm::TokenBucket => self.worth_of_burst.whole_us <= LONGEST_FILL_WITH_DEBT_US,
            Algorithm::FixedWindow => self.requests_per_unit <= MOST_IN_WINDOW_WITH_DEBT,
            Algorithm::SlidingWindowLog => false,
        };
        if may_owe || !overdraft.may_owe() { Limit { overdraft, ..self } } else { self }
    }
}
