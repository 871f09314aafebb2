//! Finds values that their key can never carry, or that are regular expressions.
//!
//! A key can have any name, so there are warnings only for keys whose name says what they carry, and for texts that
//! make sense only as a regular expression.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::report::shorten;
use tollgate_core::matcher::is_wildcard;

/// Keys, in lower case, that carry one address. Headers may carry several, or one with its port.
const ADDRESS: &str = "remote_address";
const ADDRESS_HEADERS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-envoy-external-address"];
/// The key that carries the range in which an address is.
const RANGE: &str = "masked_remote_address";

/// Parts that only regular expressions have.
/// A backslash and a letter alone may be a Windows domain and user name.
const MARKS: [&str; 17] = [
    "\\d+", "\\d{", "\\w+", "\\w{", "\\s+", "\\.", "\\/", "\\-", "\\?", "[^", "[0-9", "[a-z", "[A-Z", "(?",
    ".*)", ".+)", ".*$",
];

/// Why a value is a mistake, if that is certain.
pub(super) fn doubt(key: &str, value: &str) -> Option<String> {
    of_address(key, value)
        .or_else(|| of_range(key, value))
        .or_else(|| of_expression(key, value))
        .or_else(|| of_method(key, value))
        .or_else(|| of_query(key, value))
}

// === addresses ===

fn of_address(key: &str, value: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    let is_header = ADDRESS_HEADERS.contains(&key.as_str());
    if key != ADDRESS && !is_header {
        return None;
    }
    if let Some((address, length)) = value.split_once('/')
        && looks_like_address(address)
        && !length.is_empty()
        && length.bytes().all(|digit| digit.is_ascii_digit())
    {
        let instead = match address.split('.').collect::<Vec<_>>()[..] {
            [first, ..] if length == "8" => format!("write `{first}.*`, or "),
            [first, second, ..] if length == "16" => format!("write `{first}.{second}.*`, or "),
            [first, second, third, _] if length == "24" => format!("write `{first}.{second}.{third}.*`, or "),
            _ => String::new(),
        };
        return Some(format!(
            "never matches: `{key}` carries one address, which never equals a range; {instead}use \
                 masked_remote_address in Envoy's actions"
        ));
    }
    if is_header || is_wildcard(value) {
        return None;
    }
    let bare = value.trim_start_matches('[').trim_end_matches(']');
    if value.parse::<SocketAddr>().is_ok() {
        return Some(format!("never matches: `{key}` carries an address without its port"));
    }
    match bare.parse::<IpAddr>() {
        Ok(address) if value != bare || !is_canonical(value, address) => {
            Some(format!("never matches: Envoy writes this address as `{address}`"))
        }
        Ok(_) => None,
        Err(_) if value.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.') => Some(format!(
            "never matches: `{key}` carries an address, and this is not one; write `*` for the part that \
                 varies"
        )),
        Err(_) => None,
    }
}

fn of_range(key: &str, value: &str) -> Option<String> {
    if !key.eq_ignore_ascii_case(RANGE) || is_wildcard(value) {
        return None;
    }
    let Some((address, length)) = value.split_once('/') else {
        let is_address = value.parse::<IpAddr>().is_ok();
        return is_address.then(|| {
            format!("never matches: `{RANGE}` carries a range, such as `10.0.0.0/8`, with the length that Envoy's action names")
        });
    };
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
    let first = first_of(address, length)?;
    let expected = format!("{first}/{length}");
    (expected != value && is_canonical(&first.to_string(), first))
        .then(|| format!("never matches: Envoy writes this range as `{expected}`"))
}

/// The first address of a range.
fn first_of(address: IpAddr, length: u32) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    })
}

/// The address as Envoy writes it. There are several ways to write an IPv6 address that contains an IPv4 address.
fn is_canonical(written: &str, address: IpAddr) -> bool {
    address.to_string() == written || (address.is_ipv6() && written.contains('.'))
}

fn looks_like_address(text: &str) -> bool {
    let is_of_address = |letter: char| letter.is_ascii_hexdigit() || matches!(letter, '.' | ':' | '*');
    text.contains(['.', ':']) && text.chars().all(is_of_address)
}

// === paths and the like ===

fn of_expression(key: &str, value: &str) -> Option<String> {
    let is_anchored = value.len() > 1 && value.starts_with('^');
    let has_mark = MARKS.iter().any(|mark| value.contains(mark)) || value.starts_with(".*");
    // A hidden file is `/.` and its name.
    let is_of_path = carries_path(key) && value.len() > 3 && value.contains("/.*");
    if !is_anchored && !has_mark && !is_of_path && !has_choice(value) {
        return None;
    }
    let plain = value.trim_start_matches('^').trim_end_matches('$').replace(".*", "*");
    let is_plain = plain != value && !plain.contains(['\\', '[', '(', '|', '+', '^', '$', '?']);
    let instead = if is_plain { format!("; write `{}`", shorten(&plain)) } else { String::new() };
    Some(format!(
        "a value is not a regular expression: `*` matches any characters, and everything else matches \
             itself{instead}"
    ))
}

/// For example `(a|b)`.
fn has_choice(value: &str) -> bool {
    let Some((_, behind)) = value.split_once('(') else { return false };
    behind.split_once(')').is_some_and(|(within, _)| within.contains('|'))
}

fn of_method(key: &str, value: &str) -> Option<String> {
    const METHODS: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    let upper = value.to_ascii_uppercase();
    (key == ":method" && upper != value && METHODS.contains(&upper.as_str()))
        .then(|| format!("never matches: methods are in upper case; write `{upper}`"))
}

fn of_query(key: &str, value: &str) -> Option<String> {
    (carries_path(key) && value.contains('?')).then(|| {
        "a `?` in the value of a path: clients choose the order of a query, so this is easily evaded, and it never \
         matches where the path comes without its query"
            .to_owned()
    })
}

fn carries_path(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let last = key.rsplit(['-', '_', '.', ':', ' ']).next().unwrap_or_default();
    last.ends_with("path") || matches!(last, "uri" | "url")
}

#[cfg(test)]
mod tests;
