//! The program under the name of envoyproxy/ratelimit, and the flags of `tollgate serve` that it needs.

mod pages;
#[path = "../support/mod.rs"]
mod support;
