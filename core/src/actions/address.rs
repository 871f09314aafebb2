//! IP addresses and networks as Envoy writes them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Value, value::Writer};

/// The prefix lengths of a masked address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

pub(super) fn text<'a>(address: IpAddr) -> Value<'a> {
    let mut text = Writer::default();
    put(&mut text, address);
    text.finish()
}

// === impl Mask ===

impl Mask {
    pub(super) const V4_MOST: u8 = 32;
    pub(super) const V6_MOST: u8 = 128;

    /// The network that the address belongs to, such as `203.0.113.0/24`.
    pub(super) fn network<'a>(self, address: IpAddr) -> Value<'a> {
        let (network, length) = match address {
            IpAddr::V4(address) => (self.v4_network(address).into(), self.v4),
            IpAddr::V6(address) => (self.v6_network(address).into(), self.v6),
        };
        let mut text = Writer::default();
        put(&mut text, network);
        write!(text, "/{length}").expect("a writer takes everything");
        text.finish()
    }

    fn v4_network(self, address: Ipv4Addr) -> Ipv4Addr {
        let mask = u32::MAX.checked_shl(u32::from(Mask::V4_MOST - self.v4)).unwrap_or(0);
        Ipv4Addr::from_bits(address.to_bits() & mask)
    }

    fn v6_network(self, address: Ipv6Addr) -> Ipv6Addr {
        let mask = u128::MAX.checked_shl(u32::from(Mask::V6_MOST - self.v6)).unwrap_or(0);
        Ipv6Addr::from_bits(address.to_bits() & mask)
    }
}

/// Envoy uses inet_ntop, which writes the last 32 bits of IPv4-compatible addresses as `::1.2.3.4`. Rust does not.
fn put(text: &mut Writer, address: IpAddr) {
    let written = match address {
        IpAddr::V6(v6) if is_v4_compatible(v6) => {
            let [.., a, b, c, d] = v6.octets();
            write!(text, "::{}", Ipv4Addr::new(a, b, c, d))
        }
        other => write!(text, "{other}"),
    };
    written.expect("a writer takes everything");
}

/// inet_ntop takes an address for IPv4-compatible if its first six words are zero and the seventh is not.
fn is_v4_compatible(address: Ipv6Addr) -> bool {
    let [zeros @ .., seventh, _] = address.segments();
    zeros == [0; 6] && seventh != 0
}
