//! What is asked: entries, hits, and the key of a bucket.

use smallvec::SmallVec;

use crate::limit::Limit;

/// One key/value pair of a descriptor, as bytes: Envoy passes on header values that are no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> From<(&'a [u8], &'a [u8])> for Entry<'a> {
    fn from((key, value): (&'a [u8], &'a [u8])) -> Entry<'a> {
        Entry { key, value }
    }
}

// === Hits ===

/// What a descriptor asks of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    /// Take this many, at least 1.
    Take(u64),
    /// Fits if one whole token is there; charges nothing.
    Peek,
    /// Put this many back, up to full; always fits.
    GiveBack(u64),
}

impl Hits {
    /// Reads the protocol's fields: the descriptor's own hits if present (0 is a peek), else the
    /// request's, where 0 means 1.
    pub fn new(of_descriptor: Option<u64>, of_request: u32, negative: bool) -> Hits {
        let hits = of_descriptor.unwrap_or(u64::from(of_request.max(1)));
        match (hits, negative) {
            (hits, true) => Hits::GiveBack(hits),
            (0, false) => Hits::Peek,
            (hits, false) => Hits::Take(hits),
        }
    }
}

// === BucketKey ===

/// The name of a bucket: 128 bits of a digest, so of fixed length and without any client's bytes.
///
/// The same entries under the same rate name the same bucket in every replica and every version, which
/// golden vectors in the tests hold. The burst is not part of it: a changed burst acts on the level that
/// is there, a changed rate or unit starts with a full bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey([u8; 16]);

impl BucketKey {
    /// Digests an injective encoding: each part goes in behind its length.
    pub fn new<'a>(domain: &[u8], entries: impl Iterator<Item = Entry<'a>>, limit: &Limit) -> BucketKey {
        // On the stack for all but very long entries.
        let mut text = SmallVec::<[u8; 256]>::new();
        put(&mut text, limit.algorithm().name().as_bytes());
        let period = limit.period();
        put(&mut text, period.unit.name().as_bytes());
        if period.multiplier > 1 {
            // No number of requests is as long as this, so the encoding stays injective.
            put(&mut text, b"times");
            put(&mut text, &period.multiplier.to_le_bytes());
        }
        put(&mut text, &limit.requests_per_unit().to_le_bytes());
        put(&mut text, domain);
        for entry in entries {
            put(&mut text, entry.key);
            put(&mut text, entry.value);
        }
        let digest = blake3::hash(&text);
        BucketKey(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// For tests and tools that name buckets without a descriptor.
    pub const fn from_bytes(bytes: [u8; 16]) -> BucketKey {
        BucketKey(bytes)
    }
}

fn put(text: &mut SmallVec<[u8; 256]>, part: &[u8]) {
    let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
    text.extend_from_slice(&length.to_le_bytes());
    text.extend_from_slice(part);
}

#[cfg(test)]
mod tests;
