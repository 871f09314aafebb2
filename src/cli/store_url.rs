//! The address of the store, which never shows its password.

use std::{convert::Infallible, fmt, str::FromStr};

use crate::store::redis::RedisTarget;

/// The value of `--store`. It is shown and logged as `memory` or `redis://host:port`, never with user, password or
/// database.
///
/// Any text is accepted here and checked later, because clap would print a value that it refuses, password included.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// Whether buckets are kept in this process.
    pub fn is_memory(&self) -> bool {
        self.0 == "memory"
    }

    /// As typed. Not for logs or errors.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<StoreUrl, Infallible> {
        // An address contains no blanks, but a variable may end with a newline.
        Ok(StoreUrl(text.trim().to_owned()))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_memory() {
            return f.write_str("memory");
        }
        match RedisTarget::parse(&self.0) {
            Ok(target) => target.fmt(f),
            Err(_) => f.write_str("(hidden: not a store address)"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let url: StoreUrl = text.parse().unwrap();
        assert_eq!(format!("{url:?}"), url.to_string());
        url.to_string()
    }

    #[test]
    fn an_address_is_shown_as_host_and_port() {
        assert_eq!(shown("memory"), "memory");
        assert_eq!(shown("redis://127.0.0.1:7000/3"), "redis://127.0.0.1:7000");
        assert_eq!(shown("redis://cache"), "redis://cache:6379");
        assert_eq!(shown("redis://[::1]"), "redis://[::1]:6379");
        assert_eq!(shown("redis://user@[::1]:7000?protocol=resp3\n"), "redis://[::1]:7000");
    }

    #[test]
    fn a_password_is_never_shown_however_the_address_is_broken() {
        for text in [
            "redis://:s3cret@host:6379",
            "redis://user:s3cret@host/0",
            "redis://:a@s3cret@host:6379",
            "redis://:s3cret/x@host:6379",
            "redis://:s3cret?x#y@host:6379",
            "redis://host:6379?password=s3cret",
            "redis:/:s3cret@host",
            "s3cret@host:6379",
            "http://:s3cret@host",
            ":s3cret",
        ] {
            assert!(!shown(text).contains("s3cret"), "{text} is shown as {}", shown(text));
        }
    }
}
