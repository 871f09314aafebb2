//! The limits of the load, as a limits file, for INCRBY, and for the audit.
//!
//! A bucket of a rule that allows must still exist at the next take, because otherwise the store would have nothing to
//! remember: ten million a month refills one hit every 0.26 s, and is never used up.

use tollgate_core::limit::Unit;

pub const DOMAIN: &str = "bench";

/// The rule of a descriptor: `route=<rule>`, then `api_key=<key>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A rule that never denies. There are four, for requests with four descriptors.
    Open(u8),
    /// Ten a second: the rate that one denied key goes on being admitted at.
    Ten,
    /// One a month: a bucket that stays, and denies from the second take on.
    Once,
}

// === impl Rule ===

impl Rule {
    pub const ALL: [Rule; 6] =
        [Rule::Open(0), Rule::Open(1), Rule::Open(2), Rule::Open(3), Rule::Ten, Rule::Once];

    pub fn route(self) -> String {
        match self {
            Rule::Open(number) => format!("open{number}"),
            Rule::Ten => "ten".to_owned(),
            Rule::Once => "once".to_owned(),
        }
    }

    /// Whether it ever denies.
    pub const fn denies(self) -> bool {
        !matches!(self, Rule::Open(_))
    }

    pub const fn requests_per_unit(self) -> u32 {
        match self {
            Rule::Open(_) => 10_000_000,
            Rule::Once => 1,
            Rule::Ten => 10,
        }
    }

    pub const fn unit(self) -> Unit {
        match self {
            Rule::Open(_) | Rule::Once => Unit::Month,
            Rule::Ten => Unit::Second,
        }
    }
}

/// The limits file. It uses only what envoyproxy/ratelimit understands too, so that a peer can load it.
pub fn yaml() -> String {
    let rules = Rule::ALL.map(|rule| {
        format!(
            "- key: route\n  value: {}\n  descriptors:\n  - key: api_key\n    rate_limit: {{ unit: {}, \
             requests_per_unit: {} }}\n",
            rule.route(),
            rule.unit(),
            rule.requests_per_unit()
        )
    });
    format!("# Written by `lab bench`.\ndomain: {DOMAIN}\ndescriptors:\n{}", rules.concat())
}

/// In place of `yaml`, the extension of the file of [`shadowed_yaml`].
pub const SHADOWED_EXTENSION: &str = "shadowed.yaml";

/// The same limits in shadow mode: where nothing is denied they answer alike, but the script's first lines, which decide
/// one enforced take, leave them to the rest of it.
pub fn shadowed_yaml() -> String {
    yaml().replace("- key: api_key\n", "- key: api_key\n    shadow_mode: true\n")
}

/// In place of `yaml`, the extension of the file with `authz`.
pub const AUTHZ_EXTENSION: &str = "authz.yaml";

/// What makes the same descriptors of checks. In a file of its own, which a peer does not load.
pub fn authz_yaml() -> String {
    format!(
        "# Written by `lab bench`.\ndomain: {DOMAIN}\nauthz:\n- rate_limits:\n  - actions:\n    \
         - context_extension: {{ key: route, descriptor_key: route }}\n    \
         - request_headers: {{ header_name: x-api-key, descriptor_key: api_key }}\n"
    )
}

/// All keys have the same length, so that a request can be changed in place.
pub const KEY_DIGITS: usize = 7;

pub fn api_key(number: u32) -> String {
    format!("k{number:0KEY_DIGITS$}")
}

/// The digits alone.
pub fn digits(mut number: u32) -> [u8; KEY_DIGITS] {
    let mut digits = [b'0'; KEY_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use tollgate_core::limit::DefaultAlgorithm;

    use super::*;

    #[test]
    fn the_limits_file_is_one_that_tollgate_loads() {
        let path = std::env::temp_dir().join(format!("lab-bench-{}.yaml", std::process::id()));
        std::fs::write(&path, yaml()).unwrap();
        let authz = path.with_extension(AUTHZ_EXTENSION);
        std::fs::write(&authz, authz_yaml()).unwrap();
        let loaded = tollgate::config::load(&[path.clone(), authz.clone()], DefaultAlgorithm::default());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&authz).unwrap();
        assert_eq!(loaded.unwrap().domains.len(), 1);
    }

    #[test]
    fn a_key_changed_in_place_is_the_key_written_out() {
        for number in [0, 7, 1_234_567, 999_999] {
            assert_eq!(api_key(number).as_bytes()[1..], digits(number));
        }
    }
}
