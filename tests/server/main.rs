//! The server over real sockets: what it answers, how it ends, and the binary around it.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also what stands outside a #[test]")]

mod age;
mod binary;
mod bytes;
mod drain;
mod harness;
mod hostile;
mod http2;
mod limits;
mod not_http2;
mod ports;
mod process;
mod stop;
mod unknown_methods;
