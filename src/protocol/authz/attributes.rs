//! Reads a `CheckRequest` from its bytes. Everything is borrowed, and what Tollgate does not use is skipped: a body, a
//! certificate, the destination.
//!
//! prost would make two strings and an entry of a hash map of each header, which is most of the cost of a decision.
//! The tests compare this with prost.

use smallvec::SmallVec;

use super::metadata::Contexts;
use crate::protocol::wire::{Malformed, each_content};
use tollgate_core::actions::Header;

// Numbers of fields in `proto/`, by message.
const REQUEST_ATTRIBUTES: u64 = 1;
const ATTRIBUTES_SOURCE: u64 = 1;
const ATTRIBUTES_REQUEST: u64 = 4;
const ATTRIBUTES_CONTEXT_EXTENSIONS: u64 = 10;
const ATTRIBUTES_METADATA: u64 = 11;
const ATTRIBUTES_ROUTE_METADATA: u64 = 13;
const PEER_ADDRESS: u64 = 1;
const PEER_PRINCIPAL: u64 = 4;
const ADDRESS_SOCKET: u64 = 1;
const SOCKET_ADDRESS: u64 = 2;
const REQUEST_HTTP: u64 = 2;
const HTTP_METHOD: u64 = 2;
const HTTP_HEADERS: u64 = 3;
const HTTP_PATH: u64 = 4;
const HTTP_HOST: u64 = 5;
const HTTP_SCHEME: u64 = 6;
const HTTP_PROTOCOL: u64 = 10;
const HTTP_HEADER_MAP: u64 = 13;
const HEADER_MAP_HEADERS: u64 = 1;
const PAIR_KEY: u64 = 1;
const PAIR_VALUE: u64 = 2;
const PAIR_RAW_VALUE: u64 = 3;

/// The most header lines of a request. Envoy takes 100 of a client by default.
pub const MAX_HEADER_LINES: usize = 16_384;

/// What a `CheckRequest` says about a request. What it does not say is empty.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    pub(super) method: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) scheme: &'a [u8],
    pub(super) protocol: &'a [u8],
    /// Those of `headers`, and the lines of `header_map`: Envoy sends only one of them.
    pub(super) headers: SmallVec<[Header<'a>; 16]>,
    /// The TCP peer of Envoy.
    pub(super) source_address: &'a [u8],
    pub(super) principal: &'a [u8],
    pub(super) context_extensions: SmallVec<[Header<'a>; 4]>,
    pub(super) contexts: Contexts<'a>,
    /// There are more than [`MAX_HEADER_LINES`], and reading has stopped.
    pub(super) has_too_many_headers: bool,
}

impl<'a> Attributes<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Attributes<'a>, Malformed> {
        let mut attributes = Attributes::default();
        let read = each_content(message, |number, content| match number {
            REQUEST_ATTRIBUTES => attributes.add(content),
            _ => Ok(()),
        });
        if attributes.has_too_many_headers { Ok(attributes) } else { read.map(|()| attributes) }
    }

    fn add(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        each_content(message, |number, content| {
            match number {
                ATTRIBUTES_SOURCE => return self.add_source(content),
                ATTRIBUTES_REQUEST => {
                    return each_content(content, |number, content| match number {
                        REQUEST_HTTP => self.add_http(content),
                        _ => Ok(()),
                    });
                }
                ATTRIBUTES_CONTEXT_EXTENSIONS => self.context_extensions.push(pair(content)?),
                ATTRIBUTES_METADATA => self.contexts.dynamic = content,
                ATTRIBUTES_ROUTE_METADATA => self.contexts.route = content,
                _ => {}
            }
            Ok(())
        })
    }

    fn add_source(&mut self, peer: &'a [u8]) -> Result<(), Malformed> {
        each_content(peer, |number, content| match number {
            PEER_ADDRESS => each_content(content, |number, content| match number {
                ADDRESS_SOCKET => each_content(content, |number, content| {
                    if number == SOCKET_ADDRESS {
                        self.source_address = content;
                    }
                    Ok(())
                }),
                _ => Ok(()),
            }),
            PEER_PRINCIPAL => {
                self.principal = content;
                Ok(())
            }
            _ => Ok(()),
        })
    }

    fn add_header(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        self.has_too_many_headers = self.headers.len() >= MAX_HEADER_LINES;
        if self.has_too_many_headers {
            return Err(Malformed);
        }
        self.headers.push(pair(message)?);
        Ok(())
    }

    fn add_http(&mut self, http: &'a [u8]) -> Result<(), Malformed> {
        each_content(http, |number, content| {
            match number {
                HTTP_METHOD => self.method = content,
                HTTP_HEADERS => return self.add_header(content),
                HTTP_PATH => self.path = content,
                HTTP_HOST => self.host = content,
                HTTP_SCHEME => self.scheme = content,
                HTTP_PROTOCOL => self.protocol = content,
                HTTP_HEADER_MAP => {
                    return each_content(content, |number, content| {
                        if number == HEADER_MAP_HEADERS {
                            self.add_header(content)?;
                        }
                        Ok(())
                    });
                }
                _ => {}
            }
            Ok(())
        })
    }
}

/// The entry of a map, or a `HeaderValue`, whose `raw_value` takes precedence.
fn pair(message: &[u8]) -> Result<Header<'_>, Malformed> {
    let (mut name, mut value, mut raw) = (&b""[..], &b""[..], &b""[..]);
    each_content(message, |number, content| {
        match number {
            PAIR_KEY => name = content,
            PAIR_VALUE => value = content,
            PAIR_RAW_VALUE => raw = content,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Header { name, value: if raw.is_empty() { value } else { raw } })
}

#[cfg(test)]
mod tests;
