//! The content of one file, checked by itself. What depends on the other files of its domain is still open.

use std::path::{Path, PathBuf};

use super::{authz::RawAuthz, error::Position};
use tollgate_core::{
    limit::Defaults,
    rules::{NamedLimit, Pattern},
};

pub(super) struct RawDomain {
    /// Position in the list of files.
    pub(super) file: usize,
    /// Empty if it is missing, which is reported already.
    pub(super) name: String,
    /// How its limits count that leave it open.
    pub(super) defaults: Defaults,
    /// The position where this file says the algorithm; none if another file of the domain does, or the process.
    pub(super) algorithm_at: Option<Position>,
    pub(super) descriptors: Vec<RawPattern>,
    pub(super) tiers: Vec<RawTier>,
    pub(super) members: Option<RawMembers>,
    pub(super) authz: Option<RawAuthz>,
}

pub(super) struct RawPattern {
    pub(super) at: Position,
    /// The position of its list.
    pub(super) index: usize,
    /// The pattern without its limits and the patterns below it.
    pub(super) pattern: Pattern,
    pub(super) limits: RawLimits,
    pub(super) below: Vec<RawPattern>,
}

pub(super) enum RawLimits {
    None,
    /// A key for limits that has no value.
    LeftEmpty {
        key: &'static str,
        at: Position,
    },
    /// They have errors.
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
    /// The position of each name of `replaces`.
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
    /// The path of the file, given that of the limits file that names it.
    pub(super) fn path(&self, limits: &Path) -> PathBuf {
        members_path(&self.file, limits)
    }
}

/// The path of a members file that a limits file names.
pub(super) fn members_path(file: &str, limits: &Path) -> PathBuf {
    limits.parent().unwrap_or(Path::new("")).join(file)
}

impl RawPattern {
    /// Its own limits, without those of tiers.
    pub(super) fn own_limits(&self) -> &[RawLimit] {
        match &self.limits {
            RawLimits::Own(limits) => limits,
            _ => &[],
        }
    }

    /// Whether it or a pattern below it has a limit.
    pub(super) fn limits_anything(&self) -> bool {
        let is_own = !matches!(self.limits, RawLimits::None | RawLimits::LeftEmpty { .. });
        is_own || self.below.iter().any(RawPattern::limits_anything)
    }

    /// Like [`limits_anything`](Self::limits_anything), but an unlimited limit does not count.
    pub(super) fn bounds_anything(&self) -> bool {
        let is_own = match &self.limits {
            RawLimits::None | RawLimits::LeftEmpty { .. } => false,
            RawLimits::Own(limits) => limits.iter().any(|limit| limit.limit.limit.is_some()),
            // Errors are reported already.
            RawLimits::Wrong | RawLimits::Tier { .. } | RawLimits::OfMember { .. } => true,
        };
        is_own || self.below.iter().any(RawPattern::bounds_anything)
    }
}
