//! The functions that the fuzz targets call, and the tests of their corpus: hostile bytes must cause no panic and
//! break no promise.
//!
//! `make fuzz` runs them. Each function is one target of `fuzz/`.

use std::{
    net::IpAddr,
    str::FromStr as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    config,
    fallback::{Fallback, local::Local},
    limiter::Limiter,
    metrics::Metrics,
    pb::{
        HeaderValue, RateLimitResponse,
        auth::{CheckResponse, check_response::HttpResponse},
        authorization_server::Authorization as _,
        rate_limit_service_server::RateLimitService as _,
    },
    protocol::{
        Doors, Modes,
        authz::codec::CheckMessage,
        rls::{MAX_DESCRIPTORS, codec},
    },
    response::Contract,
    rules::{CompiledRules, CurrentRules},
    store::{Backend, redis::script},
    xds,
};
use tollgate_core::{
    actions::{
        Action, ActionSpec, AmountSpec, Header, HeaderMatchSpec, HeaderTest, HitsAddend, HitsSpec,
        HttpRequest, OwnSpec, RateLimit, TextMatchSpec, descriptors,
    },
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
    for list in domains.iter().flat_map(|domain| &domain.authz).flat_map(|entry| &entry.rate_limits) {
        let _ = (list.descriptor(&HttpRequest::default()), list.contradiction(), list.keys());
    }
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

/// Reads the answer of an xDS server, and compiles its rules.
///
/// Panics if a refusal has no words, or more than a server would take.
pub fn xds(bytes: &[u8]) {
    match xds::meaning(bytes) {
        Some(Ok(domains)) => drop(Matcher::new(domains)),
        Some(Err(words)) => assert!(!words.is_empty() && words.len() < 100 << 10, "{}", words.len()),
        None => {}
    }
}

/// Decodes a message and has it decided by a service on the memory store.
///
/// Panics if the answer to a request that was decided cannot be decoded, or has not one status for each descriptor.
pub fn request(bytes: &[u8]) {
    let Ok(request) = codec::request(bytes) else { return };
    let descriptors = request.descriptors.len();
    assert!(descriptors <= MAX_DESCRIPTORS, "{descriptors} descriptors");
    let answer = decide(async |service| service.should_rate_limit(tonic::Request::new(request)).await);
    let Ok(answer) = answer else { return };
    let answer: RateLimitResponse = answer.get_ref().decode().expect("an answer can be read");
    assert_eq!(answer.statuses.len(), descriptors, "one status for each descriptor");
    assert_printable(&answer.response_headers_to_add);
}

fn assert_printable<'h>(headers: impl IntoIterator<Item = &'h HeaderValue>) {
    for header in headers {
        let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
        assert!(header.key.iter().chain(&header.value).all(is_printable), "{header:?}");
    }
}

/// Has one service decide, which all inputs share.
fn decide<T>(ask: impl AsyncFnOnce(&Doors) -> T) -> T {
    static SERVICE: OnceLock<(tokio::runtime::Runtime, Doors)> = OnceLock::new();
    let (runtime, service) = SERVICE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let service = runtime.block_on(async { service() });
        (runtime, service)
    });
    runtime.block_on(ask(service))
}

/// Has a `CheckRequest` decided by the same service.
///
/// Panics if the answer cannot be decoded, or a header in it is not printable.
pub fn check(bytes: &[u8]) {
    let answer = decide(async |service| {
        let message = CheckMessage(Bytes::copy_from_slice(bytes));
        service.check(tonic::Request::new(message)).await
    });
    let Ok(answer) = answer else { return };
    let answer: CheckResponse = answer.get_ref().decode().expect("an answer can be read");
    let headers = match answer.http_response.expect("it is always set") {
        HttpResponse::OkResponse(ok) => ok.response_headers_to_add,
        HttpResponse::DeniedResponse(denied) | HttpResponse::ErrorResponse(denied) => denied.headers,
    };
    assert_printable(headers.iter().filter_map(|option| option.header.as_ref()));
}

