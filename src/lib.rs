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
//! | how Envoy's bytes are decoded, and how errors become gRPC statuses | [`protocol`]: [`protocol::rls`], [`protocol::authz`] |
//! | how a request becomes descriptors | [`tollgate_core::actions`], chosen by [`tollgate_core::authz`] |
//! | one request end to end, without the wire | [`limiter`] |
//! | what decides: limits, rules, matching, takes, verdicts | the crate [`tollgate_core`], which is pure |
//! | how an algorithm works | [`tollgate_core::decision`], and its twin in `lua/` |
//! | where a new algorithm goes | see below |
//! | where buckets are kept | [`store`]: [`store::memory`], [`store::redis`], and a Redis Cluster in [`store::redis::cluster`] |
//! | which master of a Redis Cluster is asked | `store/redis/slots.rs`, then `store/redis/cluster/rounds.rs` |
//! | what is denied without asking Redis | [`store::redis::denial_cache`] |
//! | what is admitted without asking Redis | [`store::redis::leases`], `src/store/redis/leasing.rs`, and [`mod@tollgate_core::decision::lease`]; when it leaves: `src/store/redis/riders.rs` |
//! | what happens when Redis is silent | see below |
//! | requests over several slots of a Redis Cluster | [`store::redis::legs`] |
//! | whether the store can be used, and what would help if not | [`store::health`], [`store::refusal`] |
//! | the 429: statuses, headers, body | [`response`] |
//! | what is counted, and what operators can ask | [`metrics`], [`admin`], [`logging`] |
//! | the line of one decision, and who writes it | [`decision_log`] |
//! | what the live page shows, and which keys are denied | [`live`], sent by `src/admin/live.rs`; replicas share it by [`store::redis::board`] |
//! | the live page, and the same in a terminal | `src/admin/page/`, [`cli::top`] |
//! | what is recorded of a request, and how it reaches a collector | `src/protocol/traced.rs`, `src/store/redis/traced.rs`, then [`traces`] |
//! | how files become rules, and rules come into force | [`config`], then [`reload`], then [`mod@rules`] |
//! | how rules come from an xDS server | [`xds`] |
//! | why a request meets a limit, or none | [`cli::explain`] |
//! | an operator's peek, reset and grant | [`tollgate_core::act`], [`hands`] |
//! | what limits would have done with an access log | [`cli::simulate`] |
//! | flags and variables | [`cli`] |
//! | what becomes of envoyproxy/ratelimit's environment | `src/cli/ratelimit/table.rs`, then the files beside it |
//! | how a request as JSON comes to a runtime | [`admin`], then `src/server/aside.rs` and `src/protocol/rls/json.rs` |
//! | how certificates and keys are read | [`certificates`] |
//! | the only clock | [`clock`] |
//! | tasks that must not end | [`tasks`] |
//!
//! `tollgate prove` is the crate `tollgate-prove`, and judges any limiter from outside. `tests/simulation` drives the
//! dispatchers, denial caches and leases of several replicas in virtual time.
//!
//! Arrows point to the core, and no two modules depend on each other. The core depends on no runtime, wire format,
//! Redis, metrics or clock: `now` is a parameter. `tests/layering.rs` holds both.
//!
//! # One request, top to bottom
//!
//! A request that matches one limit, with the buckets in Redis and debug logs off. Each number is a call into another
//! file, in order; a file is named where it is entered. Left out are only constructors and readings of plain values,
//! such as clocks.
//!
//! | | file | does |
//! |---|---|---|
//! | 1 | `src/protocol/rls/codec.rs` | decodes the message, within its bounds |
//! | 2 | `src/protocol/rls.rs` | answers it |
//! | 3 | `src/rules.rs` | gives the rules in force; then the message is parsed into a [`Request`](tollgate_core::descriptor::Request) |
//! | 4 | `src/limiter.rs` | decides the request |
//! | 5 | `core/src/matcher.rs` | finds the rules of its domain |
//! | 6 | `core/src/applied.rs` | collects the limits that apply |
//! | 7 | `core/src/matcher.rs` | finds the rule of each descriptor |
//! | 8 | `core/src/matcher/rule.rs` | names the limits of the rule for these values |
//! | 9 | `core/src/matcher.rs` | knows whether other limits replace them |
//! | 10 | `core/src/matcher/rule.rs` | names the entries that the bucket is for |
//! | 11 | `core/src/descriptor.rs` | makes the key of the bucket |
//! | 12 | `core/src/applied/overdraft.rs` | knows what happens to hits that do not fit |
//! | 13 | `core/src/decision/demand.rs` | makes the demand on it |
//! | 14 | `core/src/applied/overdraft.rs` | remembers how the rule was asked |
//! | 15 | `src/store.rs` | takes: memory or Redis |
//! | 16 | `src/store/redis.rs` | this runtime's Redis |
//! | 17 | `src/store/redis/leasing.rs` | decides it from leases, as far as they go |
//! | 18 | `src/store/redis/line.rs` | knows whether there is a connection |
//! | 19 | `src/store/redis/queues.rs` | refuses it at once if there is none |
//! | 20 | `src/store/redis/dispatch.rs` | denies, queues or refuses the request |
//! | 21 | `src/store/redis/denial_cache.rs` | knows whether Redis would deny it |
//! | 22 | `src/store/redis/denial_cache/shared.rs` | hands over what other runtimes gave back, and have learnt |
//! | 23 | `src/store/redis/dispatch/queue.rs` | holds the request |
//! | | `src/store/asking.rs` | is awaited until the answer is there |
//! | | `src/store/redis/batches.rs` | sends batches, in tasks of its own |
//! | 24 | `src/store/redis/queues.rs` | has the next batch |
//! | 25 | `src/store/redis/leasing.rs` | adds calls about leases to the next batch |
//! | 26 | `src/store/redis/dispatch.rs` | is asked for the next batch |
//! | 27 | `src/store/redis/dispatch/queue.rs` | forms it |
//! | 28 | `src/store/redis/denial_cache.rs` | is asked again, since it may have learnt more |
//! | 29 | `src/store/redis/script.rs` | packs the requests of the batch |
//! | 30 | `src/store/redis/line/calls.rs` | sends the call, and waits for the reply |
//! | 31 | `src/store/redis/script.rs` | makes the command |
//! | | `src/store/redis/keys.rs` | names the buckets |
//! | | `lua/batch.lua` | decides, in Redis |
//! | 32 | `src/store/redis/script.rs` | reads the reply |
//! | 33 | `core/src/decision/demand.rs` | gives the verdict |
//! | 34 | `src/store/redis/queues.rs` | the batch has landed, with the calls about leases |
//! | 35 | `src/store/redis/dispatch.rs` | hands out its answers |
//! | 36 | `src/store/redis/dispatch/queue.rs` | frees its slot |
//! | 37 | `src/store/redis/denial_cache.rs` | learns from the answers; then the requests get them |
//! | 38 | `src/store/redis/denial_cache/room.rs` | knows whether an answer shows room |
//! | 39 | `core/src/applied/figures.rs` | turns the answer into what clients are told |
//! | 40 | `src/protocol.rs` | observes the outcome |
//! | 41 | `src/metrics/requests.rs` | counts it |
//! | 42 | `src/metrics/decisions.rs` | counts each decision |
//! | 43 | `src/live/recorder.rs` | notes the key of each decision |
//! | 44 | `src/response/rls.rs` | makes the statuses |
//! | 45 | `src/response.rs` | makes headers and body |
//! | 46 | `src/response/writer.rs` | writes them as bytes |
//! | 47 | `src/protocol/reply.rs` | puts the bytes into the answer |
//!
//! A check of ext_authz differs before row 4 and after row 43:
//!
//! | file | does |
//! |---|---|
//! | `src/protocol/authz/codec.rs` | hands over the message, undecoded |
//! | `src/protocol/authz.rs` | answers it; by HTTP, `src/protocol/authz/http.rs` does |
//! | `src/protocol/authz/attributes.rs` | reads what the message says about the request |
//! | `src/protocol/authz/settings.rs` | finds the client's address |
//! | `core/src/authz.rs` | finds the entry for the request |
//! | `core/src/actions.rs` | makes descriptors of it; then as above from row 4 |
//! | `src/response/check.rs` | makes the answer, with the headers and body of row 45 |
//!
//! # When Redis is silent
//!
//! | step | where |
//! |---|---|
//! | a call ends at the store deadline, and is never sent again | `store/redis/line/calls.rs`: `exchange`, `within` |
//! | three batches in a row are lost: the breaker trips, and one batch in 100 ms probes | [`store::redis::dispatch`] |
//! | a request that waits too long is given up | `dispatch/queue.rs`, and `store/redis/batches.rs`: `give_up_overdue` |
//! | pings find out that the connection is dead; it is opened again | `store/redis/connection.rs` |
//! | the limiter asks the fallback: local, allow, deny or error | [`limiter`], [`fallback`] |
//! | no decision becomes UNAVAILABLE; by ext_authz, a 503 or what the entry says | `protocol/status.rs`; `response/check.rs` |
//! | it is counted and logged | [`metrics`], [`store::health`] |
//!
//! # Where a new algorithm goes
//!
//! | what | where |
//! |---|---|
//! | its name and what a limit may say with it | [`tollgate_core::limit`]: `Algorithm`, `LimitSpec::check`, `share` |
//! | its state, and what a demand does to it | [`tollgate_core::decision`]: a module beside `token_bucket`, then `State`, `Seen`, `Measure` |
//! | what clients are told | `core/src/applied/figures.rs`: `left`, `wait_us` |
//! | the same in Lua | `lua/`: a file beside `token_bucket.lua`, then `long_way.lua` |
//! | its file in the script, its arguments and reply | `store/redis/script.rs`: `ALGORITHMS`, `algorithm_bits`, `put`, `found` |
//! | what `tollgate explain` reads | `store/redis/look.rs`: `state` |
//! | what may be denied from memory | `store/redis/denial_cache/room.rs` |
//! | what a 429's body says | `response/problem.rs`: `detail` |
//! | what `tollgate prove` allows, and how it reports | [`tollgate_core::audit`]: `Bound`; `prove/src/`: `phases.rs`, `verdict.rs`, `report/text.rs` |
//! | what is measured | `lab/src/algorithms.rs` |
//! | users | `schema/limits.schema.json`, `docs/limits.md`, `docs/algorithms.md` |
//!
//! `tests/lua_and_rust` and `tests/store_contract.rs` then hold it. The compiler names most places. It does not name
//! `ALGORITHMS`, nor the arms for all other algorithms in `figures.rs`, `room.rs` and `prove/src/`.
//!
//! # Words
//!
//! One word for each thing, in code, YAML, metrics, logs and docs.
//!
//! | word | means |
//! |---|---|
//! | domain | Envoy's namespace for descriptors |
//! | door | a protocol by which requests come in: the rate-limit service, ext_authz by gRPC, ext_authz by HTTP |
//! | action | an instruction to make one entry of a descriptor from a request, in Envoy's words |
//! | descriptor, entry | the ordered list that Envoy sends; one key/value pair of it |
//! | rule | a configured pattern of descriptors, and its limits |
//! | limit | burst, and refill per period |
//! | applied limit | a limit that applies to one descriptor of a request, with its bucket and hits |
//! | bucket | the state that is remembered for one key under one limit |
//! | hits | tokens that a request asks for |
//! | take | to ask for hits from buckets, all or none |
//! | post-paid, pre-paid | charged after the response, whether or not it fits; charged before it, if it fits |
//! | demand | what a request asks of one bucket: a take, a peek, a give-back, or to undo a take |
//! | enforcement | what it means for the request if a demand does not fit: enforced, quota or shadow |
//! | verdict, decision | Allow or Deny; the answer for one limit |
//! | outcome | the answer for one request |
//! | `full_at` | when a token bucket would be full again; GCRA's theoretical arrival time, seen from the other end |
//! | runtime | one thread of Tollgate, with its connections, limiter and connection to Redis |
//! | replica, node | a process of Tollgate; an Envoy |
//! | replica count | the number of replicas that share a Redis, as they count themselves |
//! | store | where buckets are kept: memory or Redis |
//! | dispatcher | one runtime's queue and breaker for one Redis, or for one master of a Redis Cluster |
//! | line | one runtime's connection to one Redis, or to one master |
//! | slot | one of the 16,384 parts of a Redis Cluster: each bucket lies in one, and each slot has one master |
//! | leg | the takes of one request in one slot |
//! | batch | one call to Redis that carries many takes |
//! | denial cache | what is known to be denied without asking Redis: each runtime has its own, and a process has one that all share |
//! | lease | hits that a runtime has reserved in Redis, and may spend for a stated time without a call |
//! | fallback answer | an answer in place of the store's: local, allow, deny or error |
//! | xDS server, answer | the control plane that sends rules over a stream; all rules that it has, in one message of it |
//! | to accept, to refuse | to tell the xDS server that an answer is in force (ACK), or what is wrong with it (NACK) |
//! | share | the part of a limit that a local bucket of one replica has |
//! | tier, tier members | named limits, and the keys that they hold for |
//! | current rules, compiled rules, publisher | the rules that a runtime uses, what was made of them in advance, and what replaces them |

pub mod admin;
mod base64;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision_log;
pub mod error;
pub mod fallback;
pub mod file;
#[doc(hidden)]
pub mod fuzz;
pub mod hands;
pub mod lifecycle;
pub mod limiter;
pub mod live;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod reload;
pub mod replica;
pub mod response;
pub mod rules;
pub mod server;
pub mod store;
pub mod tasks;
pub mod traces;
pub mod xds;

/// The protocol, generated from `proto/` at build time.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod pb {
    /// Descriptors of what clients can call, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rls_descriptor.bin"));

    include!(concat!(env!("OUT_DIR"), "/protocol.rs"));
    include!(concat!(env!("OUT_DIR"), "/envoy.service.ratelimit.v3.RateLimitService.rs"));
    include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.Authorization.rs"));
    pub use envoy::{
        config::core::v3 as core,
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor},
        service::auth::v3 as auth,
        service::discovery::v3 as discovery,
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse, rate_limit_response, rate_limit_service_client,
        },
    };
    pub use opentelemetry::proto as otlp;
    pub use ratelimit::config::ratelimit::v3 as rules;
}
