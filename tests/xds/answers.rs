//! What the server is asked and told, and what becomes of its answers.

use std::{process::Command, time::Duration};

use lab::{binaries, process::Process};
use prost_types::{Any, value::Kind};
use tollgate::pb::{rate_limit_response::Code, rules::RateLimitUnit};

use crate::{
    Replica,
    support::ads::{Ads, TYPE_URL, config, leaf, once_a_day, parent},
};

#[tokio::test]
async fn the_first_request_asks_for_everything_as_the_node_that_was_named() {
    let mut ads = Ads::start().await;
    let args = [
        "--xds-node-id",
        "envoy-ratelimit",
        "--xds-node-metadata",
        "zone=eu,rack=7",
        "--xds-header",
        "authorization=Bearer s3cret,x-tenant=a",
    ];
    let replica = Replica::start(&ads, &args).await;
    let mut stream = ads.stream().await;
    assert_eq!(stream.headers["authorization"], "Bearer s3cret");
    assert_eq!(stream.headers["x-tenant"], "a");
    let first = stream.request().await;
    assert_eq!((first.version_info.as_str(), first.response_nonce.as_str()), ("", ""));
    assert!(first.type_url == TYPE_URL && first.resource_names.is_empty());
    let node = first.node.expect("the first request names the node");
    assert_eq!((node.id.as_str(), node.user_agent_name.as_str()), ("envoy-ratelimit", "tollgate"));
    let metadata = node.metadata.expect("it has metadata").fields;
    assert_eq!(metadata["zone"].kind, Some(Kind::StringValue("eu".to_owned())));
    assert_eq!(metadata.len(), 2);

    stream.send_good("1", &[once_a_day("edge")]).await;
    let nonce = stream.send("1", &[once_a_day("edge")]);
    let second = stream.request().await;
    assert!(second.node.is_none() && second.response_nonce == nonce, "{second:?}");
    assert!(!replica.process.log_text().contains("s3cret"));
}

#[tokio::test]
async fn requests_pass_until_there_are_rules_and_then_obey_each_change_at_once() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &["--runtimes", "2"]).await;
    assert!(!replica.limits("edge", "a").await);
    replica.until_told("there are no rules yet").await;
    replica.until("tollgate_xds_connected", 1.0).await;
    assert_eq!(
        replica.figure("tollgate_xds_accepted_age_seconds").await.total_cmp(&-1.0),
        std::cmp::Ordering::Equal
    );

    let mut stream = ads.stream().await;
    stream.request().await;
    let limited = |requests| config("edge", vec![leaf("key", "", RateLimitUnit::Day, requests)]);
    stream.send_good("1", &[limited(1)]).await;
    // In force before it was accepted.
    assert!(replica.limits("edge", "b").await);
    stream.send_good("2", &[limited(3)]).await;
    assert_eq!(replica.ask("edge", "key", "b").await, Code::Ok, "2 more than before");
    stream.send_good("3", &[limited(1), once_a_day("other")]).await;
    assert!(replica.limits("other", "c").await);
    assert!(replica.figure("tollgate_config_reloads_total{result=\"taken\"}").await >= 3.0);
    assert!(replica.figure("tollgate_xds_accepted_age_seconds").await >= 0.0);
}

#[tokio::test]
async fn equal_versions_may_hold_other_rules_and_an_answer_without_resources_is_one() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &["--xds-settle", "0s"]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good("1", &[]).await;
    stream.send_good("1", &[once_a_day("edge")]).await;
    assert!(replica.limits("edge", "a").await);
    stream.send_good("1", &[]).await;
    assert!(!replica.limits("edge", "b").await);
}

#[tokio::test]
async fn a_set_with_an_error_is_refused_whole_after_pauses_that_grow_and_each_error_is_named() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good("7", &[once_a_day("edge")]).await;

    let bad = [
        config("edge", vec![leaf("key", "", RateLimitUnit::Day, 100)]),
        config(
            "other",
            vec![parent(
                "route",
                "route",
                vec![leaf("a", "x", RateLimitUnit::Unknown, 1), leaf("", "y", RateLimitUnit::Hour, 1)],
            )],
        ),
    ];
    // As Envoy Gateway does: the same again, as soon as it was refused.
    let mut pauses = Vec::new();
    for version in ["8", "8", "9"] {
        let (sent, nonce) = (tollgate::clock::monotonic(), stream.send(version, &bad));
        let (at, refusal) = stream.request_at().await;
        pauses.push(at - sent);
        assert_eq!((refusal.version_info.as_str(), &refusal.response_nonce), ("7", &nonce));
        let why = refusal.error_detail.expect("it is refused");
        assert_eq!(
            (why.code, why.message.as_str()),
            (3, "other: route / a=x: rate_limit: unit is missing\nother: route / =y: key must not be empty")
        );
    }
    for (pause, seconds) in pauses.iter().zip([1, 2, 4]) {
        let least = Duration::from_secs(seconds);
        assert!(*pause >= least && *pause < least + Duration::from_secs(1), "{pauses:?}");
    }
    assert_eq!(replica.told("were refused"), 1, "{}", replica.process.log_text());
    assert!(replica.limits("edge", "a").await, "the last good rules");
    replica.until("tollgate_config_stale", 1.0).await;

    // What mends it is accepted at once.
    stream.send_good("10", &bad[..1]).await;
    replica.until("tollgate_config_stale", 0.0).await;
}

