//! The fields of a line, by name, and what each says about its request.
//!
//! A log names its fields as it likes. The usual names are known, `--field` names others, and every other field counts
//! as a header, since that is what people add to a log in order to limit by it.

use std::{borrow::Cow, collections::HashMap, net::IpAddr, ops::Range};

use foldhash::fast::RandomState;

use tollgate_core::actions::{Header, HttpRequest};

/// The most names that are kept. What has more is no access log.
const MOST_NAMES: usize = 512;
/// A longer name is dropped too.
const LONGEST_NAME: usize = 256;

/// What a field says about its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::simulate) enum Role {
    /// When it began. Of several the first in this order counts.
    Time(u8),
    Method,
    /// The original path comes before the one that was rewritten.
    Path(u8),
    Host,
    Scheme,
    Protocol,
    Address,
    Principal,
    /// A header of this name, in lower case.
    Header(Box<[u8]>),
    /// Something that a request does not say.
    Other,
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    role: Role,
    /// A line had it. The names of a pattern are known before.
    is_seen: bool,
}

/// All names that were seen, in the order in which they first came.
#[derive(Debug, Default)]
pub(in crate::cli::simulate) struct Names {
    names: Vec<Name>,
    by_name: HashMap<Box<str>, usize, RandomState>,
    /// What flags said about names.
    told: HashMap<Box<str>, Role, RandomState>,
    /// Names beyond the bound are dropped.
    last: usize,
}

/// The fields of one line. It is used again for the next line.
#[derive(Debug, Default)]
pub(in crate::cli::simulate) struct Fields {
    bytes: Vec<u8>,
    fields: Vec<(usize, Range<usize>)>,
}

// === impl Role ===

impl Role {
    /// The time that counts before all others.
    pub(in crate::cli::simulate) const FIRST_TIME: Role = Role::Time(0);

    /// The role of a field that a log calls so, in any case, with `_` or `-`.
    fn of_name(name: &str) -> Role {
        let name = name.to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "start-time" => Role::Time(1),
            "timestamp" => Role::Time(2),
            "@timestamp" => Role::Time(3),
            "time" => Role::Time(4),
            "ts" => Role::Time(5),
            "method" | ":method" | "request-method" => Role::Method,
            "x-envoy-original-path" | "x-envoy-origin-path" => Role::Path(0),
            "path" | ":path" | "request-path" => Role::Path(1),
            "authority" | ":authority" | "host" => Role::Host,
            "scheme" | ":scheme" | "x-forwarded-proto" => Role::Scheme,
            "protocol" => Role::Protocol,
            "downstream-remote-address" | "downstream-remote-address-without-port" => Role::Address,
            "remote-address" | "remote-addr" | "client-ip" => Role::Address,
            "downstream-peer-uri-san" => Role::Principal,
            _ => Role::Header(name.into_bytes().into()),
        }
    }
}

// === impl Names ===

impl Names {
    /// Says what a field of this name is, whatever is usual.
    pub(in crate::cli::simulate) fn tell(&mut self, name: &str, role: Role) {
        self.told.insert(name.into(), role);
    }

    pub(super) fn is_told_time(&self, name: &str) -> bool {
        matches!(self.told.get(name), Some(Role::Time(_)))
    }

    /// The index of a name, whose role is this unless a flag said otherwise.
    pub(super) fn add_or_known(&mut self, name: &str, role: Role) -> usize {
        let role = self.told.get(name).cloned().unwrap_or(role);
        self.by_name.get(name).copied().unwrap_or_else(|| self.add(name, role))
    }

    fn add(&mut self, name: &str, role: Role) -> usize {
        let index = self.names.len();
        self.names.push(Name { text: name.into(), role, is_seen: false });
        self.by_name.insert(name.into(), index);
        index
    }

