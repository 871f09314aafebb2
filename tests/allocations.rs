//! The number of allocations of a decision, without those of tonic and hyper, so that it does not rise unnoticed.

mod support;

use std::{alloc::System, hint::black_box, sync::Arc, time::Duration};

use lab::http::BROWSER;
use prost::Message as _;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tollgate::{
    fallback::{Fallback, local::Local},
    limiter::Limiter,
    live::{Recorder, Values},
    metrics::Metrics,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
        auth::{
            self, AttributeContext, CheckRequest, CheckResponse, attribute_context::HttpRequest,
            check_response::HttpResponse,
        },
        authorization_server::Authorization,
        rate_limit_descriptor::Entry,
        rate_limit_response::Code,
        rate_limit_service_server::RateLimitService,
    },
    protocol::{Doors, authz::codec::CheckMessage},
    response::Contract,
    rules::{CompiledRules, CurrentRules},
    store::{Backend, Store},
};
use tollgate_core::{
    actions::{Action, ActionSpec, RateLimit},
    authz::AuthzEntry,
    limit::{Limit, LimitSpec, Overdraft, Unit},
    matcher::Matcher,
    rules::{Domain, OnStoreFailure, Pattern},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of a call of the service, including its boxed future, until the answer is ready to be sent.
const ALLOWED: usize = 2;
const DENIED: usize = 2;
/// The same for a check of ext_authz, with one header and with those of a browser.
const CHECKED: usize = 2;
const CHECKED_FOR_BROWSER: usize = 2;
/// The bytes of these allocations. Most are those of the future, which is kept while the store is asked: with 5,120 of them,
/// copying it and finding room for it were some 3 % of a decision's CPU time on Redis.
const MOST_BYTES: usize = 2_304;
const MOST_BYTES_OF_CHECK: usize = 4_352;

fn service(store: Store) -> Doors {
    let rule = |key: &str, requests| {
        Pattern::with_limit(key, None, Limit::new(requests, Unit::Day, None).expect("sound"))
    };
    let spec = LimitSpec { overdraft: Overdraft::Auto, ..LimitSpec::new(1_000_000, Unit::Day) };
    let cost = Pattern::with_limit("cost", None, spec.check().expect("sound"));
    let spec = LimitSpec { lease_us: 1_000_000, ..LimitSpec::new(1_000_000, Unit::Second) };
    let leased = Pattern::with_limit("leased", None, spec.check().expect("sound"));
    let descriptors = vec![rule("user", 1_000_000), rule("once", 1), cost, leased];
    let action = |name: &str| {
        let spec = ActionSpec::RequestHeaders {
            header_name: name.to_owned(),
            descriptor_key: "user".to_owned(),
            skip_if_absent: false,
        };
        Action::new(spec).expect("sound")
    };
    let list = RateLimit::new(vec![action("x-api-key")], None).expect("sound");
    let authz = vec![AuthzEntry { rate_limits: vec![list], ..AuthzEntry::default() }];
    let matcher =
        Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, authz, ..Domain::default() }]);
    let limiter = Limiter::new(
        store,
        Fallback { default: OnStoreFailure::Error, local: Arc::new(Local::new(1_000, Box::new(|| None))) },
    );
    let metrics = Arc::new(Metrics::new());
    let rules = CompiledRules::new(matcher, &Contract::default(), &metrics);
    let recorder = Arc::new(Recorder::new(Values::Hidden));
    Doors::new(limiter, Arc::new(CurrentRules::new(rules)), metrics).recording(recorder)
}

fn request(key: &'static str) -> tonic::Request<RateLimitRequest> {
    let entry = Entry { key: key.into(), value: "alice".into() };
    // Stated, so that a rule with `overdraft: auto` remembers them.
    let hits_addend = (key == "cost").then_some(1);
    let descriptor =
        RateLimitDescriptor { entries: vec![entry], hits_addend, ..RateLimitDescriptor::default() };
    let domain = "edge".to_owned();
    tonic::Request::new(RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: 0 })
}

async fn allocated(service: &Doors, key: &'static str, code: Code) -> Stats {
    // The first calls create what is kept: the bucket, and the thread's random numbers.
    for _ in 0..3 {
        service.should_rate_limit(request(key)).await.expect("an answer");
    }
    let request = request(key);
    let region = Region::new(ALLOCATOR);
    let answer = service.should_rate_limit(request).await.expect("an answer");
    let allocated = region.change();
    assert_eq!(
        black_box(answer).get_ref().decode::<RateLimitResponse>().expect("sound").overall_code(),
        code
    );
    allocated
}

fn check(others: &[(&str, &str)]) -> tonic::Request<CheckMessage> {
    let headers = others.iter().chain(&[("x-api-key", "alice")]);
    let headers = headers.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let http = HttpRequest { headers, method: "GET".into(), path: "/".into(), ..HttpRequest::default() };
    let request = auth::attribute_context::Request { http: Some(http), time: None };
    let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
    let message = CheckRequest { attributes: Some(attributes) };
    tonic::Request::new(CheckMessage(message.encode_to_vec().into()))
}

async fn allocated_by_check(service: &Doors, others: &[(&str, &str)]) -> Stats {
    service.check(check(others)).await.expect("an answer");
    let request = check(others);
    let region = Region::new(ALLOCATOR);
    let answer = service.check(request).await.expect("an answer");
    let allocated = region.change();
    let answer = black_box(answer).get_ref().decode::<CheckResponse>().expect("sound");
    assert!(
        matches!(answer.http_response, Some(HttpResponse::OkResponse(ok)) if !ok.response_headers_to_add.is_empty())
    );
    allocated
}

/// There is only one test, so that no other thread allocates meanwhile.
#[tokio::test]
async fn a_decision_allocates_no_more_than_is_recorded() {
    let service = service(Backend::memory(1_000).open(Duration::from_secs(1)));
    let expected = [
        ("user", Code::Ok, ALLOWED),
        ("cost", Code::Ok, ALLOWED),
        ("once", Code::OverLimit, DENIED),
        // Without a rule: a warning that was given already costs nothing more.
        ("nobody", Code::Ok, ALLOWED),
    ];
    for (key, code, expected) in expected {
        let allocated = allocated(&service, key, code).await;
        assert_eq!(allocated.allocations, expected, "{key}");
        assert!(allocated.bytes_allocated <= MOST_BYTES, "{key}: {} bytes", allocated.bytes_allocated);
    }
    for (headers, expected) in [(&[][..], CHECKED), (&BROWSER[..], CHECKED_FOR_BROWSER)] {
        let allocated = allocated_by_check(&service, headers).await;
        assert_eq!(allocated.allocations, expected);
        assert!(allocated.bytes_allocated <= MOST_BYTES_OF_CHECK, "{} bytes", allocated.bytes_allocated);
    }
    without_a_call().await;
}

/// On Redis, what is decided without a call: by the denial cache that two runtimes share, and by a lease.
async fn without_a_call() {
    let Some(redis) = support::redis().await else { return };
    let backend = Backend::parse(&redis.url()).expect("a URL");
    let [here, there] = [0, 1].map(|_| service(backend.open(Duration::from_secs(5))));
    for runtime in [&here, &there] {
        while runtime.should_rate_limit(request("once")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for runtime in [&here, &there] {
        assert_eq!(allocated(runtime, "once", Code::OverLimit).await.allocations, DENIED);
    }
    // A call that renews the lease may be under way at the same time.
    let mut least = usize::MAX;
    for _ in 0..50 {
        least = least.min(allocated(&here, "leased", Code::Ok).await.allocations);
    }
    assert_eq!(least, ALLOWED);
}
