//! A request's descriptors as bytes, for the time that it waits to be sorted.

use smallvec::SmallVec;

use tollgate_core::descriptor::{Descriptor, Entry, Hits, Request};

/// Writes descriptors.
#[derive(Debug)]
pub(super) struct Packer<'b> {
    to: &'b mut Vec<u8>,
    /// Where the number of descriptors is.
    count_at: usize,
}

/// Reads what a [`Packer`] wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacker<'b>(&'b [u8]);

/// A request, and which of its entries are the same in all requests.
#[derive(Debug)]
pub(super) struct Unpacked<'b> {
    pub(super) request: Request<'b>,
    /// For each descriptor, for each entry.
    pub(super) constant: SmallVec<[SmallVec<[bool; 4]>; 2]>,
}

/// One entry of a descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedEntry<'e> {
    pub(super) entry: Entry<'e>,
    /// Its value is the same in all requests.
    pub(super) is_constant: bool,
}

// === impl Packer ===

impl<'b> Packer<'b> {
    /// Begins a request.
    pub(super) fn new(to: &'b mut Vec<u8>, domain: &[u8]) -> Packer<'b> {
        put_bytes(to, domain);
        let count_at = to.len();
        put_number(to, 0);
        Packer { to, count_at }
    }

    /// Adds a descriptor.
    pub(super) fn put<'e>(&mut self, hits: Hits, entries: impl IntoIterator<Item = PackedEntry<'e>>) {
        let (kind, number) = match hits {
            Hits::One => (0, 1),
            Hits::Take(number) => (1, number),
            Hits::Peek => (2, 0),
            Hits::GiveBack(number) => (3, number),
        };
        self.to.push(kind);
        self.to.extend_from_slice(&number.to_le_bytes());
        let entries_at = self.to.len();
        put_number(self.to, 0);
        let mut count = 0;
        for PackedEntry { entry, is_constant } in entries {
            self.to.push(u8::from(is_constant));
            put_bytes(self.to, entry.key);
            put_bytes(self.to, entry.value);
            count += 1;
        }
        write_number(self.to, entries_at, count);
        let descriptors = number_at(self.to, self.count_at) + 1;
        write_number(self.to, self.count_at, descriptors);
    }
}

fn put_number(to: &mut Vec<u8>, number: u32) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, u32::try_from(bytes.len()).expect("a line has at most 1 MiB"));
    to.extend_from_slice(bytes);
}

fn write_number(to: &mut [u8], at: usize, number: u32) {
    to[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a number was written there"))
}

// === impl Unpacker ===

impl<'b> Unpacker<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Unpacker<'b> {
        Unpacker(bytes)
    }

    /// The next request.
    pub(super) fn request(&mut self) -> Unpacked<'b> {
        let domain = self.bytes();
        let count = self.number();
        let mut unpacked =
            Unpacked { request: Request { domain, descriptors: SmallVec::new() }, constant: SmallVec::new() };
        for _ in 0..count {
            let (descriptor, constant) = self.descriptor();
            unpacked.request.descriptors.push(descriptor);
            unpacked.constant.push(constant);
        }
        unpacked
    }

    /// The request after that, if there is one.
    pub(super) fn next_request(&mut self) -> Option<Unpacked<'b>> {
        (!self.0.is_empty()).then(|| self.request())
    }

    fn descriptor(&mut self) -> (Descriptor<'b>, SmallVec<[bool; 4]>) {
        let kind = self.take(1)[0];
        let number = u64::from_le_bytes(*self.take(8).first_chunk().expect("8 bytes"));
        let hits = match kind {
            0 => Hits::One,
            1 => Hits::Take(number),
            2 => Hits::Peek,
            _ => Hits::GiveBack(number),
        };
        let mut descriptor = Descriptor { entries: SmallVec::new(), hits, limit: None };
        let mut constant = SmallVec::new();
        for _ in 0..self.number() {
            constant.push(self.take(1)[0] == 1);
            let (key, value) = (self.bytes(), self.bytes());
            descriptor.entries.push(Entry { key, value });
        }
        (descriptor, constant)
    }

    fn number(&mut self) -> u32 {
        number_at(self.take(4), 0)
    }

    fn bytes(&mut self) -> &'b [u8] {
        let length = self.number();
        self.take(usize::try_from(length).expect("it was a usize"))
    }

    fn take(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_is_unpacked() {
        let entry = |key: &'static str, value: &'static str, is_constant| PackedEntry {
            entry: Entry { key: key.as_bytes(), value: value.as_bytes() },
            is_constant,
        };
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes, b"edge");
        packer.put(Hits::Take(7), [entry("route", "login", true), entry("key", "", false)]);
        packer.put(Hits::GiveBack(2), []);
        Packer::new(&mut bytes, b"");
        let mut unpacker = Unpacker::new(&bytes);
        let Unpacked { request, constant } = unpacker.request();
        assert_eq!((request.domain, request.descriptors.len()), (&b"edge"[..], 2));
        assert_eq!(request.descriptors[0].hits, Hits::Take(7));
        assert_eq!(request.descriptors[0].entries[1], entry("key", "", false).entry);
        assert_eq!(request.descriptors[1].hits, Hits::GiveBack(2));
        assert_eq!((&constant[0][..], constant[1].len()), (&[true, false][..], 0));
        assert_eq!(unpacker.request().request.descriptors.len(), 0);
    }
}
