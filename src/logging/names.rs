//! Names of keys that tell nothing about the values that clients send.
//!
//! The key of a bucket is a digest, and a short value could be found by trying all of them. So its name is a digest with
//! a secret. Replicas that share a Redis share the secret, so that a key has one name in all of them; without Redis it is
//! drawn for the process. Whoever can read the secret in Redis can read the keys of the buckets there as well.
//!
//! The live page and the decision log use them, so that a line can be found on the page. They begin with `c-`.
//! `tollgate simulate` has no Redis and names buckets by the [digest itself](super::keys).

use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use tollgate_core::descriptor::BucketKey;

/// A secret that nobody can guess.
type Secret = [u8; 32];

/// Gives names.
pub struct Names(RwLock<Secret>);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// A key as a number, by which it has its name. Two limits of a descriptor have different ones, in each form of keys.
pub fn number(key: &BucketKey) -> u128 {
    // Two limits of a descriptor may have keys that differ in this alone.
    let limit = u128::from(key.tagged_limit().unwrap_or_default());
    u128::from_le_bytes(*key.digest()) ^ limit << 64
}

impl Names {
    /// Names with a secret of this process.
    #[expect(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Names {
        Names(RwLock::new(rand::random()))
    }

    /// Gives names with this secret from here on.
    pub fn set(&self, secret: Secret) {
        let known = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        // It is set every second, and lines of the decision log are not to wait for that.
        if known != secret {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = secret;
        }
    }

    /// The name of the key with this number.
    pub fn of(&self, key: u128) -> String {
        let secret = *self.0.read().unwrap_or_else(PoisonError::into_inner);
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

    #[test]
    fn two_limits_of_a_descriptor_have_two_names() {
        let names = Names::new();
        let of = |limit| names.of(number(&BucketKey::tagged([7; 16], limit)));
        assert_ne!(of(1), of(2));
    }
}
