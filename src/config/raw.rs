//! What one file says, checked by itself: what only all files of a domain can tell is still open.

use std::path::{Path, PathBuf};

use super::error::Position;
use tollgate_core::{
    limit::DefaultAlgorithm,
    rules::{NamedLimit, Pattern},
};

pub(super) struct RawDomain {
    /// Position in the list of files.
    pub(super) file: usize,
    /// Empty where it is missing, which is in the report.
    pub(super) name: String,
    /// How its limits count that do not say.
    pub(super) default_algorithm: DefaultAlgorithm,
    /// Where this file says so; none where another file of the domain does, or the process.
    pub(super) algorithm_at: Option<Position>,
    pub(super) descriptors: Vec<RawPattern>,
    pub(super) tiers: Vec<RawTier>,
    pub(super) members: Option<RawMembers>,
}

pub(super) struct RawPattern {
    pub(super) at: Position,
    /// Of its list.
    pub(super) index: usize,
    /// Without its limits and what stands below.
    pub(super) pattern: Pattern,
    pub(super) limits: RawLimits,
    pub(super) below: Vec<RawPattern>,
}

pub(super) enum RawLimits {
    None,
    /// A key of limits with nothing behind it.
    LeftEmpty {
        key: &'static str,
        at: Position,
    },
    /// Something was wrong with them.
    Wrong,
    Own(Vec<RawLimit>),
    Tier {
        name: String,
        at: Position,
    },
    OfMember {
        at: Position,
    },
}

pub(super) struct RawLimit {
    pub(super) at: Position,
    pub(super) limit: NamedLimit,
    /// Where each name of `replaces` stands.
    pub(super) replaces_at: Vec<Position>,
}

pub(super) struct RawTier {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) limits: Vec<RawLimit>,
}

pub(super) struct RawMembers {
    pub(super) at: Position,
    /// As written; relative to the folder of the limits file.
    pub(super) file: String,
    pub(super) file_at: Position,
    pub(super) key: String,
    pub(super) default: String,
    pub(super) default_at: Position,
}

impl RawMembers {
    /// Where the file is, given the limits file that names it.
    pub(super) fn path(&self, limits: &Path) -> PathBuf {
        members_path(&self.file, limits)
    }
}

/// Where a members file is that a limits file names.
pub(super) fn members_path(file: &str, limits: &Path) -> PathBuf {
    limits.parent().unwrap_or(Path::new("")).join(file)
}

impl RawPattern {
    /// Its own limits; those of tiers stand elsewhere.
    pub(super) fn own_limits(&self) -> &[RawLimit] {
        match &self.limits {
            RawLimits::Own(limits) => limits,
            _ => &[],
        }
    }

    /// It limits something, or something below it does.
    pub(super) fn limits_anything(&self) -> bool {
        let is_own = !matches!(self.limits, RawLimits::None | RawLimits::LeftEmpty { .. });
        is_own || self.below.iter().any(RawPattern::limits_anything)
    }

    /// As [`limits_anything`](Self::limits_anything), and not only by an unlimited one.
    pub(super) fn bounds_anything(&self) -> bool {
        let is_own = match &self.limits {
            RawLimits::None | RawLimits::LeftEmpty { .. } => false,
            RawLimits::Own(limits) => limits.iter().any(|limit| limit.limit.limit.is_some()),
            // What is wrong is told as an error.
            RawLimits::Wrong | RawLimits::Tier { .. } | RawLimits::OfMember { .. } => true,
        };
        is_own || self.below.iter().any(RawPattern::bounds_anything)
    }
}
