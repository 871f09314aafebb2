use std::path::PathBuf;

use super::*;
use tollgate_core::actions::{Header, HttpRequest};

const TYPE: &str = "type.googleapis.com/envoy.extensions.filters";

fn file(text: &str) -> EnvoyFile {
    let mut report = Report::new(PathBuf::new());
    let file = from_text(text, &mut report);
    assert!(!report.has_errors(), "{:?}", ConfigErrors(report.into_errors()));
    file.unwrap_or_else(|Reported| panic!("{text}"))
}

/// A listener with one rate-limit filter; `filter` adds to its configuration, `routes` is all of `route_config`.
fn listener(filter: &str, routes: &str) -> String {
    format!(
        "static_resources: {{ listeners: [ {{ name: main, filter_chains: [ {{ filters: [ {{ name: hcm, typed_config: {{
          \"@type\": {TYPE}.network.http_connection_manager.v3.HttpConnectionManager,
          http_filters: [ {{ name: limiter, typed_config: {{
            \"@type\": {TYPE}.http.ratelimit.v3.RateLimit, domain: edge{filter} }} }} ],
          route_config: {{ {routes} }} }} }} ] }} ] }} ] }}"
    )
}

/// A list that makes the descriptor `from=<name>`.
fn list(name: &str) -> String {
    format!("{{ actions: [ {{ generic_key: {{ descriptor_key: from, descriptor_value: {name} }} }} ] }}")
}

fn typed(fields: &str) -> String {
    format!(
        "typed_per_filter_config: {{ limiter: {{ \"@type\": {TYPE}.http.ratelimit.v3.RateLimitPerRoute{fields} }} }}"
    )
}

fn get<'a>(host: &'a str, path: &'a str) -> HttpRequest<'a> {
    HttpRequest { method: b"GET", host: host.as_bytes(), path: path.as_bytes(), ..HttpRequest::default() }
}

/// The values of the descriptors that the chosen lists make.
fn made(file: &EnvoyFile, request: &HttpRequest<'_>) -> Vec<String> {
    let choice = file.choose(request, None).unwrap();
    let lists = choice.lists.iter().map(|one| one.list.as_ref().unwrap());
    let built = lists.filter_map(|list| {
        let built = list.descriptor(request).ok()?;
        let value = String::from_utf8_lossy(&built.entries[0].value).into_owned();
        Some(format!("{value}{}", built.hits.map_or(String::new(), |hits| format!(" {hits:?}"))))
    });
    built.collect()
}

#[test]
fn the_lists_are_taken_from_the_first_place_that_has_some() {
    let [filter_list, host_list, route_list] = ["filter", "host", "route"].map(list);
    let [typed_host, typed_route] =
        ["typed_host", "typed_route"].map(|name| typed(&format!(", rate_limits: [ {} ]", list(name))));
    let without = |option: &str| typed(&format!(", vh_rate_limits: {option}"));
    let include = "include_vh_rate_limits: true";
    // What the filter, the virtual host, the route and its `route` say besides, and what is made.
    let cases: [(&str, &str, &str, &str, &[&str]); 10] = [
        ("", "", "", "", &["route"]),
        ("", "", "", include, &["route", "host"]),
        ("", "", &without("INCLUDE"), "", &["route", "host"]),
        ("", "", &without("IGNORE"), "", &["route"]),
        ("", "", &without("IGNORE"), include, &["route", "host"]),
        (&filter_list, "", "", include, &["filter"]),
        (&filter_list, &typed_host, "", "", &["typed_host"]),
        (&filter_list, &typed_host, &typed_route, "", &["typed_route"]),
        ("", &typed_host, &without("INCLUDE"), "", &["route", "host"]),
        ("", &typed_host, &typed_route, include, &["typed_route"]),
    ];
    for (filter, host, route, action, expected) in cases {
        let filter = if filter.is_empty() { String::new() } else { format!(", rate_limits: [ {filter} ]") };
        let comma = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
        let routes = format!(
            "virtual_hosts: [ {{ name: all, domains: ['*'], rate_limits: [ {host_list} ]{}, routes: [ {{ match: {{ prefix: / }}, \
             route: {{ cluster: c, rate_limits: [ {route_list} ]{} }}{} }} ] }} ]",
            comma(host),
            comma(action),
            comma(route)
        );
        let file = file(&listener(&filter, &routes));
        assert_eq!(made(&file, &get("a", "/")), expected, "{filter} {host} {route} {action}");
    }
}

