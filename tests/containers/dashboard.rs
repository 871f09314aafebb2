//! The dashboard and the alerts ask for metrics that a running Tollgate has, and the dashboard is one that Grafana reads.

use std::{collections::BTreeSet, fs, path::Path};

use lab::{
    binaries::{self, Part},
    http,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};
use serde_json::Value;
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const LIMITS: &str = "domain: edge\ndescriptors: [{ key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 } }]\n";
/// Only TLS, rules by xDS, and exporters of other systems bring these along; docs/operate.md has them.
const ELSEWHERE: [&str; 2] = ["tollgate_tls_", "tollgate_xds_"];

fn read(file: &str) -> String {
    fs::read_to_string(binaries::checkout().join(file)).expect("can be read")
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/tollgate.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("a list")
}

/// All queries of the dashboard, those of its variables too.
fn queries(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let variables = dashboard["templating"]["list"].as_array().expect("a list").iter();
    let variables = variables.filter_map(|variable| variable["definition"].as_str());
    let all = targets.map(|target| target["expr"].as_str().expect("a query")).chain(variables);
    all.map(str::to_owned).collect()
}

/// The names of metrics in a text, without the endings of histograms.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words =
        text.split(|letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'));
    let metrics = words.filter(|word| word.starts_with("tollgate_") || word.starts_with("process_"));
    metrics.map(|metric| metric.strip_suffix("_bucket").unwrap_or(metric)).collect()
}

/// The page of a Tollgate that has allowed, denied and passed requests, and has lost its Redis.
async fn page() -> Option<String> {
    if !lab::real::available(&[Part::Redis]) {
        return None;
    }
    let mut redis = Redis::start().await.expect("starts");
    let limits = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard.yaml");
    fs::write(&limits, LIMITS).expect("can be written");
    let args = ["--store-deadline", "5s", "--drain-wait", "0s"];
    let tollgate =
        Tollgate::start(&Serve::new(&limits).store(redis.url()).args(&args)).await.expect("starts");
    while http::get(tollgate.admin(), "/ready", &[]).await.expect("an answer").text() != "OK" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    for key in ["user", "user", "user", "other"] {
        let entry = Entry { key: key.to_owned().into(), value: "a".to_owned().into() };
        let descriptors =
            vec![RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }];
        let request = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 0 };
        client.should_rate_limit(request.clone()).await.expect("an answer");
        if key == "other" {
            redis.kill();
            let mut lost = request;
            // Memory would deny the other key.
            let entry = Entry { key: "user".to_owned().into(), value: "b".to_owned().into() };
            lost.descriptors[0].entries = vec![entry];
            // A fallback answer, or an error.
            let _ = client.should_rate_limit(lost).await;
        }
    }
    Some(http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text())
}

#[tokio::test]
async fn every_panel_and_every_alert_asks_for_metrics_that_a_running_tollgate_has() {
    let Some(page) = page().await else { return };
    let dashboard = dashboard();
    let asked = [queries(&dashboard).join("\n"), read("deploy/alerts/tollgate.yaml")];
    for (text, least) in asked.iter().zip([20, 12]) {
        let found = metrics(text);
        assert!(found.len() >= least, "{found:?}");
        for metric in found {
            let is_there = page.contains(&format!("\n# TYPE {metric} "));
            let is_elsewhere = ELSEWHERE.iter().any(|beginning| metric.starts_with(beginning))
                && read("docs/operate.md").contains(&format!("| `{metric}` |"));
            assert!(is_there || is_elsewhere, "{metric} is on no page: {page}");
        }
    }
    for query in queries(&dashboard).iter().filter(|query| query.contains("tollgate_decisions_total{")) {
        assert!(page.contains("\ntollgate_decisions_total{"), "{query} would show nothing");
    }
    let version =
        page.lines().find_map(|line| line.strip_prefix("tollgate_rules_version ")).expect("a version");
    assert!(version.parse::<u64>().expect("a number") > 0, "{version}");
}

/// Fails on a key that is none of these, which Grafana would ignore in silence.
#[track_caller]
fn has_only(value: &Value, keys: &str) {
    let known: Vec<&str> = keys.split(' ').collect();
    for key in value.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()), "{key} is not among {keys}: {value}");
    }
}

#[test]
fn the_dashboard_has_only_fields_that_grafana_knows() {
    let dashboard = dashboard();
    has_only(
        &dashboard,
        "annotations description editable graphTooltip links panels refresh schemaVersion tags templating time timezone \
         title uid version",
    );
    assert_eq!(dashboard["schemaVersion"], 39);
    for variable in dashboard["templating"]["list"].as_array().expect("a list") {
        has_only(
            variable,
            "allValue current datasource definition hide includeAll label multi name query refresh sort type",
        );
    }
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{panel}");
        has_only(&panel["gridPos"], "h w x y");
        if panel["type"] == "row" {
            has_only(panel, "collapsed gridPos id panels title type");
            continue;
        }
        has_only(panel, "datasource description fieldConfig gridPos id options targets title type");
        assert!(panel["type"] == "stat" || panel["type"] == "timeseries", "{panel}");
        for text in ["title", "description"] {
            assert!(panel[text].as_str().is_some_and(|text| !text.is_empty()), "{panel}");
        }
        has_only(&panel["fieldConfig"], "defaults overrides");
        has_only(&panel["fieldConfig"]["defaults"], "color custom max min thresholds unit");
        let targets = panel["targets"].as_array().expect("a list");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            has_only(target, "datasource expr legendFormat refId");
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
}

#[test]
fn no_panel_lies_upon_another_or_beyond_the_edge() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies upon another", panel["title"]);
        }
    }
}

#[test]
fn the_alerts_of_the_chart_are_those_of_the_one_file() {
    assert_eq!(read("deploy/helm/tollgate/files/alerts.yaml"), read("deploy/alerts/tollgate.yaml"));
    let monitoring = read("deploy/helm/tollgate/templates/monitoring.yaml");
    assert!(monitoring.contains("{{- .Files.Get \"files/alerts.yaml\" | nindent 2 }}"), "{monitoring}");
}
