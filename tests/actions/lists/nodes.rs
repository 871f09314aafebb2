//! The configurations: all places where lists may be, and all kinds of matches.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::Get;
use crate::node;

const FILTER: &str = "envoy.filters.http.ratelimit";
const TYPES: &str = "type.googleapis.com/envoy";

/// A list that makes the descriptor `from=<name>`.
fn list(name: &str) -> Value {
    json!({ "actions": [ { "generic_key": { "descriptor_key": "from", "descriptor_value": name } } ] })
}

/// A list with hits, which count in some places and not in others.
pub(super) fn with_hits(name: &str) -> Value {
    let mut list = list(name);
    list["hits_addend"] = json!({ "number": 3 });
    list
}

fn per_route(fields: &Value) -> Value {
    let mut config = fields.clone();
    config["@type"] = format!("{TYPES}.extensions.filters.http.ratelimit.v3.RateLimitPerRoute").into();
    json!({ FILTER: config })
}

/// Each way in which a route or a virtual host may say something about the filter.
fn all_specific(name: &str) -> Vec<Option<Value>> {
    let disabled =
        json!({ FILTER: { "@type": format!("{TYPES}.config.route.v3.FilterConfig"), "disabled": true } });
    let said = [
        json!({ "rate_limits": [with_hits(name)] }),
        json!({ "rate_limits": [with_hits(name)], "vh_rate_limits": "INCLUDE" }),
        json!({ "vh_rate_limits": "INCLUDE" }),
        json!({ "vh_rate_limits": "IGNORE" }),
        json!({ "vh_rate_limits": "OVERRIDE", "domain": name }),
    ];
    let mut all = vec![None, Some(disabled)];
    all.extend(said.iter().map(|fields| Some(per_route(fields))));
    all
}

/// A virtual host for each thing that it can say, with a route for each thing that a route can say.
pub(super) fn all_places() -> (Vec<Value>, Vec<Get>) {
    let (mut hosts, mut gets) = (Vec::new(), Vec::new());
    for has_lists in [true, false] {
        for specific in all_specific("typed-host") {
            let name = format!("h{}", hosts.len());
            let (mut routes, domain) = (Vec::new(), format!("{name}.test"));
            for route_has_lists in [true, false] {
                for includes in [true, false] {
                    for specific in all_specific("typed-route") {
                        let path = format!("/r{}", routes.len());
                        gets.push(Get { host: domain.clone(), path: path.clone(), headers: Vec::new() });
                        let mut action = json!({ "cluster": "recorder", "include_vh_rate_limits": includes });
                        if route_has_lists {
                            action["rate_limits"] = json!([with_hits("route"), at_stage_1()]);
                        }
                        let mut route = json!({ "match": { "path": path }, "route": action });
                        add(&mut route, "typed_per_filter_config", specific);
                        routes.push(route);
                    }
                }
            }
            let mut host = json!({ "name": name, "domains": [domain], "routes": routes });
            add(&mut host, "typed_per_filter_config", specific);
            add(&mut host, "rate_limits", has_lists.then(|| json!([list("host")])));
            hosts.push(host);
        }
    }
    (hosts, gets)
}

fn at_stage_1() -> Value {
    let mut list = list("stage-1");
    list["stage"] = 1.into();
    list
}

fn add(to: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        to[name] = value;
    }
}

/// Virtual hosts and routes that are told apart by what they match.
pub(super) fn all_matches() -> (Vec<Value>, Vec<Get>) {
    let domains = [
        json!(["api.example.com", "port.example.com:80"]),
        json!(["*.example.com"]),
        json!(["*.api.example.com", "*-x.example.com"]),
        json!(["api.*"]),
        json!(["api.example.*"]),
        json!(["*"]),
    ];
    let hosts = domains.iter().enumerate().map(|(index, domains)| {
        let name = format!("m{index}");
        json!({ "name": name, "domains": domains, "routes": routes(&name) })
    });
    (hosts.collect(), all_gets())
}

/// A route for each kind of match.
fn routes(host: &str) -> Vec<Value> {
    let matches = [
        json!({ "path": "/exact" }),
        json!({ "path": "/Case", "case_sensitive": false }),
        json!({ "prefix": "/Fix", "case_sensitive": false }),
        json!({ "path_separated_prefix": "/below" }),
        json!({ "safe_regex": { "regex": "/[a-c]+[0-9]?" } }),
        json!({ "prefix": "/h", "headers": [ { "name": "x-a", "string_match": { "exact": "1" } } ] }),
        json!({ "prefix": "/h", "headers": [ { "name": "x-a", "present_match": true, "invert_match": true } ] }),
        json!({ "prefix": "/q", "query_parameters": [ { "name": "q", "string_match": { "prefix": "1" } } ] }),
        json!({ "prefix": "/q", "query_parameters": [ { "name": "p", "present_match": true } ] }),
        json!({ "prefix": "/" }),
    ];
    let each = matches.iter().enumerate().map(|(index, one)| {
        let name = format!("{host}-{index}");
        json!({ "match": one, "route": { "cluster": "recorder", "rate_limits": [list(&name)] } })
    });
    each.collect()
}

fn all_gets() -> Vec<Get> {
    let mut gets = Vec::new();
    for host in [
        "api.example.com",
        "API.Example.COM",
        "api.example.com:80",
        "port.example.com:80",
        "port.example.com",
        "a.example.com",
        "a.api.example.com",
        "b-x.example.com",
        "-x.example.com",
        "api.example.org",
        "api.test",
        "api.",
        "example.com",
        "other",
    ] {
        gets.push(Get { host: host.to_owned(), path: "/".to_owned(), headers: Vec::new() });
    }
    for path in [
        "/exact",
        "/exact/",
        "/exact?x",
        "/EXACT",
        "/case",
        "/CASE?x=1",
        "/fix",
        "/FIXed",
        "/below",
        "/below/x",
        "/belowx",
        "/below?x",
        "/abc",
        "/abc1",
        "/abc12",
        "/abc?/a",
        "/h",
        "/h?q=1",
        "/q",
        "/q?q=1",
        "/q?q=12",
        "/q?q=2",
        "/q?p",
        "/q?p=&q=3",
        "/q?q=2&q=1",
        "/else",
    ] {
        for headers in [vec![], vec![("x-a", "1")], vec![("x-a", "2")]] {
            gets.push(Get { host: "other".to_owned(), path: path.to_owned(), headers });
        }
    }
    gets
}

pub(super) fn config(hosts: &[Value], filter_lists: Option<Value>, recorder: SocketAddr) -> Value {
    let mut limiter = json!({
        "domain": "edge",
        "timeout": "10s",
        "failure_mode_deny": true,
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": "recorder" } }
        }
    });
    add(&mut limiter, "rate_limits", filter_lists);
    let filters = [
        node::filter("ratelimit", "ratelimit.v3.RateLimit", &limiter),
        node::filter("router", "router.v3.Router", &Value::Object(Map::new())),
    ];
    let listener = json!({ "name": "edge", "address": node::address("127.0.0.1", 0), "filter_chains": [ { "filters": [ {
        "name": "hcm",
        "typed_config": {
            "@type": format!("{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "edge",
            "http_filters": filters,
            "route_config": { "virtual_hosts": hosts }
        }
    } ] } ] });
    json!({
        "node": { "id": "lists", "cluster": "edge" },
        "admin": { "address": node::address("127.0.0.1", 0) },
        "static_resources": { "listeners": [listener], "clusters": [node::cluster(recorder)] }
    })
}
