//! A request as every protocol hands it over: descriptors, their entries and hits; and the key of a bucket.

use std::hash::{Hash, Hasher};

use smallvec::SmallVec;
use thiserror::Error;

use crate::limit::{Limit, LimitError, Windows};

/// One request, parsed once; its bytes are borrowed from the message.
///
/// Requests of up to two descriptors with up to three entries each need no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Envoy's namespace for the descriptors.
    pub domain: &'a [u8],
    /// In the order of the message. A request without any is a [`BadRequest`].
    pub descriptors: SmallVec<[Descriptor<'a>; 2]>,
}

/// One descriptor of a request: an ordered list of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// From the first, which is matched at the top level of the rules.
    pub entries: SmallVec<[Entry<'a>; 3]>,
    /// What the descriptor asks of each of its buckets.
    pub hits: Hits,
    /// A limit that the request brings along. It takes the place of the limits of whatever rule matches.
    pub limit: Option<Limit>,
}

/// A request that has no meaning, which is the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// The domain must have at least one byte.
    #[error("the domain is empty")]
    EmptyDomain,
    /// There must be at least one descriptor.
    #[error("the request has no descriptors")]
    NoDescriptors,
    /// The number that the protocol sent stands for no unit.
    #[error("unknown unit {0} in a descriptor's limit")]
    UnknownUnit(i32),
    /// A limit that the request brings along is unsound.
    #[error("a descriptor's limit")]
    Limit(#[source] LimitError),
    /// More than [`MAX_BUCKETS`](crate::applied::MAX_BUCKETS) limits apply.
    #[error("the request matches more than {} limits", crate::applied::MAX_BUCKETS)]
    TooManyBuckets,
}

/// One key/value pair of a descriptor, as bytes, since Envoy passes on header values that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// One with an empty key matches no rule.
    pub key: &'a [u8],
    /// May be empty: then it matches a rule for any value only.
    pub value: &'a [u8],
}

impl<'a> From<(&'a [u8], &'a [u8])> for Entry<'a> {
    fn from((key, value): (&'a [u8], &'a [u8])) -> Entry<'a> {
        Entry { key, value }
    }
}

// === impl Descriptor ===

impl<'a> Descriptor<'a> {
    /// A descriptor that brings no limit along.
    pub fn new(entries: impl IntoIterator<Item: Into<Entry<'a>>>, hits: Hits) -> Descriptor<'a> {
        Descriptor { entries: entries.into_iter().map(Into::into).collect(), hits, limit: None }
    }

    /// The entries, from the first.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + Clone {
        self.entries.iter().copied()
    }
}

// === Hits ===

/// What a descriptor asks of each of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    /// Take one: the request states no number.
    One,
    /// Take this many, at least 1, as the request states.
    Take(u64),
    /// Fits if one whole token is there, and charges nothing.
    Peek,
    /// Put this many back, up to full. Always fits.
    GiveBack(u64),
}

impl Hits {
    /// The hits that the protocol's fields mean: those of the descriptor, if it has any (0 is a peek), or else those of
    /// the request, where 0 means that none are stated. If they are `negative`, they are given back.
    pub fn new(descriptors_own: Option<u64>, requests: u32, negative: bool) -> Hits {
        let stated = descriptors_own.or_else(|| (requests > 0).then_some(u64::from(requests)));
        match (stated, negative) {
            (hits, true) => Hits::GiveBack(hits.unwrap_or(1)),
            (None, false) => Hits::One,
            (Some(0), false) => Hits::Peek,
            (Some(hits), false) => Hits::Take(hits),
        }
    }
}

// === BucketKey ===

/// The name of a bucket: a digest. It has a fixed length and shows none of a client's bytes.
///
/// The same entries under the same algorithm and period name the same bucket in every replica and every version; golden
/// vectors in the tests hold this. The numbers of a limit are not part of the key, so a changed number or burst acts at
/// once on the bucket that is there, and no bucket starts anew. Only the length of the period counts, so 60 minutes are
/// an hour; calendar months are a period of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketKey {
    digest: [u8; 16],
    /// 0 in a [whole](KeyForm::Whole) key, and never in a tagged one.
    limit: u32,
}