/// Makes descriptors of a request. The input is texts that are separated by NUL: one that becomes a format, a regular
/// expression and a name, and then a method, a host, a path, and values of a header.
///
/// Panics if a list makes more entries than it has actions.
pub fn actions(bytes: &[u8]) {
    let mut texts = bytes.split(|byte| *byte == 0);
    let mut next = || texts.next().unwrap_or_default();
    let pattern = String::from_utf8_lossy(next()).into_owned();
    let (method, host, path) = (next(), next(), next());
    let headers: Vec<Header<'_>> = texts.take(64).map(|value| Header { name: b"x-key", value }).collect();
    let remote_address = IpAddr::from_str(str::from_utf8(host).unwrap_or_default()).ok();
    let request =
        HttpRequest { method, host, path, headers: &headers, remote_address, ..HttpRequest::default() };
    let lists = lists(&pattern);
    for (list, made) in lists.iter().zip(descriptors(&lists, &request)) {
        if let Ok(descriptor) = made {
            assert!(descriptor.entries.len() <= list.actions().len(), "at most one entry for each action");
        }
    }
}

/// Lists of one action each, with this text wherever one can be.
fn lists(text: &str) -> Vec<RateLimit> {
    let test = |test| HeaderMatchSpec {
        name: "x-key".to_owned(),
        test,
        invert_match: false,
        treat_missing_header_as_empty: true,
    };
    let header_match = |headers| ActionSpec::HeaderValueMatch {
        descriptor_key: None,
        descriptor_value: "v".to_owned(),
        default_value: String::new(),
        expect_match: true,
        headers,
    };
    let text = || text.to_owned();
    let contains = TextMatchSpec::Contains { text: text(), ignore_case: true };
    let specs = [
        ActionSpec::GenericKey {
            descriptor_key: None,
            descriptor_value: text(),
            default_value: String::new(),
        },
        header_match(vec![
            test(HeaderTest::Text(TextMatchSpec::Regex(text()))),
            test(HeaderTest::Text(contains)),
        ]),
        ActionSpec::QueryParameters {
            query_parameter_name: text(),
            descriptor_key: "q".to_owned(),
            skip_if_absent: true,
        },
        ActionSpec::RequestHeaders {
            header_name: text(),
            descriptor_key: "h".to_owned(),
            skip_if_absent: false,
        },
        ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: Some(17), v6_prefix_mask_len: Some(65) },
        ActionSpec::Own(OwnSpec::Host { descriptor_key: None }),
        ActionSpec::Own(OwnSpec::Path { descriptor_key: Some(text()) }),
    ];
    let hits = HitsAddend::new(HitsSpec { amount: AmountSpec::Format(text()), is_negative_hits: false }).ok();
    let actions = specs.into_iter().filter_map(|spec| Action::new(spec).ok());
    actions.filter_map(|action| RateLimit::new(vec![action], hits.clone()).ok()).collect()
}

const LIMITS: &[u8] = b"
domain: edge
authz:
- match: { hosts: ['*.example.org', 'a*'], path_prefix: /a, methods: [GET, POST] }
  rate_limits:
  - actions: [{ path: {} }, { request_headers: { header_name: user, descriptor_key: user, skip_if_absent: true } }]
  - actions: [{ metadata: { descriptor_key: plan, metadata_key: { key: ns, path: [{ key: a }, { key: b }] } } }]
  - actions: [{ generic_key: { descriptor_key: plan, descriptor_value: '%DYNAMIC_METADATA(ns)%|%REQ(user)%' } }]
    hits_addend: { format: '%REQ(cost)%' }
  without_descriptor: deny
- rate_limits:
  - actions: [{ request_headers: { header_name: user, descriptor_key: user } }]
  - actions: [{ masked_remote_address: { v4_prefix_mask_len: 24 } }, { principal: {} }]
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
    let algorithm = Algorithm::ALL[usize::from(shape.wrapping_add(number)) % Algorithm::ALL.len()];
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
