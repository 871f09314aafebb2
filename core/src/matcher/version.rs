//! A short name for a whole configuration, by which replicas can tell whether they decide by the same rules.

use std::fmt::{self, Write as _};

use crate::rules::{Domain, MemberTable, Members};

/// The bytes of a digest that are shown: enough to tell configurations apart, and too few to find out anything.
const SHOWN_BYTES: usize = 6;

/// Twelve hexadecimal digits. Equal configurations have equal ones, whatever the order of their domains and members.
pub(super) fn version<'d>(domains: impl IntoIterator<Item = &'d Domain>) -> String {
    let mut domains: Vec<&Domain> = domains.into_iter().collect();
    domains.sort_by(|one, other| one.name.cmp(&other.name));
    let mut hasher = Hasher(blake3::Hasher::new());
    for Domain { name, defaults, descriptors, members, authz } in domains {
        hasher.put(format_args!("{name:?} {defaults:?} {descriptors:?} {authz:?}"));
        if let Some(Members { key, default, tiers, table }) = members {
            hasher.put(format_args!("{key:?} {default:?} {tiers:?} {:?}", sum(table)));
        }
    }
    hasher.0.finalize().as_bytes()[..SHOWN_BYTES].iter().fold(String::new(), |mut text, byte| {
        // A String takes all that is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The members in no order: a table has none, and sorting a million of them would take longer.
fn sum(table: &MemberTable) -> (usize, u128) {
    let plain = table.plain.iter().map(|(value, tier)| digest(b'p', value, tier));
    let sha256 = table.sha256.iter().map(|(value, tier)| digest(b's', value, tier));
    let sum = plain.chain(sha256).fold(0, u128::wrapping_add);
    (table.plain.len() + table.sha256.len(), sum)
}

fn digest(kind: u8, value: &[u8], tier: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]).update(&value.len().to_le_bytes()).update(value).update(tier.as_bytes());
    let digest = hasher.finalize();
    digest.as_bytes()[..16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

struct Hasher(blake3::Hasher);

impl Hasher {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Hashing never fails.
        let _ = self.write_fmt(text);
        self.0.update(b"\n");
    }
}

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        limit::{Limit, Unit},
        rules::Pattern,
    };

    fn domain(name: &str, requests: u32, members: &[(&str, &str)]) -> Domain {
        let limit = Limit::new(requests, Unit::Minute, None).unwrap();
        let mut table = MemberTable::default();
        for (value, tier) in members {
            table.plain.insert(value.as_bytes().into(), (*tier).into());
        }
        let (key, default) = ("api_key".to_owned(), "free".to_owned());
        Domain {
            name: name.to_owned(),
            descriptors: vec![Pattern::with_limit("api_key", None, limit)],
            members: Some(Members { key, default, tiers: Default::default(), table: Arc::new(table) }),
            ..Domain::default()
        }
    }

    #[test]
    fn equal_configurations_have_equal_versions_in_any_order() {
        let members = [("a", "paid"), ("b", "free"), ("c", "paid")];
        let (edge, other) = (domain("edge", 5, &members), domain("other", 6, &[]));
        let backwards: Vec<_> = members.into_iter().rev().collect();
        let again = domain("edge", 5, &backwards);
        assert_eq!(version([&edge, &other]), version([&other, &again]));
        assert_eq!(version([&edge]).len(), 12);
    }

    #[test]
    fn a_changed_number_name_or_member_makes_another_version() {
        let known = version([&domain("edge", 5, &[("a", "paid")])]);
        for changed in [
            domain("edge", 6, &[("a", "paid")]),
            domain("edges", 5, &[("a", "paid")]),
            domain("edge", 5, &[("a", "free")]),
            domain("edge", 5, &[("b", "paid")]),
            domain("edge", 5, &[]),
        ] {
            assert_ne!(version([&changed]), known, "{changed:?}");
        }
    }
}
