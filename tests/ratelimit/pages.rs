//! What operators see: `/healthcheck`, `/json`, `/rlconfig`, and the two further ports.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use lab::tollgate::{Serve, Tollgate};

use crate::support;

const LIMITS: &str = "
domain: shop
descriptors:
- key: plan
  value: gold
  rate_limit: { unit: day, requests_per_unit: 2 }
  descriptors:
  - { key: export, shadow_mode: true, rate_limit: { unit: minute, unit_multiplier: 5, requests_per_unit: 6 } }
- { key: user, quota_mode: true, rate_limit: { unit: week, requests_per_unit: 3 } }
";

/// The status and the body of an answer.
pub(crate) fn http(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

pub(crate) fn get(at: SocketAddr, path: &str) -> (u16, String) {
    http(at, "GET", path, "")
}

/// The address that a port for operators was bound to.
pub(crate) fn port(log: &str, name: &str) -> SocketAddr {
    let line = log.lines().find(|line| line.contains(&format!("listening for operators ({name})")));
    let address = line.and_then(|line| line.split("address=").nth(1));
    address.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("{log}"))
}

async fn serve(test: &str, args: &[&str]) -> Tollgate {
    lab::midnight::not_within(Duration::from_secs(30)).await;
    let limits = support::file(&format!("ratelimit-pages-{test}.yaml"), LIMITS);
    Tollgate::start(&Serve::new(&limits).args(args)).await.expect("starts")
}

