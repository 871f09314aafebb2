mod variables;

use std::collections::HashMap;

use super::*;
use crate::cli::Cli;

/// The variables of Envoy Gateway's default Deployment.
const GATEWAY: &[(&str, &str)] = &[
    ("RUNTIME_ROOT", "/data"),
    ("RUNTIME_SUBDIRECTORY", "ratelimit"),
    ("RUNTIME_IGNOREDOTFILES", "true"),
    ("RUNTIME_WATCH_ROOT", "false"),
    ("LOG_LEVEL", "info"),
    ("USE_STATSD", "false"),
    ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
    ("CONFIG_GRPC_XDS_SERVER_URL", "envoy-gateway:18001"),
    ("CONFIG_GRPC_XDS_NODE_ID", "envoy-ratelimit"),
    ("GRPC_SERVER_USE_TLS", "true"),
    ("GRPC_SERVER_TLS_CERT", "/certs/tls.crt"),
    ("GRPC_SERVER_TLS_KEY", "/certs/tls.key"),
    ("GRPC_SERVER_TLS_CA_CERT", "/certs/ca.crt"),
    ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "true"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "/certs/tls.crt"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "/certs/tls.key"),
    ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", "/certs/ca.crt"),
    ("FORCE_START_WITHOUT_INITIAL_CONFIG", "true"),
    ("REDIS_SOCKET_TYPE", "tcp"),
    ("REDIS_URL", "redis.redis.svc:6379"),
    ("USE_PROMETHEUS", "true"),
    ("PROMETHEUS_ADDR", "127.0.0.1:19001"),
    ("PROMETHEUS_MAPPER_YAML", "/etc/statsd-exporter/conf.yaml"),
];

fn translated(variables: &[(&str, &str)]) -> Result<Translated, String> {
    translate(&variables.iter().copied().collect(), &[]).map_err(|refused| refused.to_string())
}

/// The flags, without the dashes.
fn flags(variables: &[(&str, &str)]) -> HashMap<String, String> {
    let translated = translated(variables).unwrap();
    let text = |word: OsString| word.into_string().unwrap();
    let line = translated.line().into_iter().map(text);
    line.filter_map(|word| {
        word.strip_prefix("--")?.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()))
    })
    .collect()
}

fn with_redis<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("REDIS_URL", "redis:6379")], variables].concat()
}

#[test]
fn the_name_of_the_program_and_the_subcommand_both_ask_for_it() {
    let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
    for (words, expected) in [
        ("/bin/ratelimit", Some(0)),
        ("ratelimit --quotaRateLimitServiceAddr=a b", Some(2)),
        ("tollgate ratelimit", Some(0)),
        ("/usr/local/bin/tollgate ratelimit x", Some(1)),
        ("tollgate serve ratelimit", None),
        ("tollgate", None),
        ("ratelimit --help", None),
        ("tollgate ratelimit --version", None),
        ("/opt/ratelimit/tollgate serve", None),
    ] {
        assert_eq!(ignored(&line(words)).map(<[OsString]>::len), expected, "{words}");
    }
}

#[test]
fn the_environment_of_envoy_gateway_becomes_these_flags() {
    let mut flags = flags(GATEWAY);
    for (flag, value) in [
        ("admin-listen", "0.0.0.0:8080"),
        ("grpc-listen", "0.0.0.0:8081"),
        ("debug-listen", "0.0.0.0:6070"),
        ("metrics-listen", "127.0.0.1:19001"),
        ("healthy-after", "store"),
        ("config-folder", "visible"),
        ("xds-server", "envoy-gateway:18001"),
        ("xds-node-id", "envoy-ratelimit"),
        ("xds-tls", "on"),
        ("xds-ca", "/certs/ca.crt"),
        ("xds-cert", "/certs/tls.crt"),
        ("xds-key", "/certs/tls.key"),
        ("xds-wait-for-rules", "off"),
        ("store", "redis://redis.redis.svc:6379"),
        ("grpc-tls-cert", "/certs/tls.crt"),
        ("grpc-tls-key", "/certs/tls.key"),
        ("grpc-client-ca", "/certs/ca.crt"),
        ("log-level", "info"),
        ("log-format", "text"),
        ("headers", "retry-after,problem-body"),
        ("drain-wait", "10s"),
        ("admin-json", "on"),
        ("reference-metrics", "on"),
        ("traces", "off"),
    ] {
        assert_eq!(flags.remove(flag).as_deref(), Some(value), "--{flag}");
    }
    assert_eq!(flags, HashMap::new());
}

