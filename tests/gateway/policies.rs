//! Which limits apply together: of one policy or several, of a gateway and a route, on one listener or two.

use crate::{
    client::{Figures, Request},
    resources::{attached, policy, policy_with, route},
    rig::{OTHER_PORT, PORT, SECOND_PORT, rig},
};

fn rule(selector: &str, requests: u32, more: &str) -> String {
    format!("{{clientSelectors: [{{{selector}}}], limit: {{requests: {requests}, unit: Hour}}{more}}}")
}

fn user(id: &str) -> String {
    format!("headers: [{{name: x-user-id, value: {id}}}]")
}

fn by(path: &str, id: &str) -> Request {
    Request::get(path).header("x-user-id", id)
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn routes_under_a_shared_rule_have_one_bucket() {
    let shared = rule(&user("one"), 3, ", shared: true");
    let targets = ["HTTPRoute/shared-a", "HTTPRoute/shared-b"];
    let texts = [route("one", "shared-a"), route("one", "shared-b"), policy("shared", &targets, &[&shared])];
    let probes = [Request::get("/shared-a"), Request::get("/shared-b")];
    rig().await.apply("shared", &texts, &probes).await;

    by("/shared-a", "one").passes_with(3, 2).await;
    by("/shared-a", "one").passes_with(3, 1).await;
    by("/shared-b", "one").passes_with(3, 0).await;
    by("/shared-b", "one").is_denied_by(3).await;
    by("/shared-a", "one").is_denied_by(3).await;
    by("/shared-b", "two").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn addresses_under_a_shared_rule_have_one_bucket_on_all_routes() {
    let shared = rule("sourceCIDR: {value: 127.16.0.0/16, type: Distinct}", 3, ", shared: true");
    let targets = ["HTTPRoute/shared-cidr-a", "HTTPRoute/shared-cidr-b"];
    let texts = [
        route("one", "shared-cidr-a"),
        route("one", "shared-cidr-b"),
        policy("shared-cidr", &targets, &[&shared]),
    ];
    let probes = [Request::get("/shared-cidr-a"), Request::get("/shared-cidr-b")];
    rig().await.apply("shared-cidr", &texts, &probes).await;

    let from = |path, last| Request::get(path).from([127, 16, 0, last]);
    from("/shared-cidr-a", 1).passes_with(3, 2).await;
    from("/shared-cidr-b", 1).passes_with(3, 1).await;
    from("/shared-cidr-a", 1).passes_with(3, 0).await;
    from("/shared-cidr-b", 1).is_denied_by(3).await;
    from("/shared-cidr-b", 2).passes_with(3, 2).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_route_s_policy_is_merged_into_its_gateway_s() {
    let routes = [user("one"), user("two")];
    let gateways = [user("three"), user("four")];
    let rules =
        |[shared, own]: &[String; 2]| [rule(shared, 3, ", shared: true"), rule(own, 3, ", shared: false")];
    let (of_routes, of_gateways) = (rules(&routes), rules(&gateways));
    let of_routes = of_routes.each_ref().map(String::as_str);
    let of_gateways = of_gateways.each_ref().map(String::as_str);
    let targets = ["HTTPRoute/merged-a", "HTTPRoute/merged-b"];
    let texts = [
        route("two", "merged-a"),
        route("two", "merged-b"),
        policy_with("merged-routes", &targets, &of_routes, "  mergeType: StrategicMerge\n"),
        policy("merged-gateway", &["Gateway/two"], &of_gateways),
    ];
    let [a, b] = ["/merged-a", "/merged-b"];
    let by = |path, id| by(path, id).port(SECOND_PORT);
    let probes = [a, b].map(|path| Request::get(path).port(SECOND_PORT));
    rig().await.apply("merged", &texts, &probes).await;

    for shared in ["one", "three"] {
        by(b, shared).passes_with(3, 2).await;
        by(b, shared).passes_with(3, 1).await;
        by(a, shared).passes_with(3, 0).await;
        by(a, shared).is_denied_by(3).await;
    }
    for own in ["two", "four"] {
        by(a, own).is_limited_to(3).await;
        by(b, own).is_limited_to(3).await;
    }
    by(a, "five").is_not_limited().await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn of_a_gateway_s_policy_and_a_route_s_that_is_not_merged_the_route_s_applies() {
    let texts = [
        route("two", "own"),
        route("two", "inherits"),
        policy("own", &["HTTPRoute/own"], &[&rule(&user("one"), 5, "")]),
        policy("all", &["Gateway/two"], &[&rule(&user("one"), 3, "")]),
    ];
    let probes = ["/own", "/inherits"].map(|path| Request::get(path).port(SECOND_PORT));
    rig().await.apply("inherited", &texts, &probes).await;

    by("/own", "one").port(SECOND_PORT).is_limited_to(5).await;
    by("/inherits", "one").port(SECOND_PORT).is_limited_to(3).await;
}

/// A rule for all of one route, and a shared one: two domains, so Envoy asks twice and writes two lines.
#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_shared_limit_and_one_of_the_route_s_own_both_apply() {
    let own = rule(&user("one"), 5, "");
    let shared = rule(&user("one"), 3, ", shared: true");
    let texts = [route("one", "both"), policy("both", &["HTTPRoute/both"], &[&own, &shared])];
    rig().await.apply("both", &texts, &[Request::get("/both")]).await;

    for left in (0..3).rev() {
        let (status, figures) = by("/both", "one").ask().await;
        assert_eq!(status, 200);
        let mut seen: Vec<_> = figures.limit.into_iter().zip(figures.remaining).collect();
        seen.sort();
        let own = ("5, 5;w=3600".to_owned(), (left + 2).to_string());
        assert_eq!(seen, [("3, 3;w=3600".to_owned(), left.to_string()), own]);
    }
    let (status, _) = by("/both", "one").ask().await;
    assert_eq!(status, 429);
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_rule_in_shadow_mode_denies_nothing_and_shows_what_is_left() {
    let shadow = rule(&user("one"), 3, ", shadowMode: true");
    let texts = [route("one", "shadow"), policy("shadow", &["HTTPRoute/shadow"], &[&shadow])];
    rig().await.apply("shadow", &texts, &[Request::get("/shadow")]).await;

    for left in [2, 1, 0, 0, 0] {
        by("/shadow", "one").passes_with(3, left).await;
    }
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn the_listeners_of_a_gateway_have_buckets_of_their_own() {
    let limited = rule("sourceCIDR: {value: 0.0.0.0/0, type: Distinct}", 3, "");
    let texts = [route("one", "listeners"), policy("listeners", &["HTTPRoute/listeners"], &[&limited])];
    let on = |port| Request::get("/listeners").port(port);
    rig().await.apply("listeners", &texts, &[on(PORT), on(OTHER_PORT)]).await;

    on(PORT).is_limited_to(3).await;
    on(OTHER_PORT).is_limited_to(3).await;
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_limit_without_selectors_is_for_everybody() {
    let all = "{limit: {requests: 100, unit: Hour}}";
    let texts = [route("one", "everybody"), policy("everybody", &["HTTPRoute/everybody"], &[all])];
    rig().await.apply("everybody", &texts, &[Request::get("/everybody")]).await;

    for left in (0..100).rev() {
        by("/everybody", &left.to_string()).passes_with(100, left).await;
    }
    let (status, figures) = Request::get("/everybody").ask().await;
    assert_eq!((status, figures.remaining), (429, vec!["0".to_owned()]));
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn headers_that_are_switched_off_stay_away_and_the_limit_holds() {
    let off = attached(
        "ClientTrafficPolicy",
        "headers-off",
        &["Gateway/two"],
        "  headers: {disableRateLimitHeaders: true}\n",
    );
    let texts =
        [route("two", "quiet"), policy("quiet", &["HTTPRoute/quiet"], &[&rule(&user("one"), 3, "")]), off];
    let request = by("/quiet", "one").port(SECOND_PORT);
    rig().await.apply("quiet", &texts, &[Request::get("/quiet").port(SECOND_PORT)]).await;

    for _ in 0..3 {
        assert_eq!(request.ask().await, (200, Figures::none()));
    }
    assert_eq!(request.ask().await, (429, Figures::none()));
}

#[tokio::test]
#[ignore = "make gateway-test"]
async fn a_rule_may_keep_its_headers_to_itself() {
    let quiet = rule(&user("one"), 3, ", xRateLimitHeaders: \"Off\"");
    let texts = [
        route("one", "discreet"),
        policy("discreet", &["HTTPRoute/discreet"], &[&quiet, &rule(&user("two"), 3, "")]),
    ];
    rig().await.apply("discreet", &texts, &[Request::get("/discreet")]).await;

    for status in [200, 200, 200, 429] {
        assert_eq!(by("/discreet", "one").ask().await, (status, Figures::none()));
    }
    by("/discreet", "two").is_limited_to(3).await;
}
