//! Ports for programs that cannot be told to pick one themselves (Redis takes 0 for "no TCP").
//!
//! They come from below the range that the kernel gives to outgoing connections, so that a server that is killed and
//! started again finds its port free. Another program may take a free port at any time; then try the next one.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::id,
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of 127.0.0.1 that nobody listens on, another one at every call.
pub fn free() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Programs that run side by side begin far apart.
    let start = id().wrapping_mul(997) % u32::from(COUNT);
    (0..COUNT)
        .map(|_| (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT))
        .filter_map(|step| u16::try_from(step).ok())
        .map(|step| FIRST + step)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}
