//! Limits that depend on which tier a value is listed under.

use std::{collections::HashMap, sync::Arc};

use foldhash::quality::RandomState;
use sha2::{Digest, Sha256};

use super::Applies;
use crate::{descriptor::Entry, rules::MemberTable};

/// The limits of each tier, compiled for one rule.
#[derive(Debug)]
pub(super) struct MemberLimits {
    /// Which entry of a request has the value that is looked up.
    pub(super) position: usize,
    pub(super) table: Arc<MemberTable>,
    /// But for the default one.
    pub(super) tiers: HashMap<Box<str>, Applies, RandomState>,
    pub(super) default: Applies,
}

impl MemberLimits {
    /// Those of the default tier where the value, or the tier that it is listed under, is not known.
    pub(super) fn of<'e>(&self, mut entries: impl Iterator<Item = Entry<'e>>) -> &Applies {
        let tier = entries.nth(self.position).and_then(|entry| tier(&self.table, entry.value));
        tier.and_then(|tier| self.tiers.get(tier)).unwrap_or(&self.default)
    }
}

/// What stands there in plain comes first: it costs no digest.
fn tier<'t>(table: &'t MemberTable, value: &[u8]) -> Option<&'t str> {
    let plain = table.plain.get(value);
    let tier = plain.or_else(|| match table.sha256.is_empty() {
        true => None,
        false => table.sha256.get::<[u8; 32]>(&Sha256::digest(value).into()),
    });
    tier.map(|tier| &**tier)
}
