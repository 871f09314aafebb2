//! Tollgate: a rate-limit service for Envoy whose limit holds.
//!
//! Many Envoy nodes ask one service, which decides on rates and quotas. Where their buckets live in Redis, each
//! request is decided within one atomic call, so any number of nodes and replicas share one limit.
//!
//! # One request, top to bottom
//!
//! | step | module |
//! |---|---|
//! | a connection is dealt to a runtime, which serves it | [`server`] |
//! | the message is decoded; the answer is counted and encoded | [`protocol::rls`] |
//! | descriptors are matched, buckets taken, figures combined into an outcome | [`limiter`] |
//! | which rule does a descriptor fall under? | [`tollgate_core::matcher`] |
//! | what is asked, and the key of a bucket | [`tollgate_core::descriptor`] |
//! | burst and refill; exact time | [`tollgate_core::limit`] |
//! | one request's takes in, one answer out | [`store`], [`store::memory`], [`store::redis`] |
//! | what need not be asked, and which requests travel together | [`store::redis::denial_cache`], [`store::redis::dispatch::queue`], both driven by [`store::redis::dispatch`] |
//! | what is answered when the store has none | [`fallback`], [`fallback::local`], [`store::redis::dispatch`] |
//! | does a take fit, and what does it leave? | [`tollgate_core::decision`], [`tollgate_core::decision::token_bucket`], [`tollgate_core::decision::sliding_log`], [`tollgate_core::decision::fixed_window`]; in Redis `lua/batch.lua` and its siblings |
//! | verdict, statuses, headers, body | [`response`] |
//!
//! # Around it
//!
//! [`tasks`] keeps running what must not end; [`store::health`] says whether the store can be used, and
//! [`store::refusal`] what would help; [`config`] reads YAML into [`tollgate_core::rules`], [`reload`] follows its
//! files, and [`rules`] puts them in force; [`admin`] answers operators; [`metrics`] counts; [`clock`] is the only place that reads clocks; [`logging`] and
//! [`cli`] turn what was typed into all of this, and [`error`] what went wrong into one line; [`file`] reads what
//! operators name. `tollgate-prove` is a tool of its own: it hammers any limiter from outside and audits what was
//! admitted. `simulation`, in tests only, drives the way to the store in virtual time.
//!
//! # Arrows
//!
//! They point to the core: [`tollgate_core::descriptor`], [`tollgate_core::limit`], [`tollgate_core::rules`], [`tollgate_core::matcher`] and [`tollgate_core::decision`] name no async runtime, no
//! wire, no Redis, no metrics and no clock; `now` is a parameter. `tests/layering.rs` holds this.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod fallback;
pub mod file;
#[doc(hidden)]
pub mod fuzz;
pub mod lifecycle;
pub mod limiter;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod reload;
pub mod response;
pub mod rules;
pub mod server;
pub mod store;
pub mod tasks;

/// The protocol, generated from `proto/` at build time.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod pb {
    /// Descriptors of all of `proto/`, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rls_descriptor.bin"));

    include!(concat!(env!("OUT_DIR"), "/protocol.rs"));
    include!(concat!(env!("OUT_DIR"), "/envoy.service.ratelimit.v3.RateLimitService.rs"));
    pub use envoy::{
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor},
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse, rate_limit_response, rate_limit_service_client,
        },
    };
}
