//! Which requests a rule selects, and which of them share a bucket.

use ::http::Method;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};

use crate::{
    base64,
    client::Request,
    resources::{attached, policy, route},
    rig::{over_limit, rig},
};

/// A route and a policy of this name with one rule, of three requests an hour for what `selectors` select.
async fn apply(name: &str, selectors: &str) {
    let rule = format!("{{clientSelectors: [{{{selectors}}}], limit: {{requests: 3, unit: Hour}}}}");
    let texts = [route("one", name), policy(name, &[&format!("HTTPRoute/{name}")], &[&rule])];
    rig().await.apply(name, &texts, &[Request::get(&format!("/{name}"))]).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_rule_for_headers_limits_the_requests_that_have_all_of_them() {
    apply("exact", "headers: [{name: x-user-id, value: one}, {name: x-user-org, value: acme}]").await;
    let user = Request::get("/exact").header("x-user-id", "one");
    user.clone().header("x-user-org", "acme").is_limited_to(3).await;
    user.is_not_limited().await;
    user.header("x-user-org", "other").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn each_value_of_a_distinct_header_has_a_bucket_of_its_own() {
    apply("distinct", "headers: [{name: x-user-id, type: Distinct}]").await;
    for user in ["one", "two", "drei ß", ""] {
        Request::get("/distinct").header("x-user-id", user).is_limited_to(3).await;
    }
    Request::get("/distinct").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn an_inverted_header_exempts_those_who_send_it() {
    let selectors =
        "headers: [{name: x-user-name, type: Distinct}, {name: x-user-name, value: admin, invert: true}]";
    apply("inverted", selectors).await;
    let user = |name| Request::get("/inverted").header("x-user-name", name);
    user("username").is_limited_to(3).await;
    user("another").is_limited_to(3).await;
    user("admin").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_rule_for_addresses_limits_all_of_them_together() {
    apply("cidr", "sourceCIDR: {value: 127.20.0.0/16}").await;
    let from = |last| Request::get("/cidr").from([127, 20, 0, last]);
    from(1).passes_with(3, 2).await;
    from(2).passes_with(3, 1).await;
    from(3).passes_with(3, 0).await;
    from(1).is_denied_by(3).await;
    from(4).is_denied_by(3).await;
    assert_eq!(over_limit("masked_remote_address_127_20_0_0/16").await, 2, "and dashboards show it");
    Request::get("/cidr").from([127, 17, 0, 1]).is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn each_address_of_a_distinct_range_has_a_bucket_of_its_own() {
    apply("cidr-distinct", "sourceCIDR: {value: 127.16.0.0/16, type: Distinct}").await;
    for last in [1, 2] {
        Request::get("/cidr-distinct").from([127, 16, 0, last]).is_limited_to(3).await;
    }
    Request::get("/cidr-distinct").from([127, 17, 0, 1]).is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn an_inverted_range_is_exempt_and_all_others_share_a_bucket() {
    apply("cidr-inverted", "sourceCIDR: {value: 127.16.0.0/16, invert: true}").await;
    let from = |second| Request::get("/cidr-inverted").from([127, second, 0, 1]);
    from(17).passes_with(3, 2).await;
    from(18).passes_with(3, 1).await;
    from(19).passes_with(3, 0).await;
    from(17).is_denied_by(3).await;
    from(16).is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn each_address_outside_an_exempt_range_has_a_bucket_of_its_own() {
    apply("cidr-exempt", "sourceCIDR: {value: 127.16.0.0/16, type: Distinct, invert: true}").await;
    for second in [17, 18] {
        Request::get("/cidr-exempt").from([127, second, 0, 1]).is_limited_to(3).await;
    }
    Request::get("/cidr-exempt").from([127, 16, 0, 1]).is_not_limited().await;
}

/// Envoy Gateway makes two descriptors with one key and value of it. envoyproxy/ratelimit refuses all of its rules then.
#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_range_can_have_a_limit_for_all_and_another_for_each_address() {
    let rule = |kind, requests| {
        let selector = format!("sourceCIDR: {{value: 127.16.0.0/16, type: {kind}}}");
        format!("{{clientSelectors: [{{{selector}}}], limit: {{requests: {requests}, unit: Hour}}}}")
    };
    let (all, each) = (rule("Exact", 5), rule("Distinct", 3));
    let texts = [route("one", "twins"), policy("twins", &["HTTPRoute/twins"], &[&all, &each])];
    rig().await.apply("twins", &texts, &[Request::get("/twins")]).await;

    let mut seen = Vec::new();
    for last in [1, 1, 1, 1, 2, 2, 2] {
        seen.push(Request::get("/twins").from([127, 16, 0, last]).ask().await.0);
    }
    assert_eq!(seen, [200, 200, 200, 429, 200, 200, 429]);
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn headers_and_addresses_of_a_rule_must_both_match() {
    let selectors =
        "headers: [{name: x-user-id, value: one}], sourceCIDR: {value: 127.16.0.0/16, type: Distinct}";
    apply("header-and-cidr", selectors).await;
    let inside = Request::get("/header-and-cidr").from([127, 16, 0, 1]);
    inside.clone().header("x-user-id", "one").is_limited_to(3).await;
    inside.is_not_limited().await;
    Request::get("/header-and-cidr").header("x-user-id", "one").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn the_methods_of_a_rule_share_a_bucket() {
    apply("method", "methods: [{value: POST}, {value: DELETE}]").await;
    let with = |method| Request::get("/method").method(method);
    with(Method::POST).passes_with(3, 2).await;
    with(Method::DELETE).passes_with(3, 1).await;
    with(Method::POST).passes_with(3, 0).await;
    with(Method::POST).is_denied_by(3).await;
    with(Method::DELETE).is_denied_by(3).await;
    with(Method::GET).is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_path_limits_what_lies_below_it_and_not_what_begins_alike() {
    apply("path", "path: {value: /path/limited}").await;
    Request::get("/path/limited").passes_with(3, 2).await;
    Request::get("/path/limited/below").passes_with(3, 1).await;
    Request::get("/path/limited?with=query").passes_with(3, 0).await;
    Request::get("/path/limited").is_denied_by(3).await;
    Request::get("/path/limited/other").is_denied_by(3).await;
    Request::get("/path/limited2").is_not_limited().await;
    Request::get("/path/free").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_query_parameter_selects_by_its_value() {
    apply("query", "queryParams: [{name: user, type: Exact, value: alice}]").await;
    Request::get("/query?user=alice&more=1").passes_with(3, 2).await;
    Request::get("/query?user=alice").passes_with(3, 1).await;
    Request::get("/query?a=b&user=alice").passes_with(3, 0).await;
    Request::get("/query?user=alice").is_denied_by(3).await;
    Request::get("/query?user=bob").is_not_limited().await;
    Request::get("/query").is_not_limited().await;

    apply("query-distinct", "queryParams: [{name: user, type: Distinct}]").await;
    for user in ["alice", "bob"] {
        Request::get(&format!("/query-distinct?user={user}")).is_limited_to(3).await;
    }
    Request::get("/query-distinct").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_claim_of_a_token_selects_by_way_of_a_header() {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let public = base64::encode_for_urls(key.der_bytes());
    let keys =
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"1","x":"{public}"}}]}}"#);
    let security = format!(
        "  jwt:
    providers:
    - name: example
      localJWKS: {{type: Inline, inline: '{keys}'}}
      claimToHeaders: [{{claim: name, header: x-claim-name}}]
"
    );
    let rule = "{clientSelectors: [{headers: [{name: x-claim-name, value: John Doe}]}], limit: {requests: 3, unit: Hour}}";
    let targets = ["HTTPRoute/jwt"];
    let texts = [
        route("one", "jwt"),
        attached("SecurityPolicy", "jwt", &targets, &security),
        policy("jwt", &targets, &[rule]),
    ];
    let with = |name: &str| Request::get("/jwt").header("authorization", &bearer(&key, name));
    rig().await.apply("jwt", &texts, &[with("nobody")]).await;

    with("John Doe").is_limited_to(3).await;
    with("Tom").is_not_limited().await;
    // The header alone does not select anybody: without a token there is no way in.
    let (status, _) = Request::get("/jwt").header("x-claim-name", "John Doe").ask().await;
    assert_eq!(status, 401);
}

fn bearer(key: &KeyPair, name: &str) -> String {
    let part = |json: &str| base64::encode_for_urls(json.as_bytes());
    let header = part(r#"{"alg":"EdDSA","typ":"JWT","kid":"1"}"#);
    let signed = format!("{header}.{}", part(&format!(r#"{{"sub":"1234567890","name":"{name}"}}"#)));
    let signature = key.sign(signed.as_bytes()).expect("it signs");
    format!("Bearer {signed}.{}", base64::encode_for_urls(&signature))
}
