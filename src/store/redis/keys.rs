//! What a bucket is called in Redis, and the slot of a Redis Cluster that its name puts it in.
//!
//! A Cluster decides by the part of a name between braces which of its 16,384 slots holds it, and a call may only ask for
//! keys of one slot.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::OnceLock,
};

use tollgate_core::descriptor::BucketKey;

/// The number of slots of a Redis Cluster.
pub const SLOTS: u16 = 16_384;

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The letters of the tag in the name of a tagged key.
const TAG: Range<usize> = 4..26;
const CRC16: [u16; 256] = crc16_table();

/// The name of a bucket in Redis, which is ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisKey {
    bytes: [u8; 34],
    length: usize,
}

/// `tg:` and the key in URL-safe base64, which can be read, typed and put between braces. A tagged key is `tg:{D}:L`: D is
/// its digest, which in a Redis Cluster decides the slot, and L what distinguishes the limits of the descriptor.
pub fn redis_key(key: &BucketKey) -> RedisKey {
    let mut bytes = *b"tg:{......................}:......";
    let digest = u128::from_be_bytes(*key.digest());
    let Some(limit) = key.tagged_limit() else {
        put_letters(&mut bytes[3..25], digest);
        return RedisKey { bytes, length: 25 };
    };
    put_letters(&mut bytes[4..26], digest);
    put_letters(&mut bytes[28..], u128::from(limit) << 96);
    RedisKey { bytes, length: 34 }
}

/// Writes as many letters as there is room for, from the highest bits on. The last letter of 22 holds the last two bits,
/// padded with zeros.
fn put_letters(letters: &mut [u8], bits: u128) {
    for (i, letter) in letters.iter_mut().enumerate() {
        let sextet = if i < 21 { bits >> (122 - 6 * i) } else { bits << 4 };
        *letter = BASE64_URL[usize::try_from(sextet & 63).expect("six bits")];
    }
}

impl Deref for RedisKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Display for RedisKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(self).expect("ASCII"))
    }
}

// === slots ===

/// The slot of a bucket. For a whole key, that of its entire name.
pub fn slot(key: &BucketKey) -> u16 {
    let name = redis_key(key);
    slot_of(if key.tagged_limit().is_some() { &name[TAG] } else { &name })
}

/// The slot of a name without braces, or of what stands between the braces of another.
pub fn slot_of(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16[usize::from(high ^ byte)]
    });
    crc % SLOTS
}

/// The slot of a name, which may have a tag between braces.
pub fn slot_of_name(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    slot_of(tag.filter(|tag| !tag.is_empty()).unwrap_or(name).as_bytes())
}

/// The tag of what Tollgate keeps in a slot for itself: the smallest number that lies in the slot.
pub fn tag_in(slot: u16) -> u32 {
    static TAGS: OnceLock<Box<[u32]>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| {
        let mut tags = vec![u32::MAX; usize::from(SLOTS)];
        let mut missing = tags.len();
        // Takes some 170,000 numbers.
        let mut numbers = 0..u32::MAX;
        while let (1.., Some(number)) = (missing, numbers.next()) {
            let tag = &mut tags[usize::from(slot_of(number.to_string().as_bytes()))];
            if *tag == u32::MAX {
                (*tag, missing) = (number, missing - 1);
            }
        }
        tags.into()
    });
    tags[usize::from(slot % SLOTS)]
}

/// The table of the CRC that Redis uses: polynomial 0x1021, first 0, nothing reflected.
const fn crc16_table() -> [u16; 256] {
    let mut table = [0_u16; 256];
    let mut first = 0_u16;
    while first < 256 {
        let (mut crc, mut bit) = (first << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[first as usize] = crc;
        first += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_key_is_the_bucket_key_in_url_safe_base64() {
        let text = |bytes: [u8; 16]| redis_key(&BucketKey::from_bytes(bytes)).to_string();
        assert_eq!(text([0; 16]), "tg:AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(text([0xff; 16]), "tg:_____________________w");
        let counting = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(text(counting), "tg:AAECAwQFBgcICQoLDA0ODw");
        let tagged = |limit| redis_key(&BucketKey::tagged(counting, limit)).to_string();
        assert_eq!(tagged(1), "tg:{AAECAwQFBgcICQoLDA0ODw}:AAAAAQ");
        assert_eq!(tagged(u32::MAX), "tg:{AAECAwQFBgcICQoLDA0ODw}:_____w");
    }

    #[test]
    fn a_tag_decides_the_slot() {
        // As CLUSTER KEYSLOT of Redis 7.0.15 answers for `123456789`, `tg:replicas`, `tg:{AAEC…}:AAAAAQ`, and so on.
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"tg:replicas"), 6_831);
        let counting = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(slot(&BucketKey::tagged(counting, 1)), 4_366);
        assert_eq!(slot(&BucketKey::tagged([7; 16], 1)), 9_369);
        assert_eq!(slot(&BucketKey::from_bytes([7; 16])), 14_145);
        assert_eq!(slot(&BucketKey::tagged([7; 16], u32::MAX)), 9_369, "whatever follows the tag");
        assert_eq!(slot_of_name("tg:{12b75d}:x"), 140);
        assert_eq!(slot_of_name("tg:replicas"), 6_831);
        assert_eq!(slot_of_name("tg:{}"), slot_of(b"tg:{}"), "an empty tag is none");
    }

    #[test]
    fn each_slot_has_a_tag_that_lies_in_it() {
        for slot in 0..SLOTS {
            assert_eq!(slot_of(tag_in(slot).to_string().as_bytes()), slot);
        }
        assert_eq!(tag_in(slot_of(b"0")), 0);
    }
}
