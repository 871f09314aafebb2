//! The program under the name of envoyproxy/ratelimit, and the flags of `tollgate serve` that it needs.

#[path = "../tls/connector.rs"]
mod connector;
mod files;
mod golden;
mod pages;
mod program;
#[path = "../support/mod.rs"]
mod support;
