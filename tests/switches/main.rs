//! The switches that envoyproxy/ratelimit knows, the limits that a request brings along, and dynamic metadata.

mod counting;
#[path = "../support/mod.rs"]
mod support;

use lab::tollgate::{Serve, Tollgate};
use prost_types::{Struct, Value, value::Kind};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
    rate_limit_descriptor::{Entry, RateLimitOverride},
    rate_limit_response::Code as Overall,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::{Status, transport::Channel};

const LIMITS: &str = "
domain: edge
descriptors:
- key: user
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 }
- key: team
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 }
";

struct Service {
    client: RateLimitServiceClient<Channel>,
    _process: Tollgate,
}

async fn service(test: &str, args: &[&str]) -> Service {
    service_with(test, LIMITS, args).await
}

async fn service_with(test: &str, limits: &str, args: &[&str]) -> Service {
    let limits = support::file(&format!("switches-{test}.yaml"), limits);
    let process = Tollgate::start(&Serve::new(&limits).args(args)).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
    let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    Service { client, _process: process }
}

fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}

fn with_limit(key: &str, requests_per_unit: u32, unit: i32, multiplier: Option<u32>) -> RateLimitDescriptor {
    let limit = RateLimitOverride { requests_per_unit, unit, unit_multiplier: multiplier };
    RateLimitDescriptor { limit: Some(limit), ..descriptor(key, "x") }
}

impl Service {
    async fn try_ask(&mut self, descriptors: Vec<RateLimitDescriptor>) -> Result<RateLimitResponse, Status> {
        let request = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 };
        self.client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    async fn ask(&mut self, descriptors: Vec<RateLimitDescriptor>) -> RateLimitResponse {
        self.try_ask(descriptors).await.expect("an answer")
    }
}

fn codes(response: &RateLimitResponse) -> Vec<Overall> {
    response.statuses.iter().map(|status| status.code()).collect()
}

#[tokio::test]
async fn in_shadow_mode_every_request_passes_and_the_limits_are_still_told() {
    let mut service = service("shadow", &["--shadow-mode"]).await;
    for expected in [Overall::Ok, Overall::OverLimit, Overall::OverLimit] {
        let response = service.ask(vec![descriptor("user", "u")]).await;
        assert_eq!((response.overall_code(), codes(&response)), (Overall::Ok, vec![expected]));
        assert!(response.raw_body.is_empty(), "what passes has no body");
    }
}

#[tokio::test]
async fn in_quota_mode_a_request_is_denied_only_when_all_of_its_limits_are_used_up() {
    let mut service = service("quota", &["--quota-mode"]).await;
    let both = || vec![descriptor("user", "u"), descriptor("team", "t")];
    let first = service.ask(both()).await;
    assert_eq!(codes(&first), [Overall::Ok, Overall::Ok]);
    let second = service.ask(both()).await;
    assert_eq!((second.overall_code(), codes(&second)), (Overall::Ok, vec![Overall::OverLimit, Overall::Ok]));
    let third = service.ask(both()).await;
    let over = vec![Overall::OverLimit, Overall::OverLimit];
    assert_eq!((third.overall_code(), codes(&third)), (Overall::OverLimit, over));
    // A descriptor without a limit is a quota that is never used up.
    let unmatched = service.ask(vec![descriptor("user", "u"), descriptor("nobody", "")]).await;
    assert_eq!(unmatched.overall_code(), Overall::Ok);
}

#[test]
fn a_variable_of_the_reference_that_is_not_a_boolean_is_misuse() {
    for name in ["SHADOW_MODE", "QUOTA_MODE", "RESPONSE_DYNAMIC_METADATA"] {
        let limits = support::file("switches-variable.yaml", LIMITS);
        let mut serve = std::process::Command::new(lab::binaries::tollgate().expect("built"));
        let output =
            serve.arg("serve").arg("--config").arg(limits).env(name, "maybe").output().expect("runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("the variable {name} is \"maybe\"")), "{told}");
    }
}

fn field<'a>(message: &'a Struct, name: &str) -> &'a Kind {
    message
        .fields
        .get(name)
        .and_then(|value| value.kind.as_ref())
        .unwrap_or_else(|| panic!("{name} in {message:?}"))
}

fn items(kind: &Kind) -> &[Value] {
    let Kind::ListValue(list) = kind else { panic!("a list: {kind:?}") };
    &list.values
}

