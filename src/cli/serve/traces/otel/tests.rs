use std::collections::HashMap;

use super::*;

fn flags() -> TraceFlags {
    TraceFlags { traces: None, traces_protocol: None, traces_ratio: None, traces_resource: None }
}

fn otel<'v>(variables: &'v [(&'v str, &'v str)]) -> Otel<impl Fn(&str) -> Option<String> + 'v> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Otel::new(move |name| variables.get(name).map(ToString::to_string))
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let mut otel = otel(variables);
    let settings = otel.settings(&flags()).expect("sound");
    assert!(otel.warnings().is_empty(), "{:?}", otel.warnings());
    settings
}

fn warned(variables: &[(&str, &str)]) -> String {
    let mut otel = otel(variables);
    otel.settings(&flags()).expect("sound");
    otel.warnings().join("\n")
}

fn refused(variables: &[(&str, &str)]) -> String {
    otel(variables).settings(&flags()).expect_err("not sound").to_string()
}

#[test]
fn without_variables_everything_is_as_the_specification_says() {
    let all = settings(&[]);
    assert_eq!(all.endpoint.to_string(), "http://localhost:4318/v1/traces");
    assert_eq!((all.protocol, all.timeout), (Protocol::Http, Duration::from_secs(10)));
    assert_eq!((all.max_queue, all.max_batch), (2_048, 512));
    let times = (all.schedule_delay, all.export_timeout);
    assert_eq!(times, (Duration::from_secs(5), Duration::from_secs(30)));
    assert_eq!(all.sampler, Sampler { ratio: Ratio::ALL, is_parent_based: true });
    assert_eq!(all.propagators, Propagators { w3c: true, b3: true, b3_multi: true });
    assert!(all.resource.contains(&("service.name".to_owned(), "tollgate".to_owned())));
    let grpc = settings(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!((grpc.protocol, grpc.endpoint.port), (Protocol::Grpc, 4_317));
}

#[test]
fn an_address_of_all_signals_gets_a_path_and_one_of_traces_alone_keeps_its_own() {
    for (variable, url, shown) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "http://c:4318/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/base/", "http://c:4318/base/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c", "https://c:443/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "HTTP://[::1]:9", "http://[::1]:9/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:9/v1/own", "http://c:9/v1/own"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:9", "http://c:9/"),
    ] {
        assert_eq!(settings(&[(variable, url)]).endpoint.to_string(), shown);
    }
    let both =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/x")];
    assert_eq!(settings(&both).endpoint.host, "b");
}

#[test]
fn an_address_that_cannot_be_used_ends_the_start_and_hides_what_may_be_secret() {
    for url in
        ["collector:4317", "ftp://c", "http://", "http://c:port", "http://c:99999", "http://c?x", "://"]
    {
        let told = refused(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]);
        assert!(told.starts_with(&format!("OTEL_EXPORTER_OTLP_ENDPOINT is {url:?}: ")), "{told}");
    }
    let told = refused(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cret@c")]);
    assert!(told.contains("OTEL_EXPORTER_OTLP_HEADERS") && !told.contains("s3cret"), "{told}");
    for list in ["authorization", "a b=s3cret", "a=s3cret%0A", "a=%zz", "=s3cret"] {
        let told = refused(&[("OTEL_EXPORTER_OTLP_HEADERS", list)]);
        assert!(told.starts_with("OTEL_EXPORTER_OTLP_HEADERS: ") && !told.contains("s3cret"), "{told}");
    }
    let half = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key")];
    assert!(refused(&half).contains("needed together"));
}

#[test]
fn headers_and_files_of_traces_go_before_those_of_all_signals() {
    let all = settings(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "A=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", " Authorization = Bearer%20x%2Cy , b=2,"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/own-ca"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "700"),
    ]);
    let shown: Vec<_> = all.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(shown, [("authorization", &b"Bearer x,y"[..]), ("b", b"2")]);
    let tls = all.endpoint.tls.expect("TLS");
    assert_eq!(tls.ca.as_deref(), Some(std::path::Path::new("/own-ca")));
    assert_eq!(all.timeout, Duration::from_millis(700));
}

#[test]
fn samplers_have_the_names_of_the_specification() {
    let sampler =
        |name, arg| settings(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
    let quarter = Ratio::parse("0.25").expect("a ratio");
    for (name, ratio, is_parent_based) in [
        ("always_on", Ratio::ALL, false),
        ("always_off", Ratio::NONE, false),
        ("traceidratio", quarter, false),
        ("parentbased_always_on", Ratio::ALL, true),
        ("parentbased_always_off", Ratio::NONE, true),
        ("parentbased_traceidratio", quarter, true),
    ] {
        assert_eq!(sampler(name, "0.25"), Sampler { ratio, is_parent_based }, "{name}");
    }
    let mut flagged = flags();
    flagged.traces_ratio = Ratio::parse("0.5");
    let over = otel(&[("OTEL_TRACES_SAMPLER", "always_off")]).settings(&flagged).expect("sound").sampler;
    assert_eq!(over, Sampler { ratio: Ratio::parse("0.5").expect("a ratio"), is_parent_based: true });
}

#[test]
fn a_value_that_is_not_known_is_warned_about_and_counts_as_not_set() {
    for (variable, value) in [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_PROPAGATORS", "xray"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name"),
    ] {
        let told = warned(&[(variable, value)]);
        assert!(told.starts_with(&format!("{variable} is {value:?}, which counts as not set: ")), "{told}");
    }
    let told = warned(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]);
    assert!(told.contains("OTEL_TRACES_SAMPLER_ARG"), "{told}");
}

#[test]
fn the_flag_names_the_service_before_the_variables_do() {
    let name = |variables: &[(&str, &str)], flag: Option<&str>| {
        let flags = TraceFlags { traces_resource: flag.map(str::to_owned), ..flags() };
        let resource = otel(variables).settings(&flags).expect("sound").resource;
        let mut names = resource.into_iter().filter(|(name, _)| name == "service.name");
        let found = names.next().expect("a name").1;
        assert_eq!(names.next(), None);
        found
    };
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b,team=x");
    assert_eq!(name(&[attributes], None), "a b");
    assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "c")], None), "c");
    assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "c")], Some("service.name=d")), "d");
}

#[test]
fn traces_are_on_only_if_a_variable_asks_for_them() {
    for (variables, is_on) in [
        (&[][..], false),
        (&[("OTEL_SERVICE_NAME", "x")], false),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c")], true),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
        (&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")], false),
        (&[("OTEL_TRACES_EXPORTER", "console, otlp")], true),
    ] {
        assert_eq!(otel(variables).asks_for_traces(), is_on, "{variables:?}");
    }
    assert!(otel(&[("OTEL_SDK_DISABLED", "True")]).is_disabled());
    assert!(!otel(&[("OTEL_SDK_DISABLED", "1")]).is_disabled());
}

#[test]
fn propagators_are_those_that_are_listed() {
    let only = settings(&[("OTEL_PROPAGATORS", "b3, baggage")]).propagators;
    assert_eq!(only, Propagators { w3c: false, b3: true, b3_multi: false });
    let none = settings(&[("OTEL_PROPAGATORS", "none")]).propagators;
    assert_eq!(none, Propagators { w3c: false, b3: false, b3_multi: false });
}
