//! How envoyproxy/ratelimit spells the domain and the path of a rule in its labels.
//!
//! It joins both by a dot, cleans the text, and then splits it at the dots. So a dot within a domain or a value begins
//! a new label, unless it is one of an IPv4 address. Dashboards that were made for it expect this.

/// The labels of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::metrics::decisions) struct Key {
    pub(super) domain: String,
    pub(super) key1: String,
    pub(super) key2: Option<String>,
}

impl Key {
    /// The labels of the rule with this path, whose levels are joined by dots.
    pub(in crate::metrics::decisions) fn new(domain: &str, path: &str) -> Key {
        let cleaned = clean(&format!("{domain}.{path}"));
        let mut parts = cleaned.split('.').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (domain, key1) = (next(), next());
        // To Prometheus a label that is empty is one that is missing.
        Key { domain, key1, key2: Some(next()).filter(|key| !key.is_empty()) }
    }
}

/// `:`, `|` and the dots of what looks like an IPv4 address become `_`.
fn clean(text: &str) -> String {
    let mut cleaned = text.replace([':', '|'], "_").into_bytes();
    let mut at = 0;
    while at < cleaned.len() {
        match address_length(&cleaned[at..]) {
            Some(length) => {
                let address = cleaned[at..at + length].iter_mut();
                address.filter(|byte| **byte == b'.').for_each(|byte| *byte = b'_');
                at += length;
            }
            None => at += 1,
        }
    }
    String::from_utf8(cleaned).unwrap_or_default()
}

/// The length of the address that a text begins with: four numbers of one to three digits, whatever follows.
fn address_length(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    for number in 1..=4 {
        let digits = text[length..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        length += digits;
        let is_followed = number == 4 || text.get(length) == Some(&b'.');
        if digits == 0 || !is_followed {
            return None;
        }
        length += usize::from(number < 4);
    }
    Some(length)
}
