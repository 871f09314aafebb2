//! Starts real Redis, Envoy and Tollgate processes for tests, the demo and benchmarks. It is never shipped.
//!
//! A process that the lab starts ends when its owner is dropped, and also when the lab ends in any other way, such
//! as a panic, Ctrl-C or SIGKILL. Everything listens on free ports of 127.0.0.1. Logs stay under `target/lab/`.
//!
//! A [`topology`] is upstream ← three nodes ← load balancer. [`redis`], [`envoy`] and [`tollgate`] start its parts,
//! each a [`process`]; [`chromium`] looks at the live page. Tests begin with [`real::available`]. [`demo`] shows that the limit holds, [`bench`] measures
//! its cost, [`algorithms`] compares the algorithms, and [`faults`] measures the promises made for failures.

pub mod algorithms;
pub mod bench;
pub mod binaries;
pub mod chromium;
pub mod demo;
pub mod envoy;
pub mod faults;
pub mod handshakes;
pub mod http;
pub mod midnight;
pub mod ports;
pub mod process;
pub mod real;
pub mod redis;
mod report;
pub mod tollgate;
pub mod topology;
mod watchdog;