#[tokio::test]
async fn the_limits_in_force_are_shown_in_the_lines_of_the_reference() {
    let listen = ["--debug-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let tollgate = serve("rlconfig", &listen).await;
    let log = tollgate.log_text();
    let (debug, metrics) = (port(&log, "debug"), port(&log, "metrics"));
    let (status, page) = get(debug, "/rlconfig");
    let lines: Vec<&str> = page.lines().collect();
    let expected = [
        "shop.plan_gold: unit=DAY requests_per_unit=2, shadow_mode: false, quota_mode: false",
        "shop.plan_gold.export: unit=MINUTE unit_multiplier=5 requests_per_unit=6, shadow_mode: true, quota_mode: false",
        "shop.user: unit=WEEK requests_per_unit=3, shadow_mode: false, quota_mode: true",
    ];
    assert_eq!((status, &lines[..]), (200, &expected[..]));
    assert_eq!(get(tollgate.admin(), "/rlconfig").1, page);
    assert_eq!(get(metrics, "/metrics").0, 200);
    // The further ports show nothing else.
    for (at, path) in [(debug, "/metrics"), (metrics, "/rlconfig"), (debug, "/json"), (metrics, "/ready")] {
        assert_eq!(get(at, path).0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_request_as_json_is_answered_as_the_reference_answers_it() {
    let tollgate = serve("json", &["--admin-json", "on", "--headers", "none"]).await;
    let ask = |body: &str| http(tollgate.admin(), "POST", "/json", body);
    let gold = r#"{"domain": "shop", "descriptors": [{"entries": [{"key": "plan", "value": "gold"}]}]}"#;
    for remaining in [1, 0] {
        let (status, body) = ask(gold);
        assert_eq!(status, 200, "{body}");
        for part in [r#""overallCode":"OK""#, r#""currentLimit":{"requestsPerUnit":2,"unit":"DAY"}"#] {
            assert!(body.contains(part), "{body}");
        }
        assert_eq!(body.contains(r#""limitRemaining":1"#), remaining == 1, "0 is left out: {body}");
    }
    let (status, body) = ask(gold);
    assert_eq!(status, 429, "{body}");
    assert!(body.contains(r#""overallCode":"OVER_LIMIT""#) && !body.contains("rawBody"), "{body}");
    let (status, body) = ask(&gold.replace("gold", "silver"));
    assert_eq!((status, body.as_str()), (200, r#"{"overallCode":"OK","statuses":[{"code":"OK"}]}"#));

    let before = get(tollgate.admin(), "/metrics").1;
    for (wrong, says) in [
        (r#"{"domain": "", "descriptors": [{"entries": [{"key": "k"}]}]}"#, "the domain is empty"),
        (r#"{"domian": "shop"}"#, "domian: no such field"),
        ("not JSON", "expected ident"),
    ] {
        let (status, body) = ask(wrong);
        assert_eq!(status, 400, "{body}");
        assert!(body.starts_with("Bad Request: ") && body.contains(says), "{body}");
    }
    let after = get(tollgate.admin(), "/metrics").1;
    let invalid = r#"tollgate_requests_total{door="rls",outcome="invalid"}"#;
    assert!(before.contains(&format!("{invalid} 0")) && after.contains(&format!("{invalid} 3")), "{after}");
    let long = format!(r#"{{"domain": "{}"}}"#, "x".repeat(200_000));
    assert_eq!(ask(&long).0, 413);
    // 200 callers at once are all answered.
    let many: Vec<_> = (0..200).map(|_| (tollgate.admin(), gold)).collect();
    let threads =
        many.into_iter().map(|(at, body)| std::thread::spawn(move || http(at, "POST", "/json", body).0));
    let threads: Vec<_> = threads.collect();
    let codes: Vec<u16> = threads.into_iter().map(|thread| thread.join().expect("an answer")).collect();
    assert!(codes.iter().all(|code| *code == 429), "{codes:?}");
}

#[tokio::test]
async fn requests_as_json_are_not_decided_unless_that_is_asked_for() {
    let tollgate = serve("no-json", &[]).await;
    assert_eq!(http(tollgate.admin(), "POST", "/json", "{}").0, 404);
}

#[tokio::test]
async fn a_health_check_that_waits_for_redis_fails_until_the_first_contact_and_never_again() {
    let Some(mut redis) = support::redis().await else { return };
    // A port at which nothing listens yet.
    let url = redis.url();
    redis.kill();
    let tollgate =
        serve("healthy", &["--store", &url, "--healthy-after", "store,rules", "--drain-wait", "2s"]).await;
    let healthy = || get(tollgate.admin(), "/healthcheck");
    let (status, why) = healthy();
    assert!(status == 500 && why.starts_with("no contact with the store yet"), "{status} {why}");
    redis.restart().await.expect("starts");
    let until = |wanted: u16| {
        let at = tollgate.admin();
        move || get(at, "/ready").0 == wanted
    };
    wait(until(200)).await;
    assert_eq!(healthy(), (200, "OK".to_owned()));
    redis.kill();
    let at = tollgate.admin();
    wait(move || get(at, "/ready").1.starts_with("degraded")).await;
    assert_eq!(healthy(), (200, "OK".to_owned()), "a restart would not help");
    let mut tollgate = tollgate;
    tollgate.signal(lab::process::Signal::Terminate).expect("runs");
    wait(move || get(at, "/healthcheck") == (500, "draining".to_owned())).await;
}

#[tokio::test]
async fn a_health_check_that_waits_for_rules_fails_without_any() {
    let limits = support::file("ratelimit-pages-none.yaml", "domain: shop\n");
    let tollgate =
        Tollgate::start(&Serve::new(&limits).args(&["--healthy-after", "rules"])).await.expect("starts");
    assert_eq!(get(tollgate.admin(), "/healthcheck"), (500, "no domain has rules".to_owned()));
    support::file("ratelimit-pages-none.yaml", LIMITS);
    let at = tollgate.admin();
    wait(move || get(at, "/healthcheck").0 == 200).await;
}

/// Fails the test if the condition does not hold within 10 s.
pub(crate) async fn wait(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 10 s");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_by_what_it_is_for() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let _held = TcpListener::bind(taken);
    let limits = support::file("ratelimit-pages-taken.yaml", LIMITS);
    for (flag, name) in [("--debug-listen", "debug"), ("--metrics-listen", "metrics")] {
        let serve = Serve::new(&limits).args(&[flag, &taken.to_string()]);
        let told = Tollgate::start(&serve).await.expect_err("the port is taken").to_string();
        assert!(told.contains(&format!("cannot listen on {taken} ({name})")), "{told}");
    }
}
