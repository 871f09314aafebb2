//! What is asked: entries, hits, and the key of a bucket.

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
/// The same entries under the same algorithm and period name the same bucket in every replica and every version, which
/// golden vectors in the tests hold. No number is part of it: a changed number or burst acts at once on what is there,
/// and starts nothing anew. What counts of the period is its length, so 60 minutes are an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey([u8; 16]);

impl BucketKey {
    /// The bucket of these entries; with a `name`, one of its own beside it.
    ///
    /// Digests an injective encoding: each part goes in behind its length, and an odd one at the end is the name.
    pub fn new<'a>(
        domain: &[u8],
        entries: impl Iterator<Item = Entry<'a>>,
        limit: &Limit,
        name: Option<&str>,
    ) -> BucketKey {
        let mut text = Text::default();
        text.put(limit.algorithm().name().as_bytes());
        text.put(&limit.period().seconds().to_le_bytes());
        text.put(domain);
        for entry in entries {
            text.put(entry.key);
            text.put(entry.value);
        }
        if let Some(name) = name {
            text.put(name.as_bytes());
        }
        BucketKey(text.digest())
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// For tests and tools that name buckets without a descriptor.
    pub const fn from_bytes(bytes: [u8; 16]) -> BucketKey {
        BucketKey(bytes)
    }
}

// === Text ===

/// What is digested: on the stack for all but very long entries, which go to the digest piece by piece.
struct Text {
    bytes: [u8; 256],
    length: usize,
    digested: Option<Box<blake3::Hasher>>,
}

impl Default for Text {
    fn default() -> Text {
        Text { bytes: [0; 256], length: 0, digested: None }
    }
}

impl Text {
    fn put(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.append(&length.to_le_bytes());
        self.append(part);
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
            return;
        }
        let hasher = self.digested.get_or_insert_with(Box::default);
        hasher.update(&self.bytes[..self.length]).update(bytes);
        self.length = 0;
    }

    fn digest(self) -> [u8; 16] {
        let rest = &self.bytes[..self.length];
        let digest = match self.digested {
            None => blake3::hash(rest),
            Some(mut hasher) => hasher.update(rest).finalize(),
        };
        *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
    }
}

#[cfg(test)]
mod tests;