#[tokio::test]
async fn what_is_no_rate_limit_config_is_refused_and_other_types_are_ignored() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good("1", &[once_a_day("edge")]).await;
    let garbage = Any { type_url: TYPE_URL.to_owned(), value: b"\x0a\xffgarbage".to_vec() };
    let cluster = Any { type_url: "type.googleapis.com/envoy.Cluster".to_owned(), value: Vec::new() };
    stream.send_any("2", vec![garbage, cluster]);
    let why = stream.request().await.error_detail.expect("refused").message;
    assert!(why.contains("(resource 0): this is no RateLimitConfig: "), "{why}");
    assert!(
        why.contains("(resource 1): this is no RateLimitConfig but type.googleapis.com/envoy.Cluster"),
        "{why}"
    );

    // A whole answer of another type.
    stream.send_message(b"\x0a\x011\x22\x05other\x2a\x01n");
    replica.until_told("resources that nobody asked for").await;
    stream.no_request_within(Duration::from_millis(300)).await;
    assert!(replica.limits("edge", "a").await);
}

#[tokio::test]
async fn siblings_that_disagree_are_told_once_and_both_apply() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    let twice = vec![leaf("key", "", RateLimitUnit::Day, 100), leaf("key", "", RateLimitUnit::Week, 1)];
    for version in ["1", "2"] {
        stream.send_good(version, &[config("edge", twice.clone())]).await;
    }
    assert!(replica.limits("edge", "a").await);
    assert_eq!(replica.told("edge: key: it comes twice, and the limits differ: both apply"), 1);
}

#[tokio::test]
async fn the_default_algorithm_decides_for_rules_by_xds_too() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &["--default-algorithm", "token_bucket"]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    // A window of a day would admit none before midnight, a bucket one in a second.
    stream.send_good("1", &[config("edge", vec![leaf("key", "", RateLimitUnit::Day, 86_400)])]).await;
    let entry = |hits| {
        let mut descriptor = tollgate::pb::RateLimitDescriptor::default();
        descriptor
            .entries
            .push(tollgate::pb::rate_limit_descriptor::Entry { key: "key".into(), value: "a".into() });
        tollgate::pb::RateLimitRequest {
            domain: "edge".into(),
            descriptors: vec![descriptor],
            hits_addend: hits,
        }
    };
    let all = replica.client.should_rate_limit(entry(86_400)).await.expect("an answer").into_inner();
    assert_eq!(all.overall_code(), Code::Ok);
    for _ in 0..100 {
        if replica.ask("edge", "key", "a").await == Code::Ok {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing came back");
}

#[tokio::test]
async fn nothing_is_answered_before_the_first_rules_where_that_was_asked_for() {
    let mut ads = Ads::start().await;
    let server = ads.addr();
    let starting = tokio::spawn(async move {
        let server = server.to_string();
        let serve = lab::tollgate::Serve::without_files();
        let serve =
            serve.args(&["--xds-server", &server, "--xds-wait-for-rules", "on", "--drain-wait", "0s"]);
        lab::tollgate::Tollgate::start(&serve).await.expect("starts")
    });
    let mut stream = ads.stream().await;
    stream.request().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!starting.is_finished(), "it waits");
    stream.send_good("1", &[once_a_day("edge")]).await;
    let process = starting.await.expect("no panic");
    assert!(process.log_text().contains("rules=1 domains=1"), "{}", process.log_text());
}

#[tokio::test]
async fn a_wait_for_the_first_rules_ends_with_the_process() {
    let mut ads = Ads::start().await;
    let server = ads.addr().to_string();
    let mut command = Command::new(binaries::tollgate().expect("built"));
    command.args(["serve", "--xds-server", &server, "--xds-wait-for-rules", "on"]);
    command.args(["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut process = Process::spawn("tollgate", &command).expect("starts");
    let mut stream = ads.stream().await;
    stream.request().await;
    while !process.log_text().contains("waiting for the first rules") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = process.terminate(Duration::from_secs(5)).await.expect("ends");
    assert!(ended.success(), "{ended}: {}", process.log_text());
}