#[test]
fn the_lists_of_the_virtual_host_count_if_the_route_has_none() {
    let host_list = list("host");
    let routes = |route: &str| {
        format!(
            "virtual_hosts: [ {{ name: all, domains: ['*'], rate_limits: [ {host_list} ], routes: [ {{ match: {{ prefix: / }}, {route} }} ] }} ]"
        )
    };
    let of = |route: &str| made(&file(&listener("", &routes(route))), &get("a", "/"));
    assert_eq!(of("route: { cluster: c }"), ["host"]);
    assert_eq!(of(&format!("route: {{ cluster: c }}, {}", typed(", vh_rate_limits: IGNORE"))), [""; 0]);
    assert_eq!(
        of("direct_response: { status: 200 }"),
        [""; 0],
        "Envoy does not limit what it answers itself"
    );
    let disabled = "typed_per_filter_config: { limiter: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }";
    assert_eq!(of(&format!("route: {{ cluster: c }}, {disabled}")), [""; 0]);
    let domain =
        file(&listener("", &routes(&format!("route: {{ cluster: c }}, {}", typed(", domain: other")))));
    assert_eq!(domain.choose(&get("a", "/"), None).unwrap().domain, "other");
}

#[test]
fn a_virtual_host_is_chosen_by_the_closest_domain() {
    let hosts: Vec<String> = [("'*'", "any"), ("'*.example.com'", "end"), ("'*.api.example.com'", "longer"), ("'api.*'", "start"), ("[api.example.com, b]", "exact")]
        .iter()
        .map(|(domains, name)| {
            let domains = if domains.starts_with('[') { (*domains).to_owned() } else { format!("[{domains}]") };
            format!("{{ name: {name}, domains: {domains}, routes: [ {{ match: {{ prefix: / }}, route: {{ rate_limits: [ {} ] }} }} ] }}", list(name))
        })
        .collect();
    let hosts = format!("virtual_hosts: [ {} ]", hosts.join(", "));
    let with_port = file(&listener("", &hosts));
    for (host, expected) in [
        ("API.example.com", "exact"),
        ("b", "exact"),
        ("x.example.com", "end"),
        ("x.api.example.com", "longer"),
        ("api.example.org", "start"),
        (".example.com", "any"),
        ("api.example.com:80", "start"),
        ("", "any"),
    ] {
        assert_eq!(made(&with_port, &get(host, "/")), [expected], "{host}");
    }
    let without_port = file(&listener("", &format!("ignore_port_in_host_matching: true, {hosts}")));
    assert_eq!(made(&without_port, &get("api.example.com:80", "/")), ["exact"]);
}

#[test]
fn the_first_route_whose_match_holds_is_taken() {
    let matches = [
        ("path: /exact", "path"),
        ("path: /case, case_sensitive: false", "case"),
        ("path_separated_prefix: /below", "below"),
        ("safe_regex: { regex: '/[0-9]+' }", "regex"),
        ("prefix: /, headers: [ { name: x-a, string_match: { exact: b } } ]", "header"),
        ("prefix: /, query_parameters: [ { name: q, string_match: { exact: '1' } } ]", "query"),
        ("prefix: /api", "prefix"),
    ];
    let routes: Vec<String> = matches
        .iter()
        .map(|(one, name)| {
            format!("{{ name: {name}, match: {{ {one} }}, route: {{ rate_limits: [ {} ] }} }}", list(name))
        })
        .collect();
    let routes =
        format!("virtual_hosts: [ {{ name: all, domains: ['*'], routes: [ {} ] }} ]", routes.join(", "));
    let file = file(&listener("", &routes));
    for (path, expected) in [
        ("/exact?x=1", Some("path")),
        ("/exact/", None),
        ("/CASE", Some("case")),
        ("/EXACT", None),
        ("/below", Some("below")),
        ("/below/x", Some("below")),
        ("/belowx", None),
        ("/123", Some("regex")),
        ("/123a", None),
        ("/api/1?q=1", Some("query")),
        ("/api/1?q=2", Some("prefix")),
    ] {
        assert_eq!(made(&file, &get("a", path)).first().map(String::as_str), expected, "{path}");
    }
    let headers = [Header { name: b"x-a", value: b"b" }];
    assert_eq!(made(&file, &HttpRequest { headers: &headers, ..get("a", "/") }), ["header"]);

    let choice = file.choose(&get("a", "/nothing"), Some("regex")).unwrap();
    assert!(choice.way[1].contains("route regex (safe_regex /[0-9]+, line "), "{:?}", choice.way);
    let error = file.choose(&get("a", "/"), Some("none")).unwrap_err();
    assert!(error.to_string().starts_with("no route is called none; there are path, case"), "{error}");
}