#[tokio::test]
async fn dynamic_metadata_tells_the_descriptors_and_is_off_by_default() {
    let mut plain = service("no-metadata", &[]).await;
    assert_eq!(plain.ask(vec![descriptor("user", "u")]).await.dynamic_metadata, None);

    let mut service = service("metadata", &["--dynamic-metadata"]).await;
    let asked = RateLimitDescriptor { hits_addend: Some(1), ..with_limit("user", 3, 2, None) };
    let metadata = service.ask(vec![asked]).await.dynamic_metadata.expect("it is on");
    assert_eq!(*field(&metadata, "domain"), Kind::StringValue("edge".to_owned()));
    let descriptors = items(field(&metadata, "descriptors"));
    let Some(Kind::StructValue(descriptor)) = &descriptors[0].kind else { panic!("a map") };
    assert_eq!(items(field(descriptor, "entries"))[0].kind, Some(Kind::StringValue("user=x".to_owned())));
    let rule = Kind::StringValue("(override)".to_owned());
    assert_eq!((field(&metadata, "rule"), field(&metadata, "remaining")), (&rule, &Kind::NumberValue(2.0)));
    assert_eq!(*field(&metadata, "source"), Kind::StringValue("store".to_owned()));
    let limit = Kind::StringValue("requests_per_unit:3 unit:MINUTE".to_owned());
    assert_eq!(
        (field(descriptor, "limit"), field(descriptor, "hitsAddend")),
        (&limit, &Kind::NumberValue(1.0))
    );
}

const ROUTES: &str = "
domain: edge
algorithm: token_bucket
descriptors:
- { key: first, quota_mode: true, metadata: { route: first, tags: { a: 1 } }, rate_limit: { unit: year, requests_per_unit: 1 } }
- { key: second, quota_mode: true, metadata: { route: second, tags: { b: 2 } }, rate_limit: { unit: year, requests_per_unit: 2 } }
- { key: guarded, metadata: { route: guarded }, rate_limit: { unit: year, requests_per_unit: 0 } }
- { key: watched, shadow_mode: true, metadata: { route: watched }, rate_limit: { unit: year, requests_per_unit: 0 } }
- { key: named, metadata: { route: named }, rate_limit: { name: named, unit: year, requests_per_unit: 9 } }
- { key: instead, rate_limit: { unit: year, requests_per_unit: 9, replaces: [{ name: named }] } }
- { key: free, metadata: { route: free }, rate_limit: { unlimited: true } }
- { key: exempt, metadata: { route: exempt } }
- key: several
  metadata: { route: several }
  rate_limits: [{ unit: year, requests_per_unit: 9 }, { unit: year, unit_multiplier: 2, requests_per_unit: 0 }]
";

/// The route in the metadata, if there is one, and the verdict.
async fn route(service: &mut Service, descriptors: Vec<RateLimitDescriptor>) -> (Overall, Option<String>) {
    let response = service.ask(descriptors).await;
    let told = response.dynamic_metadata.as_ref().expect("it is on");
    let route = told.fields.contains_key("metadata").then(|| {
        let Kind::StructValue(metadata) = field(told, "metadata") else { panic!("a map") };
        let Kind::StringValue(route) = field(metadata, "route") else { panic!("a text") };
        route.clone()
    });
    (response.overall_code(), route)
}

#[tokio::test]
async fn dynamic_metadata_carries_the_metadata_of_what_passed_and_of_nothing_else() {
    let mut service = service_with("routes", ROUTES, &["--dynamic-metadata"]).await;
    let mut told = async |keys: &[&str]| {
        let descriptors = keys.iter().map(|key| match key.strip_prefix('=') {
            Some(key) => with_limit(key, 5, 6, None),
            None => descriptor(key, "x"),
        });
        route(&mut service, descriptors.collect()).await
    };
    let named = |code, route: &str| (code, Some(route.to_owned()));
    let both = &["first", "second"];
    // The metadata of the first that passed count. Once its quota is used up, those of the other one do.
    assert_eq!(told(both).await, named(Overall::Ok, "first"));
    assert_eq!(told(both).await, named(Overall::Ok, "second"));
    assert_eq!(told(both).await, (Overall::OverLimit, None));
    // A denied request still carries the metadata of what passed in it.
    assert_eq!(told(&["guarded", "named"]).await, named(Overall::OverLimit, "named"));
    // A limit in shadow mode is reported OK, though it would deny.
    assert_eq!(told(&["watched"]).await, named(Overall::Ok, "watched"));
    assert_eq!(told(&["named", "instead"]).await, (Overall::Ok, None), "another limit stands in for it");
    assert_eq!(told(&["=named"]).await, (Overall::Ok, None), "the request's own limit has none");
    assert_eq!(told(&["=named", "watched"]).await, named(Overall::Ok, "watched"));
    assert_eq!(told(&["free", "exempt", "nobody"]).await, (Overall::Ok, None));
    assert_eq!(told(&["several"]).await, (Overall::OverLimit, None), "one of its limits does not fit");
}
