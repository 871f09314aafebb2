//! Keys that were asked for twice lately. Of a million keys most are asked for once in a while, and to watch each of them for
//! a lease would cost more than leases save.

use std::{hash::BuildHasher as _, mem};

use foldhash::fast::RandomState;
use tollgate_core::descriptor::BucketKey;

const SLOTS: usize = 4_096;

/// Remembers one key for each slot: the last one that was noted there. So the more keys there are, the sooner a key must
/// come again, and a key that is worth a lease comes within a hundredth of a second.
#[derive(Debug, Default)]
pub(super) struct Twice {
    /// The keys' hashes; made for the first key, since most runtimes have no leases.
    slots: Vec<u64>,
    hashes: RandomState,
}

// === impl Twice ===

impl Twice {
    /// Notes a key. Returns whether it was noted before, and no other one of its slot since.
    pub(super) fn note(&mut self, key: &BucketKey) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![0; SLOTS];
        }
        // Never 0, which is nobody's.
        let hash = self.hashes.hash_one(key) | 1 << 63;
        let slot = usize::try_from(hash % SLOTS as u64).expect("less than the slots");
        mem::replace(&mut self.slots[slot], hash) == hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_the_second_time_and_a_rare_one_is_forgotten() {
        let mut twice = Twice::default();
        let key = |number: u32| {
            let mut bytes = [7; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            BucketKey::from_bytes(bytes)
        };
        assert!(!twice.note(&key(1)) && twice.note(&key(1)) && twice.note(&key(1)));
        // Ten times as many as there are slots.
        let others = (2..40_962).filter(|number| twice.note(&key(*number))).count();
        assert_eq!(others, 0);
        assert!(!twice.note(&key(1)));
    }
}
