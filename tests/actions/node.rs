//! The configuration of the Envoy that asks the recorder: the corpus in its ratelimit filter, and filters that write
//! metadata.

use std::{env, net::SocketAddr};

use lab::envoy::Config;
use serde_json::{Value, json};

/// The metadata that the filter `set_metadata` writes. The engine gets the same.
pub(crate) fn fixed() -> Value {
    json!({
        "deep": { "name": "below", "number": 1 }, "number": 3, "half": "2.5", "yes": true, "null": null, "empty": "",
        "list": [1, "two", { "a": [] }], "single": { "only": "one" }
    })
}

/// The metadata of the route.
pub(crate) fn route() -> Value {
    json!({ "owner": "team-a", "deep": { "name": "of the route" } })
}

/// A constant, so that the requests are always the same, unless TOLLGATE_SEED is set.
pub(crate) fn seed() -> u64 {
    env::var("TOLLGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(16)
}

pub(crate) fn config(corpus: &[Value], recorder: SocketAddr) -> Config {
    let config = json!({
        "node": { "id": "actions", "cluster": "edge" },
        "admin": { "address": address("127.0.0.1", 0) },
        // Without this Envoy takes commands in descriptor values for plain text.
        "layered_runtime": { "layers": [ { "name": "static", "static_layer": {
            "envoy.reloadable_features.enable_formatter_for_ratelimit_action_descriptor_value": true
        } } ] },
        "static_resources": { "listeners": [ listener(corpus) ], "clusters": [ cluster(recorder) ] }
    });
    of_json(&config)
}

/// The harness starts from a file of envoy/, so the whole text of one is replaced. JSON is valid YAML.
pub(crate) fn of_json(config: &Value) -> Config {
    let file = Config::upstream().expect("a file of envoy/");
    let whole = file.text().to_owned();
    file.replace(&whole, &config.to_string()).expect("the whole text stands there once")
}

fn listener(corpus: &[Value]) -> Value {
    let filters = [
        filter(
            "header_to_metadata",
            "header_to_metadata.v3.Config",
            &json!({ "request_rules": [
            { "header": "x-plan", "on_header_present": { "metadata_namespace": "tenant", "key": "plan" } },
            { "header": "x-weight",
              "on_header_present": { "metadata_namespace": "tenant", "key": "weight", "type": "NUMBER" } }
        ] }),
        ),
        filter(
            "set_metadata",
            "set_metadata.v3.Config",
            &json!({
                "metadata": [ { "metadata_namespace": "fixed", "value": fixed() } ]
            }),
        ),
        filter(
            "ratelimit",
            "ratelimit.v3.RateLimit",
            &json!({
                "domain": "edge",
                "timeout": "10s",
                "failure_mode_deny": true,
                "rate_limits": corpus,
                "rate_limit_service": {
                    "transport_api_version": "V3",
                    "grpc_service": { "envoy_grpc": { "cluster_name": "recorder" } }
                }
            }),
        ),
        filter("router", "router.v3.Router", &json!({})),
    ];
    let routes = json!([ {
        "match": { "prefix": "/" },
        "route": { "cluster": "recorder" },
        "metadata": { "filter_metadata": { "route": route() } }
    } ]);
    json!({
        "name": "edge",
        "address": address("127.0.0.1", 0),
        "filter_chains": [ { "filters": [ {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "edge",
                // The address of the client is then the last one in x-forwarded-for.
                "use_remote_address": false,
                "http_filters": filters,
                "route_config": { "virtual_hosts": [ { "name": "all", "domains": ["*"], "routes": routes } ] }
            }
        } ] } ]
    })
}

pub(crate) fn filter(name: &str, kind: &str, config: &Value) -> Value {
    let mut typed = config.clone();
    typed["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": typed })
}

pub(crate) fn cluster(recorder: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(&recorder.ip().to_string(), recorder.port()) } });
    json!({
        "name": "recorder",
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} }
            }
        },
        "load_assignment": { "cluster_name": "recorder", "endpoints": [ { "lb_endpoints": [endpoint] } ] }
    })
}

pub(crate) fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}
