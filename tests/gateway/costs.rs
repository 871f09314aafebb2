//! Requests that cost more or less than one, before and after the response.
//!
//! Costs come from metadata, which a script copies from headers of the request. (A number in a policy ends Envoy
//! Gateway 1.9.1 if its resources are files.)

use std::time::Duration;

use crate::{
    client::Request,
    resources::{attached, policy, route},
    rig::rig,
};

const SCRIPT: &str = "  lua:
  - type: Inline
    inline: |
      function envoy_on_request(handle)
        for _, name in ipairs({\"request\", \"response\"}) do
          local cost = handle:headers():get(\"x-\" .. name .. \"-cost\")
          if cost then
            handle:streamInfo():dynamicMetadata():set(\"test.costs\", name, tonumber(cost))
          end
        end
        local limit = handle:headers():get(\"x-plan\")
        if limit then
          local plan = {requests_per_unit = tonumber(limit), unit = \"HOUR\"}
          handle:streamInfo():dynamicMetadata():set(\"test.costs\", \"plan\", plan)
        end
      end
";

fn cost(of: &str) -> String {
    format!("{of}: {{from: Metadata, metadata: {{namespace: test.costs, key: {of}}}}}")
}

async fn apply(name: &str, limit: &str, costs: &[&str]) {
    let costs: Vec<String> = costs.iter().map(|of| cost(of)).collect();
    let selector = "headers: [{name: x-user-id, type: Distinct}]";
    let costs = costs.join(", ");
    let rule =
        format!("{{clientSelectors: [{{{selector}}}], cost: {{{costs}}}, limit: {{{limit}, unit: Hour}}}}");
    let targets = [format!("HTTPRoute/{name}")];
    let targets = targets.each_ref().map(String::as_str);
    let texts = [
        route("one", name),
        attached("EnvoyExtensionPolicy", name, &targets, SCRIPT),
        policy(name, &targets, &[&rule]),
    ];
    rig().await.apply(name, &texts, &[Request::get(&format!("/{name}"))]).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_request_costs_what_its_metadata_says() {
    apply("request-cost", "requests: 20", &["request"]).await;
    let with =
        |cost: &str| Request::get("/request-cost").header("x-user-id", "one").header("x-request-cost", cost);
    with("8").passes_with(20, 12).await;
    with("8").passes_with(20, 4).await;
    // What does not fit costs nothing, and what fits still passes.
    let (status, figures) = with("8").ask().await;
    assert_eq!((status, figures.remaining), (429, vec!["0".to_owned()]));
    with("3").passes_with(20, 1).await;
    with("0").passes_with(20, 1).await;
    with("1").passes_with(20, 0).await;
    assert_eq!(with("1").ask().await.0, 429);
    assert_eq!(with("0").ask().await.0, 429);
}

/// The case of Envoy Gateway's own suite: 21 an hour, nothing at the request, 10 after the response.
#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_response_that_does_not_fit_any_more_is_charged_and_closes_the_budget() {
    apply("usage", "requests: 21", &["request", "response"]).await;
    let request = Request::get("/usage")
        .header("x-user-id", "one")
        .header("x-request-cost", "0")
        .header("x-response-cost", "10");
    for left in [21, 11, 1] {
        request.passes_with(21, left).await;
        // Envoy asks again after the response, which nobody waits for.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for _ in 0..3 {
        let (status, figures) = request.ask().await;
        assert_eq!((status, figures.remaining), (429, vec!["0".to_owned()]));
    }
}

/// The limit of a request comes from its metadata, and the call after the response brings the same one.
#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_limit_from_metadata_replaces_the_policy_s_before_and_after_the_response() {
    let limit = "requests: 3, fromMetadata: {namespace: test.costs, key: plan}";
    apply("plans", limit, &["request", "response"]).await;
    let of = |user: &str| Request::get("/plans").header("x-user-id", user);
    let large =
        of("large").header("x-plan", "21").header("x-request-cost", "0").header("x-response-cost", "10");
    for left in [21, 11, 1] {
        large.passes_with(21, left).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(large.ask().await.0, 429);
    let small = of("small").header("x-request-cost", "1").header("x-response-cost", "0");
    for left in [2, 1, 0] {
        small.passes_with(3, left).await;
    }
    assert_eq!(small.ask().await.0, 429);
}
