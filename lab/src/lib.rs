//! Starts real Redis, Envoy and Tollgate processes, for tests, the demo and benchmarks; never ships.
//!
//! What is started here ends when its owner is dropped, and also when this process ends in any other way, a
//! panic, Ctrl-C and SIGKILL included. Nothing listens but on 127.0.0.1, on ports that were free; logs stay
//! under `target/lab/`.
//!
//! [`topology`] is the whole picture: upstream ← three nodes ← load balancer; [`redis`], [`envoy`] and
//! [`tollgate`] are its parts, each a [`process`]. Tests begin with [`real::available`]. [`demo`] shows that the
//! limit holds, [`bench`] what that costs, [`algorithms`] what other ways to count cost and admit, and [`faults`] what
//! becomes of it when things break.

pub mod algorithms;
pub mod bench;
pub mod binaries;
pub mod demo;
pub mod envoy;
pub mod faults;
pub mod http;
pub mod midnight;
mod ports;
pub mod process;
pub mod real;
pub mod redis;
mod report;
pub mod tollgate;
pub mod topology;
mod watchdog;
