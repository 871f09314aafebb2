//! Limits that others of the same request stand in for.

use smallvec::SmallVec;

use super::{Applies, RuleLimit};

/// The names of the limits that one request is not held to.
#[derive(Debug, Default)]
pub struct Replaced<'m> {
    /// Sorted.
    names: SmallVec<[&'m str; 4]>,
}

impl<'m> Replaced<'m> {
    /// The names that any of these `replaces`: also of what is unlimited, and of what is itself replaced.
    pub fn by(matched: impl IntoIterator<Item = &'m Applies>) -> Replaced<'m> {
        let mut names = SmallVec::new();
        let mut add = |replaces: &'m [String]| names.extend(replaces.iter().map(String::as_str));
        for applies in matched {
            match applies {
                Applies::Unlimited(unlimited) => add(&unlimited.replaces),
                Applies::All(limits) => limits.iter().for_each(|limit| add(&limit.replaces)),
            }
        }
        names.sort_unstable();
        Replaced { names }
    }

    /// Whether the request is not held to this limit, which nobody can say of one without a name.
    pub fn leaves_out(&self, limit: &RuleLimit) -> bool {
        !self.names.is_empty()
            && !limit.name.is_empty()
            && self.names.binary_search(&limit.name.as_str()).is_ok()
    }
}