/// What a key digests together. The store decides it, once, at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyForm {
    /// Everything, in 128 bits.
    #[default]
    Whole,
    /// The domain and the entries in 128 bits, and the rest in 32 bits beside them: a store of several shards keeps all
    /// buckets of a descriptor in one shard by the former.
    Tagged,
}

impl KeyForm {
    /// The key of the bucket for these entries, or of a second one beside it that has a `name`.
    ///
    /// Each digest is that of an injective encoding: each part follows its length, and an odd part at the end is the
    /// name.
    pub fn key<'a>(
        self,
        domain: &[u8],
        entries: impl Iterator<Item = Entry<'a>>,
        limit: &Limit,
        name: Option<&str>,
    ) -> BucketKey {
        let mut text = Text::default();
        if self == KeyForm::Whole {
            text.put_limit(limit);
        }
        text.put(domain);
        for entry in entries {
            text.put(entry.key);
            text.put(entry.value);
        }
        match self {
            KeyForm::Whole => {
                text.put_name(name);
                BucketKey { digest: text.digest(), limit: 0 }
            }
            KeyForm::Tagged => {
                let mut beside = Text::default();
                beside.put_limit(limit);
                beside.put_name(name);
                let bits = beside.digest().first_chunk().map_or(0, |bits| u32::from_be_bytes(*bits));
                BucketKey { digest: text.digest(), limit: bits.max(1) }
            }
        }
    }
}

impl BucketKey {
    /// The [whole](KeyForm::Whole) key of the bucket for these entries.
    pub fn new<'a>(
        domain: &[u8],
        entries: impl Iterator<Item = Entry<'a>>,
        limit: &Limit,
        name: Option<&str>,
    ) -> BucketKey {
        KeyForm::Whole.key(domain, entries, limit, name)
    }

    /// The 128 bits of the digest.
    pub fn digest(&self) -> &[u8; 16] {
        &self.digest
    }

    /// What stands beside the digest in a [tagged](KeyForm::Tagged) key, and distinguishes the limits of a descriptor.
    pub fn tagged_limit(&self) -> Option<u32> {
        (self.limit != 0).then_some(self.limit)
    }

    /// A key for tests and tools, which name buckets without a descriptor.
    pub const fn from_bytes(bytes: [u8; 16]) -> BucketKey {
        BucketKey { digest: bytes, limit: 0 }
    }

    /// The tagged key of this digest, for tests and tools. `limit` must not be 0.
    pub const fn tagged(digest: [u8; 16], limit: u32) -> BucketKey {
        BucketKey { digest, limit }
    }
}

impl Hash for BucketKey {
    /// As numbers: bytes would be hashed with their length, piece by piece, several times in each decision.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_le_bytes(self.digest));
        state.write_u32(self.limit);
    }
}

// === Text ===

/// The text to digest. It stays on the stack, but for very long entries, which go to the digest piece by piece.
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
    /// The algorithm, and the period's length.
    fn put_limit(&mut self, limit: &Limit) {
        self.put(limit.algorithm().name().as_bytes());
        match limit.windows() {
            Windows::Aligned => self.put(&limit.period().seconds().to_le_bytes()),
            // It is longer than a number, so it is no length.
            Windows::CalendarMonth => self.put(b"calendar month"),
        }
    }

    fn put_name(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.put(name.as_bytes());
        }
    }

    fn put(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes();
        let room = self.bytes.get_mut(self.length..self.length + length.len() + part.len());
        // Eight bytes are copied without a call if the compiler knows that they are eight.
        if let Some((head, room)) = room.and_then(|room| room.split_first_chunk_mut()) {
            *head = length;
            room.copy_from_slice(part);
            self.length += length.len() + part.len();
        } else {
            self.append(&length);
            self.append(part);
        }
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

    fn digest(&self) -> [u8; 16] {
        let rest = &self.bytes[..self.length];
        let digest = match &self.digested {
            None => blake3::hash(rest),
            Some(hasher) => hasher.clone().update(rest).finalize(),
        };
        *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
    }
}

#[cfg(test)]
mod tests;
