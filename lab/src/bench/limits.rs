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
    /// A hundred a minute, of which far more are asked for at once.
    Hundred,
}

// === impl Rule ===

impl Rule {
    pub const ALL: [Rule; 7] =
        [Rule::Open(0), Rule::Open(1), Rule::Open(2), Rule::Open(3), Rule::Ten, Rule::Once, Rule::Hundred];

    pub fn route(self) -> String {
        match self {
            Rule::Open(number) => format!("open{number}"),
            Rule::Ten => "ten".to_owned(),
            Rule::Once => "once".to_owned(),
            Rule::Hundred => "hundred".to_owned(),
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
            Rule::Hundred => 100,
        }
    }

    pub const fn unit(self) -> Unit {
        match self {
            Rule::Open(_) | Rule::Once => Unit::Month,
            Rule::Ten => Unit::Second,
            Rule::Hundred => Unit::Minute,
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

/// The same limits as limitador writes them: its descriptors are a list, and a request may have fewer than a limit looks at.
pub fn limitador_yaml() -> String {
    let limits = Rule::ALL.map(|rule| {
        let descriptor = match rule {
            Rule::Open(number) => number,
            Rule::Ten | Rule::Once | Rule::Hundred => 0,
        };
        let seconds = match rule.unit() {
            Unit::Second => 1,
            Unit::Minute => 60,
            _ => 30 * 86_400,
        };
        format!(
            "- namespace: {DOMAIN}\n  max_value: {most}\n  seconds: {seconds}\n  conditions:\n  \
             - \"size(descriptors) > {descriptor} && descriptors[{descriptor}]['route'] == '{route}'\"\n  \
             variables:\n  - \"descriptors[{descriptor}]['api_key']\"\n",
            most = rule.requests_per_unit(),
            route = rule.route(),
        )
    });
    format!("# Written by `lab bench`.\n{}", limits.concat())
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
    fn limitador_has_the_same_limits_each_with_the_descriptor_that_meets_it() {
        let limits = limitador_yaml();
        assert_eq!(limits.matches("- namespace: bench\n").count(), Rule::ALL.len());
        for part in [
            "max_value: 10000000\n  seconds: 2592000\n",
            "max_value: 100\n  seconds: 60\n",
            "- \"size(descriptors) > 2 && descriptors[2]['route'] == 'open2'\"\n  variables:\n  - \"descriptors[2]['api_key']\"\n",
            "- \"size(descriptors) > 0 && descriptors[0]['route'] == 'ten'\"\n",
        ] {
            assert!(limits.contains(part), "{part} in {limits}");
        }
    }

    #[test]
    fn a_key_changed_in_place_is_the_key_written_out() {
        for number in [0, 7, 1_234_567, 999_999] {
            assert_eq!(api_key(number).as_bytes()[1..], digits(number));
        }
    }
}
