//! Tollgate says why a request is not limited: by a warning where it cannot be intended, by a count for each reason,
//! and at debug by a line for each descriptor.

mod support;

use std::time::Duration;

use lab::{
    http,
    tollgate::{Serve, Tollgate},
};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
    rate_limit_response::Code as Overall, rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

const LIMITS: &str = "
domain: edge
descriptors:
- { key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 } }
- { key: user, value: admin }
- { key: user, value: root, rate_limit: { unlimited: true } }
- key: route
  value: /login
  descriptors:
  - { key: method, value: POST, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";

/// Keys and their values.
type Entries = &'static [(&'static str, &'static str)];

/// Descriptors to which none of these limits applies: the reason, the domain, and the entries.
const PASSING: [(&str, &str, Entries); 6] = [
    ("unknown_domain", "egde", &[("user", "u")]),
    ("unmatched", "edge", &[("users", "u")]),
    // Rules have these keys, with other values.
    ("unmatched", "edge", &[("route", "/login"), ("method", "GET")]),
    ("unmatched", "edge", &[("route", "/login")]),
    ("exempt", "edge", &[("user", "admin")]),
    ("unlimited", "edge", &[("user", "root")]),
];

struct Service {
    client: RateLimitServiceClient<Channel>,
    process: Tollgate,
}

impl Service {
    async fn start(test: &str, args: &[&str]) -> Service {
        let limits = support::file(&format!("not-limited-{test}.yaml"), LIMITS);
        let args = [&["--drain-wait", "0s"], args].concat();
        let process = Tollgate::start(&Serve::new(&limits).args(&args)).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        Service { client, process }
    }

    async fn ask(&mut self, domain: &str, entries: &[(&str, &str)]) -> Overall {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned().into(),
            value: (*value).to_owned().into(),
        };
        let descriptor = RateLimitDescriptor {
            entries: entries.iter().map(entry).collect(),
            ..RateLimitDescriptor::default()
        };
        let request =
            RateLimitRequest { domain: domain.to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
        self.client.should_rate_limit(request).await.expect("an answer").into_inner().overall_code()
    }

    async fn ask_what_passes(&mut self) {
        for (_, domain, entries) in PASSING {
            assert_eq!(self.ask(domain, entries).await, Overall::Ok, "{domain} {entries:?}");
        }
    }

    /// All lines of this level, after the process has ended.
    async fn lines(mut self, level: &str) -> Vec<String> {
        self.process.terminate(Duration::from_secs(20)).await.expect("ends");
        let log = self.process.log_text();
        log.lines().filter(|line| line.contains(level)).map(str::to_owned).collect()
    }
}

#[track_caller]
fn assert_says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
}

#[tokio::test]
async fn what_no_rule_can_be_for_is_a_warning_once_and_all_reasons_are_counted_apart() {
    let mut service = Service::start("warned", &[]).await;
    for _ in 0..3 {
        service.ask_what_passes().await;
    }
    assert_eq!(service.ask("edge", &[("user", "u")]).await, Overall::Ok);
    let page = http::get(service.process.admin(), "/metrics", &[]).await.expect("an answer").text();
    for (kind, times) in [("unknown_domain", 3), ("unmatched", 9), ("exempt", 3), ("unlimited", 3)] {
        let of_descriptors = format!("tollgate_descriptors_without_limit_total{{kind=\"{kind}\"}} {times}\n");
        let of_requests = format!("tollgate_requests_total{{door=\"rls\",outcome=\"{kind}\"}} {times}\n");
        assert_says(&page, &[&of_descriptors, &of_requests]);
    }
    assert_says(&page, &["tollgate_requests_total{door=\"rls\",outcome=\"allow\"} 1\n"]);

    let warnings = service.lines(" WARN tollgate::protocol::unmatched: ").await;
    let [domain, users, route] = &warnings[..] else { panic!("{warnings:#?}") };
    assert_says(domain, &["domain=\"egde\"", "no limits file has it"]);
    assert_says(users, &["domain=\"edge\"", "keys=\"users\"", "times=1"]);
    assert_says(route, &["keys=\"route\""]);
}

#[tokio::test]
async fn at_debug_each_descriptor_is_explained_without_its_values() {
    let mut service = Service::start("explained", &["--log-level", "info,tollgate::requests=debug"]).await;
    service.ask_what_passes().await;
    for _ in 0..3 {
        service.ask("edge", &[("user", "canary")]).await;
    }
    let lines = service.lines(" DEBUG ").await;
    assert_eq!(lines.len(), PASSING.len() + 3, "{lines:#?}");
    let why = [
        "no limits file has its domain; they have edge",
        "level 1: the rules have other keys there: route, user",
        "level 2: the rules have this key with other values: POST",
        "level 1: it ends there, and the rules go on with the keys method",
        "level 1: it ends there, at an entry without a rate_limit",
        "its rule user_root is unlimited",
    ];
    for ((line, why), (_, domain, entries)) in lines.iter().zip(why).zip(PASSING) {
        let keys: Vec<String> = entries.iter().map(|(key, _)| format!("{key}=…")).collect();
        let (domain, entries) = (format!("domain=\"{domain}\""), format!("entries=\"{}\"", keys.join(", ")));
        assert_says(line, &["a descriptor is not limited", &domain, &entries, why, "answer=\"allow\""]);
    }
    let limited = [
        "limits=\"user: allow by store, 1 left\" answer=\"allow\"",
        "limits=\"user: allow by store, 0 left\" answer=\"allow\"",
        "limits=\"user: deny by store, 0 left\" answer=\"deny\"",
    ];
    for (line, limits) in lines[PASSING.len()..].iter().zip(limited) {
        assert_says(line, &["a descriptor is limited", "entries=\"user=…\"", limits]);
    }
    assert!(!lines.iter().any(|line| line.contains("canary")), "{lines:#?}");
}

#[tokio::test]
async fn values_show_where_the_operator_asks_for_them_and_break_no_line() {
    let args = ["--log-level", "info,tollgate::requests=debug", "--show-values"];
    let mut service = Service::start("shown", &args).await;
    let long = "x".repeat(60_000);
    service.ask("edge\n2026 WARN forged", &[("users\x1b[31m", "canary\nforged"), ("more", &long)]).await;
    service.ask("edge", &[("user", "canary")]).await;
    let lines = service.lines(" DEBUG ").await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_says(&lines[1], &["user=canary"]);
    assert_says(&lines[0], &["users", "canary", "forged", &format!("{}…", "x".repeat(64))]);
    assert!(lines[0].len() < 600 && !lines[0].contains('\x1b'), "{}", lines[0]);
}

#[tokio::test]
async fn a_flood_of_domains_and_keys_ends_in_one_more_line() {
    let mut service = Service::start("flood", &[]).await;
    for number in 0..600 {
        service.ask(&format!("domain-{number}"), &[("user", "u")]).await;
        service.ask("edge", &[(&format!("key-{number}"), "u")]).await;
    }
    let warnings = service.lines(" WARN tollgate::protocol::unmatched: ").await;
    let further = warnings.iter().filter(|line| line.contains("this is one of them")).count();
    assert_eq!(further, 1);
    assert!(warnings.len() <= 257, "{} lines", warnings.len());
}