#[test]
fn a_condition_that_cannot_be_evaluated_is_said_and_passes_the_route_over() {
    let routes = format!(
        "virtual_hosts: [ {{ name: all, domains: ['*'], routes: [
           {{ match: {{ prefix: /a, grpc: {{}} }}, route: {{ rate_limits: [ {} ] }} }},
           {{ match: {{ prefix: / }}, route: {{ rate_limits: [ {} ] }} }} ] }} ]",
        list("grpc"),
        list("rest")
    );
    let file = file(&listener("", &routes));
    let choice = file.choose(&get("a", "/a"), None).unwrap();
    assert!(
        choice.notes[0].contains("(prefix /a, line ") && choice.notes[0].contains("`grpc`"),
        "{:?}",
        choice.notes
    );
    assert_eq!(made(&file, &get("a", "/a")), ["rest"]);
    assert!(file.choose(&get("a", "/b"), None).unwrap().notes.is_empty(), "its prefix does not match");
}

#[test]
fn a_list_that_cannot_be_read_says_so_and_the_others_count() {
    let lists = [
        "{ actions: [ { extension: { name: x } } ] }",
        "{ actions: [ { path: {} } ] }",
        "{ stage: 1, apply_on_stream_done: true, limit: { dynamic_metadata: {} }, disable_key: k, hits_addend: { number: 5 }, actions: [ { remote_address: {} } ] }",
    ];
    let lists = format!("rate_limits: [ {}, {} ]", lists.join(", "), list("good"));
    let routes = |place: &str| {
        format!(
            "virtual_hosts: [ {{ name: all, domains: ['*'], routes: [ {{ match: {{ prefix: / }}, {place} }} ] }} ]"
        )
    };
    let file = file(&listener("", &routes(&format!("route: {{ {lists} }}"))));
    let choice = file.choose(&get("a", "/"), None).unwrap();
    let problem = |index: usize| choice.lists[index].list.as_ref().unwrap_err().as_str();
    assert!(problem(0).contains("there is no action 'extension' here"), "{}", problem(0));
    assert!(problem(1).contains("Envoy has no action `path`"), "{}", problem(1));
    let third = choice.lists[2];
    assert_eq!((third.stage, third.on_stream_done, third.has_override), (1, true, true));
    assert!(third.list.as_ref().unwrap().hits_addend().is_none(), "Envoy ignores it in a route's own lists");
    assert!(choice.lists[3].list.is_ok());
}

#[test]
fn hits_addend_counts_in_typed_lists() {
    let list = "rate_limits: [ { hits_addend: { number: 5 }, actions: [ { generic_key: { descriptor_value: x } } ] } ]";
    let routes = format!(
        "virtual_hosts: [ {{ name: all, domains: ['*'], routes: [ {{ match: {{ prefix: / }}, route: {{}}, {} }} ] }} ]",
        typed(&format!(", {list}"))
    );
    assert_eq!(made(&file(&listener("", &routes)), &get("a", "/")), ["x Take(5)"]);
}

#[test]
fn a_file_without_the_filter_or_without_routes_is_said_to_be_so() {
    let choose = |text: &str| file(text).choose(&get("a", "/"), None).map(|_| ()).unwrap_err();
    assert_eq!(choose("a: b"), NoChoice::NoFilter);
    let elsewhere = listener("", "").replace("route_config: {  }", "rds: { route_config_name: r }");
    assert_eq!(choose(&elsewhere), NoChoice::NoRoutes("main".to_owned()));
}
