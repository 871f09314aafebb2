//! Tollgate: a rate-limit service for Envoy whose limit holds.
//!
//! Many Envoy nodes ask one service, which decides on rates and quotas. If the buckets are in Redis, one atomic call
//! decides a request, so any number of nodes and replicas share one limit.
//!
//! # The house
//!
//! | to find | look in |
//! |---|---|
//! | how connections come in, are bounded, and end | [`server`], [`lifecycle`] |
//! | how Envoy's bytes are decoded, and how errors become gRPC statuses | [`protocol`] |
//! | one request end to end, without the wire | [`limiter`] |
//! | what decides: limits, rules, matching, takes, verdicts | the crate [`tollgate_core`], which is pure |
//! | how an algorithm works, and where a new one goes | [`tollgate_core::decision`], and its twin in `lua/` |
//! | where buckets are kept | [`store`]: [`store::memory`], [`store::redis`] |
//! | what is denied without asking Redis | [`store::redis::denial_cache`] |
//! | what happens when Redis is silent | [`store::redis::dispatch`] stops asking; [`fallback`] answers |
//! | whether the store can be used, and what would help if not | [`store::health`], [`store::refusal`] |
//! | the 429: statuses, headers, body | [`response`] |
//! | what is counted, and what operators can ask | [`metrics`], [`admin`], [`logging`] |
//! | how files become rules, and rules come into force | [`config`], then [`reload`], then [`mod@rules`] |
//! | flags and variables | [`cli`] |
//! | the only clock | [`clock`] |
//! | tasks that must not end | [`tasks`] |
//!
//! `tollgate prove` is the crate `tollgate-prove`, and judges any limiter from outside. `tests/simulation` drives the
//! dispatchers and denial caches of several replicas in virtual time.
//!
//! Arrows point to the core, and no two modules depend on each other. The core depends on no runtime, wire format,
//! Redis, metrics or clock: `now` is a parameter. `tests/layering.rs` holds both.
//!
//! # One request, top to bottom
//!
//! A request that matches one limit, with the buckets in Redis and debug logs off. Each line is a call into another
//! file; calls to types that only hold a value are left out.
//!
//! | | file | does |
//! |---|---|---|
//! | 1 | `protocol/rls/codec.rs` | decodes the message, within its bounds |
//! | 2 | `protocol/rls.rs` | parses it into a [`Request`](tollgate_core::descriptor::Request) |
//! | 3 | `rules.rs` | gives the rules in force |
//! | 4 | `limiter.rs` | decides the request |
//! | 5 | `core/matcher.rs` | finds the rules of its domain |
//! | 6 | `core/applied.rs` | collects the limits that apply |
//! | 7 | `core/matcher.rs` | finds the rule of each descriptor |
//! | 8 | `core/matcher/rule.rs` | names the limits of the rule for these values |
//! | 9 | `core/descriptor.rs` | makes the key of a bucket |
//! | 10 | `core/decision/demand.rs` | makes the demand on it |
//! | 11 | `store.rs` | takes: memory or Redis |
//! | 12 | `store/redis.rs` | this runtime's Redis |
//! | 13 | `store/redis/dispatch.rs` | denies, queues or refuses the request |
//! | 14 | `store/redis/denial_cache.rs` | knows whether Redis would deny |
//! | 15 | `store/redis/dispatch/queue.rs` | holds the request |
//! | 16 | `store/redis/dispatch.rs` | is asked for the next batch |
//! | 17 | `store/redis/dispatch/queue.rs` | forms it |
//! | 18 | `store/redis/script.rs` | packs its arguments |
//! | 19 | `store/redis/line.rs` | sends the call, and waits for the reply |
//! | | `lua/batch.lua` | decides, in Redis |
//! | 20 | `store/redis/script.rs` | reads the reply |
//! | 21 | `core/decision/demand.rs` | gives the verdict |
//! | 22 | `store/redis/dispatch.rs` | frees the slot, and answers the requests of the batch |
//! | 23 | `store/redis/denial_cache.rs` | learns from the answers |
//! | 24 | `core/applied/figures.rs` | turns the answer into what clients are told |
//! | 25 | `protocol.rs` | observes the outcome |
//! | 26 | `metrics.rs` | counts the request |
//! | 27 | `metrics/decisions.rs` | counts each decision |
//! | 28 | `response.rs` | makes statuses, headers and body |
//! | 29 | `response/writer.rs` | writes them as bytes |
//! | 30 | `protocol/rls/codec.rs` | puts the bytes into the answer |
//!
//! # Words
//!
//! One word for each thing, in code, YAML, metrics, logs and docs.
//!
//! | word | means |
//! |---|---|
//! | domain | Envoy's namespace for descriptors |
//! | descriptor, entry | the ordered list that Envoy sends; one key/value pair of it |
//! | rule | a configured pattern of descriptors, and its limits |
//! | limit | burst, and refill per period |
//! | applied limit | a limit that applies to one descriptor of a request, with its bucket and hits |
//! | bucket | the state that is remembered for one key under one limit |
//! | hits | tokens that a request asks for |
//! | take | to ask for hits from buckets, all or none |
//! | demand | what a request asks of one bucket: a take, a peek or a give-back |
//! | enforcement | what it means for the request if a demand does not fit: enforced, quota or shadow |
//! | verdict, decision | Allow or Deny; the answer for one limit |
//! | outcome | the answer for one request |
//! | `full_at` | when a token bucket would be full again; GCRA's theoretical arrival time, seen from the other end |
//! | runtime | one thread of Tollgate, with its connections, limiter and connection to Redis |
//! | replica, node | a process of Tollgate; an Envoy |
//! | replica count | the number of replicas that share a Redis, as they count themselves |
//! | store | where buckets are kept: memory or Redis |
//! | dispatcher | one runtime's queue and breaker for one Redis |
//! | line | one runtime's connection to one Redis |
//! | batch | one call to Redis that carries many takes |
//! | denial cache | what one runtime knows to be denied without asking Redis |
//! | fallback answer | an answer in place of the store's: local, allow, deny or error |
//! | share | the part of a limit that a local bucket of one replica has |
//! | tier, tier members | named limits, and the keys that they hold for |
//! | current rules, compiled rules, publisher | the rules that a runtime uses, what was made of them in advance, and what replaces them |

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
