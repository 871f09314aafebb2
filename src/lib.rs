//! Tollgate: a rate-limit service for Envoy whose limit holds.

pub mod clock;
pub mod config;
pub mod decision;
pub mod descriptor;
pub mod limit;
pub mod limiter;
pub mod matcher;
pub mod resilience;
pub mod response;
pub mod rls;
pub mod store;

/// The protocol, generated from `proto/` at build time.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod pb {
    /// Descriptors of all of `proto/`, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rls_descriptor.bin"));

    include!(concat!(env!("OUT_DIR"), "/protocol.rs"));
    pub use envoy::{
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor},
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse, rate_limit_response, rate_limit_service_client,
            rate_limit_service_server,
        },
    };
}
