//! Names the bucket of one client without showing what the client sent, where no [secret](super::names) is shared.

use std::fmt;

use tollgate_core::descriptor::BucketKey;

/// The bytes of a bucket's key that are shown. The key is a digest already.
const SHOWN_BYTES: usize = 6;

/// `k-` and twelve hexadecimal digits, such as `k-5f0c9a1b77d2`: the same in every run, for as long as the rule keeps
/// its algorithm and its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName([u8; SHOWN_BYTES]);

/// The name of a bucket. Whoever has a value in mind can work out its name, as with the keys in
/// Redis; whoever has only the name cannot read the value from it.
pub fn key_name(key: &BucketKey) -> KeyName {
    let mut name: [u8; SHOWN_BYTES] = *key.digest().first_chunk().expect("a digest has 16 bytes");
    // Two limits of a descriptor may have keys that differ in this alone.
    let limit = key.tagged_limit().unwrap_or_default();
    for (byte, more) in name.iter_mut().zip(limit.to_le_bytes()) {
        *byte ^= more;
    }
    KeyName(name)
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("k-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_beginning_of_the_key() {
        let key = BucketKey::from_bytes([0x5f, 0x0c, 0x9a, 0x1b, 0x77, 0xd2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(key_name(&key).to_string(), "k-5f0c9a1b77d2");
    }

    #[test]
    fn two_limits_of_a_descriptor_have_two_names() {
        let of = |limit| key_name(&BucketKey::tagged([7; 16], limit)).to_string();
        assert_ne!(of(1), of(2));
    }
}