#[test]
fn each_flag_is_one_of_serve() {
    let files = with_redis(&[
        ("NEAR_LIMIT_RATIO", "0.7"),
        ("SHADOW_MODE", "t"),
        ("QUOTA_MODE", "0"),
        ("RESPONSE_DYNAMIC_METADATA", "TRUE"),
        ("GRPC_MAX_CONNECTION_AGE", "1h30m"),
        ("GRPC_MAX_CONNECTION_AGE_GRACE", "0"),
        ("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "1"),
        ("REDIS_TLS", "true"),
        ("REDIS_TLS_CACERT", "/ca"),
        ("REDIS_TLS_CLIENT_CERT", "/cert"),
        ("REDIS_TLS_CLIENT_KEY", "/key"),
        ("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "true"),
        ("TRACING_ENABLED", "true"),
        ("TRACING_EXPORTER_PROTOCOL", "grpc"),
        ("TRACING_SAMPLING_RATE", "0.6"),
        ("TRACING_SERVICE_NAME", "envoy-ratelimit"),
    ]);
    let more = [
        ("CONFIG_GRPC_XDS_NODE_METADATA", "a=b,c=d"),
        ("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", "x-a:b,x-c:d"),
        ("CONFIG_GRPC_XDS_SERVER_TLS_SAN", "gateway"),
        ("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "1000000"),
        ("USE_CALENDAR_MONTH_RATE_LIMIT", "true"),
    ];
    for variables in [files, [GATEWAY, &more].concat()] {
        let translated = translated(&variables).unwrap();
        Cli::translated(translated).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    }
    // What clap refuses is told by the variable's name.
    let error = Cli::translated(
        translated(&[GATEWAY, &[("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "3")]].concat()).unwrap(),
    );
    let told = error.unwrap_err().to_string();
    assert!(told.contains("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES (as --xds-max-message)"), "{told}");
}

#[test]
fn every_form_of_an_address_of_redis_becomes_a_store() {
    for (variables, store) in [
        (&[("REDIS_URL", "redis:6379")][..], "redis://redis:6379"),
        (&[("REDIS_URL", ":6379")], "redis://127.0.0.1:6379"),
        (&[("REDIS_URL", "[::1]:6379")], "redis://[::1]:6379"),
        (&[("REDIS_URL", "redis://u:p@h:1/3")], "redis://u:p@h:1/3"),
        (&[("REDIS_URL", "rediss://h:1")], "rediss://h:1"),
        (&[("REDIS_URL", "h:1"), ("REDIS_TLS", "true")], "rediss://h:1"),
        (&[("REDIS_URL", "redis://h:1"), ("REDIS_TLS", "1")], "rediss://h:1"),
        (&[("REDIS_URL", "h:1"), ("REDIS_AUTH", "s:3/@")], "redis://s:3%2F%40@h:1"),
        (&[("REDIS_URL", "h:1"), ("REDIS_AUTH", "secret")], "redis://:secret@h:1"),
        (&[("REDIS_URL", "/run/redis.sock")], "unix:///run/redis.sock"),
        (&[("REDIS_URL", "/run/redis.sock"), ("REDIS_SOCKET_TYPE", "unix")], "unix:///run/redis.sock"),
        (&[("REDIS_URL", "/r.sock"), ("REDIS_AUTH", "p")], "unix://:p@/r.sock"),
        (&[("REDIS_URL", "h:1"), ("REDIS_SOCKET_TYPE", "tcp"), ("REDIS_TYPE", "single")], "redis://h:1"),
        (
            &[("REDIS_URL", "mymaster,a:1,b:2"), ("REDIS_TYPE", "SENTINEL")],
            "redis+sentinel://a:1,b:2/mymaster",
        ),
        (&[("REDIS_URL", "a:1,b:2"), ("REDIS_TYPE", "cluster")], "redis+cluster://a:1,b:2"),
        (
            &[
                ("REDIS_URL", "redis://a:1,b:2"),
                ("REDIS_TYPE", "CLUSTER"),
                ("REDIS_TLS", "true"),
                ("REDIS_AUTH", "p/w"),
            ],
            "rediss+cluster://:p%2Fw@a:1,b:2",
        ),
        (
            &[
                ("REDIS_URL", "m,a:1"),
                ("REDIS_TYPE", "Sentinel"),
                ("REDIS_TLS", "true"),
                ("REDIS_AUTH", "u:p"),
                ("REDIS_SENTINEL_AUTH", "s:t@"),
            ],
            "rediss+sentinel://u:p@a:1/m?sentinel_user=s&sentinel_password=t%40",
        ),
    ] {
        assert_eq!(flags(variables)["store"], store, "{variables:?}");
        let url: crate::cli::StoreUrl = store.parse().unwrap();
        assert!(!url.to_string().contains("hidden"), "{store} is an address");
    }
}

#[test]
fn what_cannot_be_honoured_ends_the_start_and_says_what_to_write() {
    for (variables, says) in [
        (&[][..], "REDIS_URL: write the address of Redis"),
        (&[("REDIS_URL", "a:1,b:2")], "REDIS_URL: name one Redis"),
        (&[("REDIS_URL", "a:1"), ("REDIS_TYPE", "Sentinel")], "REDIS_URL: write the name of the master"),
        (&[("REDIS_URL", "a:1,b:1"), ("REDIS_TYPE", "sentinel")], "REDIS_URL: write the name of the master"),
        (
            &[("REDIS_URL", "a:1"), ("REDIS_TYPE", "MANY")],
            "REDIS_TYPE is \"MANY\": set it to SINGLE, SENTINEL or CLUSTER",
        ),
        (
            &[("REDIS_URL", "/run/redis.sock"), ("REDIS_TYPE", "CLUSTER")],
            "REDIS_URL: write some nodes of the Redis Cluster",
        ),
        (&[("REDIS_URL", "/sock"), ("REDIS_SOCKET_TYPE", "tcp")], "REDIS_URL: it is a path"),
        (&[("REDIS_URL", "a:1"), ("REDIS_SOCKET_TYPE", "unix")], "REDIS_URL: write the path"),
        (&[("REDIS_URL", "/sock"), ("REDIS_TLS", "true")], "REDIS_TLS is \"true\": a unix socket has no TLS"),
        (&[("REDIS_URL", "redis://p@h:1"), ("REDIS_AUTH", "p")], "REDIS_AUTH: REDIS_URL has a login, too"),
        (&[("BACKEND_TYPE", "memcache")], "BACKEND_TYPE is \"memcache\": Tollgate keeps buckets in Redis"),
        (&[("REDIS_URL", "a:1"), ("CACHE_KEY_PREFIX", "p")], "CACHE_KEY_PREFIX is \"p\": Tollgate's keys"),
        (&[("REDIS_URL", "a:1"), ("GRPC_UDS", "/s")], "GRPC_UDS is \"/s\": Tollgate does not listen"),
        (&[("REDIS_URL", "a:1"), ("CONFIG_TYPE", "file")], "CONFIG_TYPE is \"file\": write FILE or"),
        (&[("REDIS_URL", "a:1"), ("LOG_LEVEL", "loud")], "LOG_LEVEL is \"loud\": write error, warn"),
        (&[("REDIS_URL", "a:1"), ("GRPC_SERVER_USE_TLS", "true")], "GRPC_SERVER_TLS_CERT: name a file"),
        (&[("REDIS_URL", "a:1"), ("SHADOW_MODE", "maybe")], "SHADOW_MODE is \"maybe\": write true or false"),
        (&[("REDIS_URL", "a:1"), ("PORT", "eighty")], "PORT is \"eighty\": write a port"),
        (&[("REDIS_URL", "a:1"), ("REDIS_TIMEOUT", "10")], "REDIS_TIMEOUT is \"10\": write a duration"),
        (
            &[("REDIS_URL", "a:1"), ("HOST", "no.such.host.invalid")],
            "HOST is \"no.such.host.invalid\": write an IP",
        ),
        (
            &[("REDIS_URL", "a:1"), ("USE_PROMETHEUS", "1"), ("PROMETHEUS_ADDR", "9090x")],
            "PROMETHEUS_ADDR is",
        ),
        (
            &[("REDIS_URL", "rediss://a:1"), ("REDIS_TLS_CLIENT_CERT", "/c")],
            "REDIS_TLS_CLIENT_KEY: name a file",
        ),
        (
            &[("REDIS_URL", "a:1"), ("RUNTIME_ROOT", "/a,b")],
            "RUNTIME_ROOT is \"/a,b\": Tollgate takes a comma",
        ),
    ] {
        let told = translated(variables).map(|translated| translated.line()).unwrap_err();
        assert!(told.contains(says), "{variables:?}: {told}");
    }
    // All of it is told at once, and no secret is.
    let headers = ("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", "authorization:bearer:s3cret");
    let variables = [("REDIS_URL", "s3cret,x"), ("PORT", "x"), ("REDIS_AUTH", "s3cret"), headers];
    let told = translated(&variables).map(drop).unwrap_err();
    assert!(told.lines().count() == 3 && !told.contains("s3cret"), "{told}");
}

#[test]
fn the_folder_of_rules_is_where_the_reference_looks() {
    for (variables, folder) in [
        (&[][..], "/srv/runtime_data/current/config"),
        (&[("RUNTIME_ROOT", "/data"), ("RUNTIME_SUBDIRECTORY", "ratelimit")], "/data/ratelimit/config"),
        (&[("RUNTIME_ROOT", "/data/"), ("RUNTIME_SUBDIRECTORY", "/a/b/")], "/data/a/b/config"),
        (&[("RUNTIME_ROOT", "/data"), ("RUNTIME_APPDIRECTORY", "limits")], "/data/limits"),
    ] {
        let flags = flags(&with_redis(variables));
        assert_eq!((flags["config"].as_str(), flags["config-folder"].as_str()), (folder, "all"));
    }
}

#[test]
fn hosts_are_those_of_go() {
    let listen = |host: &str| flags(&with_redis(&[("HOST", host), ("PORT", "7")]))["admin-listen"].clone();
    let everywhere = listen("::");
    assert!(["[::]:7", "0.0.0.0:7"].contains(&everywhere.as_str()), "{everywhere}");
    assert_eq!(listen(""), everywhere, "an empty host is every one");
    assert_eq!(listen("127.0.0.1"), "127.0.0.1:7");
    assert_eq!(listen("::1"), "[::1]:7");
    assert_eq!(listen("localhost"), "127.0.0.1:7");
}

#[test]
fn variables_of_tollgate_take_precedence_and_are_named() {
    let variables = with_redis(&[
        ("TOLLGATE_STORE", "redis://other:1"),
        ("TOLLGATE_GRPC_LISTEN", "127.0.0.1:1"),
        ("TOLLGATE_DRAIN_WAIT", "1s"),
        ("TOLLGATE_CONFIG", "/x"),
        ("GRPC_PORT", "9"),
        ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
    ]);
    let translated = translated(&variables).unwrap();
    let line: Vec<String> =
        translated.line().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    for flag in ["--store=", "--grpc-listen=", "--drain-wait=", "--config=", "--xds-server="] {
        assert!(!line.iter().any(|word| word.starts_with(flag)), "{flag}: {line:?}");
    }
    let overridden = translated.told.overridden.join(", ");
    for named in [
        "REDIS_URL (by TOLLGATE_STORE)",
        "GRPC_PORT (by TOLLGATE_GRPC_LISTEN)",
        "CONFIG_TYPE (by TOLLGATE_CONFIG)",
    ] {
        assert!(overridden.contains(named), "{named}: {overridden}");
    }
}

#[test]
fn settings_that_are_kept_and_do_something_else_are_warned_of() {
    let warnings =
        |variables: &[(&str, &str)]| translated(&with_redis(variables)).unwrap().told.warnings.join("\n");
    assert_eq!(warnings(&[]), "");
    let path = warnings(&[
        ("USE_PROMETHEUS", "true"),
        ("PROMETHEUS_ADDR", "127.0.0.1:1"),
        ("PROMETHEUS_PATH", "/m"),
    ]);
    assert!(path.contains("metrics are at /metrics"), "{path}");
    let header = [("LIMIT_RESPONSE_HEADERS_ENABLED", "true"), ("LIMIT_LIMIT_HEADER", "X-Limit")];
    assert!(warnings(&header).contains("the header is called ratelimit-limit"));
    let ignored = translate(&with_redis(&[]).into_iter().collect(), &[OsString::from("-x")]).unwrap();
    assert!(ignored.told.warnings[0].contains("these arguments are ignored"), "{:?}", ignored.told);
}

#[test]
fn traces_are_as_in_the_reference_and_opentelemetrys_variables_count_only_with_them() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    let on = [
        ("TRACING_ENABLED", "true"),
        ("TRACING_SERVICE_NAME", "a,b"),
        ("TRACING_SERVICE_INSTANCE_ID", "pod-1"),
        ("TRACING_SAMPLING_RATE", "0.6"),
        endpoint,
    ];
    let made = flags(&with_redis(&on));
    for (flag, value) in [
        ("traces", "on"),
        ("traces-protocol", "http/protobuf"),
        ("traces-ratio", "0.6"),
        ("traces-resource", "service.name=a%2Cb,service.instance.id=pod-1"),
    ] {
        assert_eq!(made.get(flag).map(String::as_str), Some(value), "--{flag}");
    }
    let told = translated(&with_redis(&on)).unwrap().told;
    assert_eq!(told.without_effect, Vec::<String>::new());
    assert!(told.honoured.iter().any(|name| name == endpoint.0), "by its own name: {:?}", told.honoured);
    let off = with_redis(&[endpoint, ("TRACING_SERVICE_NAME", "x")]);
    assert_eq!(flags(&off).get("traces").map(String::as_str), Some("off"));
    let told = translated(&off).unwrap().told;
    assert_eq!(told.without_effect, ["OTEL_EXPORTER_OTLP_ENDPOINT", "TRACING_SERVICE_NAME"]);
    let wrong = [("TRACING_ENABLED", "1"), ("TRACING_EXPORTER_PROTOCOL", "zipkin")];
    let told = translated(&with_redis(&wrong)).unwrap_err();
    assert!(told.contains("TRACING_EXPORTER_PROTOCOL is \"zipkin\": write http or grpc"), "{told}");
}
