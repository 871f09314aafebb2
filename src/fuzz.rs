//! The functions that the fuzz targets call, and the tests of their corpus: hostile bytes must cause no panic and
//! break no promise.
//!
//! `make fuzz` runs them. Each function is one target of `fuzz/`.

use std::{sync::Arc, sync::OnceLock, time::Duration};

use crate::{
    config,
    fallback::{Fallback, local::Local},
    limiter::Limiter,
    metrics::Metrics,
    pb::{RateLimitResponse, rate_limit_service_server::RateLimitService as _},
    protocol::{
        Doors, Modes,
        rls::{MAX_DESCRIPTORS, codec},
    },
    response::Contract,
    rules::{CompiledRules, CurrentRules},
    store::{Backend, redis::script},
};
use tollgate_core::{
    decision::{Demand, Enforcement, Take, Takes},
    descriptor::{BucketKey, Entry, Hits},
    limit::{Algorithm, Limit, LimitSpec, Overdraft, Unit},
    matcher::{Applies, Matcher},
    rules::OnStoreFailure,
};

/// Loads a limits file, and looks its rules up with entries made of its own words.
///
/// Panics if a rule that was found has no limit, or if the same file is read in two ways.
pub fn config(bytes: &[u8]) {
    let checked = config::check_bytes(bytes);
    let again = config::check_bytes(bytes);
    let (Ok(domains), Ok(same)) = (checked.domains, again.domains) else { return };
    // The texts are compared, since metadata may hold NaN, which equals nothing.
    assert_eq!(format!("{domains:?}"), format!("{same:?}"), "a file means one thing");
    let words: Vec<&[u8]> = bytes.split(|byte| !byte.is_ascii_alphanumeric()).take(40).collect();
    let names: Vec<String> = domains.iter().map(|domain| domain.name.clone()).collect();
    let matcher = Matcher::new(domains);
    for name in names {
        let rules = matcher.domain(name.as_bytes()).expect("it was loaded");
        for pair in words.windows(2) {
            let entry = Entry { key: pair[0], value: pair[1] };
            let Some(rule) = rules.find([entry]) else { continue };
            if let Applies::All(limits) = rule.applies([entry]) {
                assert!(!limits.is_empty(), "a rule that limits has a limit");
            }
            let _ = rule.metric_path([entry]);
        }
    }
}

/// Decodes a message and has it decided by a service on the memory store.
///
/// Panics if the answer to a request that was decided cannot be decoded, or has not one status for each descriptor.
pub fn request(bytes: &[u8]) {
    static SERVICE: OnceLock<(tokio::runtime::Runtime, Doors)> = OnceLock::new();
    let (runtime, service) = SERVICE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let service = runtime.block_on(async { service() });
        (runtime, service)
    });
    let Ok(request) = codec::request(bytes) else { return };
    let descriptors = request.descriptors.len();
    assert!(descriptors <= MAX_DESCRIPTORS, "{descriptors} descriptors");
    let answer = runtime.block_on(service.should_rate_limit(tonic::Request::new(request)));
    let Ok(answer) = answer else { return };
    let answer: RateLimitResponse = answer.get_ref().decode().expect("an answer can be read");
    assert_eq!(answer.statuses.len(), descriptors, "one status for each descriptor");
    for header in &answer.response_headers_to_add {
        let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
        assert!(header.key.iter().chain(&header.value).all(is_printable), "{header:?}");
    }
}

const LIMITS: &[u8] = b"
domain: edge
descriptors:
- key: user
  rate_limits:
  - { unit: second, requests_per_unit: 10, burst: 3 }
  - { unit: day, requests_per_unit: 50, algorithm: fixed_window, overdraft: charge }
- key: path
  value: '/a*'
  share_threshold: true
  detailed_metric: true
  rate_limit: { unit: minute, requests_per_unit: 5, algorithm: sliding_window_log, name: log }
- { key: path, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 0 } }
- { key: plan, quota_mode: true, rate_limit: { unit: year, requests_per_unit: 1, replaces: [{ name: log }] } }
- { key: staff, rate_limit: { unlimited: true } }
";

fn service() -> Doors {
    let domains = config::check_bytes(LIMITS).domains.expect("the limits are valid");
    let metrics = Arc::new(Metrics::new());
    let rules = CompiledRules::new(Matcher::new(domains), &Contract::default(), &metrics);
    let local = Arc::new(Local::new(1_000, Box::new(|| None)));
    let fallback = Fallback { default: OnStoreFailure::Error, local };
    let limiter = Limiter::new(Backend::memory(10_000).open(Duration::from_secs(1)), fallback);
    let modes = Modes { dynamic_metadata: true, ..Modes::default() };
    Doors::new(limiter, Arc::new(CurrentRules::new(rules)), metrics).modes(modes)
}

/// Reads a reply to the script. The first byte chooses the call; the other bytes are the reply.
///
/// Panics if an answer does not say what each take found.
pub fn reply(bytes: &[u8]) {
    let Some((&shape, reply)) = bytes.split_first() else { return };
    let requests: Vec<Takes> = (0..=shape & 3).map(|number| takes(shape >> 2, number)).collect();
    let Ok(answers) = script::answers(reply, requests.iter().map(|takes| &takes[..])) else { return };
    assert_eq!(answers.len(), requests.len());
    for (answer, takes) in answers.iter().zip(&requests) {
        assert_eq!(answer.found.len(), takes.len());
    }
}

fn takes(shape: u8, number: u8) -> Takes {
    let algorithm = Algorithm::ALL[usize::from(shape.wrapping_add(number) % 3)];
    let limit = LimitSpec { algorithm, ..LimitSpec::new(7, Unit::Minute) }.check();
    let charged = LimitSpec { overdraft: Overdraft::Charge, ..LimitSpec::new(7, Unit::Minute) }.check();
    let take = |limit: &Limit, hits, enforcement| Take {
        key: BucketKey::from_bytes([number; 16]),
        demand: Demand::new(hits, limit).enforcement(enforcement),
    };
    let (limit, charged) = (limit.expect("sound"), charged.expect("sound"));
    let all = [
        take(&limit, Hits::Take(1), Enforcement::Enforced),
        take(&charged, Hits::Take(9), Enforcement::Quota),
        take(&limit, Hits::GiveBack(2), Enforcement::Shadow),
    ];
    all.into_iter().take(1 + usize::from(shape % 3)).collect()
}
