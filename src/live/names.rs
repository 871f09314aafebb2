//! Names of keys that tell nothing about the values that clients send.
//!
//! The key of a bucket is a digest, and a short value could be found by trying all of them. So its name is a digest with
//! a secret. Replicas that share a Redis share the secret, so that a key has one name in all of them; without Redis it is
//! drawn for the process. Whoever can read the secret in Redis can read the keys of the buckets there as well.
//!
//! The decision log names buckets by the digest itself, with `k-` before it; these begin with `c-`.

use std::sync::{Mutex, PoisonError};

/// A secret that nobody can guess.
pub(super) type Secret = [u8; 32];

/// Gives names.
#[derive(Debug)]
pub(super) struct Names(Mutex<Secret>);

impl Names {
    pub(super) fn new() -> Names {
        Names(Mutex::new(rand::random()))
    }

    /// Gives other names from here on.
    pub(super) fn set(&self, secret: Secret) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret;
    }

    /// The name of the key with this number.
    pub(super) fn of(&self, key: u128) -> String {
        let secret = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = blake3::keyed_hash(&secret, &key.to_le_bytes());
        let hex = digest.to_hex();
        format!("c-{}", &hex[..12])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_depends_on_the_key_and_on_the_secret() {
        let (one, other) = (Names::new(), Names::new());
        assert_eq!(one.of(7), one.of(7));
        assert_ne!(one.of(7), one.of(8));
        assert_ne!(one.of(7), other.of(7));
        for names in [&one, &other] {
            names.set([9; 32]);
        }
        assert_eq!(one.of(7), other.of(7));
        assert_eq!(one.of(7).len(), "c-5f0c9a1b77d2".len());
    }
}