    /// The index of a name; none if there are too many.
    pub(super) fn index(&mut self, name: &str) -> Option<usize> {
        // Lines have their fields in one order, which was that of the first line.
        let next = self.last + 1;
        if self.names.get(next).is_some_and(|known| &*known.text == name) {
            self.last = next;
            self.names[next].is_seen = true;
            return Some(next);
        }
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if self.names.len() >= MOST_NAMES || name.len() > LONGEST_NAME => return None,
            None => {
                let role = self.told.get(name).cloned().unwrap_or_else(|| Role::of_name(name));
                self.add(name, role)
            }
        };
        self.last = index;
        self.names[index].is_seen = true;
        Some(index)
    }

    pub(super) fn see(&mut self, index: usize) {
        self.names[index].is_seen = true;
    }

    /// The index of a name that some line had.
    pub(in crate::cli::simulate) fn known(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().filter(|index| self.names[*index].is_seen)
    }

    /// The names in the order in which they came, as far as they fit into a message.
    pub(in crate::cli::simulate) fn list(&self) -> String {
        const MOST: usize = 40;
        let seen: Vec<&Name> = self.names.iter().filter(|name| name.is_seen).collect();
        let shown: Vec<String> =
            seen.iter().take(MOST).map(|name| super::shown(name.text.as_bytes())).collect();
        match seen.len().saturating_sub(MOST) {
            0 if shown.is_empty() => "none".to_owned(),
            0 => shown.join(", "),
            more => format!("{}, and {more} more", shown.join(", ")),
        }
    }

    pub(super) fn text(&self, index: usize) -> &str {
        &self.names[index].text
    }

    fn role(&self, index: usize) -> &Role {
        &self.names[index].role
    }
}

// === impl Fields ===

impl Fields {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Adds a field. `-` and nothing are how Envoy writes what is absent.
    pub(super) fn put(&mut self, name: usize, value: &[u8]) {
        if value.is_empty() || value == b"-" {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.fields.push((name, start..self.bytes.len()));
    }

    fn value(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The value of that field.
    pub(in crate::cli::simulate) fn get(&self, name: usize) -> Option<&[u8]> {
        self.fields.iter().find(|(index, _)| *index == name).map(|(_, range)| self.value(range))
    }

    /// The value of that field as an entry has it: of an address without its port, of a path without its query.
    pub(in crate::cli::simulate) fn subject(&self, names: &Names, name: usize) -> Option<Cow<'_, [u8]>> {
        let value = self.get(name)?;
        Some(match names.role(name) {
            Role::Address => address(value)?.to_string().into_bytes().into(),
            Role::Path(_) => value.split(|byte| *byte == b'?').next()?.into(),
            _ => value.into(),
        })
    }

    /// The text that says when the request began.
    pub(super) fn time(&self, names: &Names) -> Option<&[u8]> {
        let times = self.fields.iter().filter_map(|(index, range)| match names.role(*index) {
            Role::Time(rank) => Some((rank, range)),
            _ => None,
        });
        times.min_by_key(|(rank, _)| **rank).map(|(_, range)| self.value(range))
    }

    /// Calls `with` with the request that the fields tell of. Without a field for the client's address it is the last one
    /// of `x-forwarded-for`, which Envoy added itself.
    pub(in crate::cli::simulate) fn request<T>(
        &self,
        names: &Names,
        with: impl FnOnce(&HttpRequest<'_>) -> T,
    ) -> T {
        let mut headers: Vec<Header<'_>> = Vec::with_capacity(self.fields.len());
        let mut request = HttpRequest::default();
        let (mut path_rank, mut forwarded) = (u8::MAX, None);
        for (index, range) in &self.fields {
            let value = self.value(range);
            match names.role(*index) {
                Role::Method => request.method = value,
                Role::Path(rank) if *rank < path_rank => (request.path, path_rank) = (value, *rank),
                Role::Host => request.host = value,
                Role::Scheme => request.scheme = value,
                Role::Protocol => request.protocol = value,
                Role::Address => request.remote_address = address(value).or(request.remote_address),
                Role::Principal => request.principal = value,
                Role::Header(name) => {
                    if &**name == b"x-forwarded-for" {
                        forwarded = value.rsplit(|byte| *byte == b',').next();
                    }
                    headers.push(Header { name, value });
                }
                Role::Time(_) | Role::Path(_) | Role::Other => {}
            }
        }
        request.remote_address = request.remote_address.or_else(|| forwarded.and_then(address));
        request.headers = &headers;
        with(&request)
    }
}

/// An address with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let ip = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    ip(text).or_else(|| ip(text.rsplit_once(':')?.0))
}

#[cfg(test)]
mod tests;
