//! The live page in a real headless Chromium. `make page-test` runs these; the others need no browser.

mod support;

use std::{process::Command, time::Duration};

use lab::{
    binaries::{self, Part},
    chromium::{Chromium, Look, Scheme},
    http, real,
    tollgate::{Serve, Tollgate},
};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry,
        rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

const LIMITS: &str = "
domain: edge
descriptors:
- { key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 10 } }
- { key: team, rate_limit: { unit: second, requests_per_unit: 1000 } }
- { key: trial, shadow_mode: true, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";
/// A rule whose name is markup, and turns the direction.
const HOSTILE: &str = "
domain: \"<img src=x onerror='document.title=1'>\"
descriptors:
- { key: user, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
- { key: \"<script>document.title='owned'</script>\\u202Egnp\", rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";
const WIDE: Look = Look { width: 1280, height: 900, scheme: Scheme::Light };
const NARROW: Look = Look { width: 390, height: 844, scheme: Scheme::Dark };
const SOON: Duration = Duration::from_secs(20);

struct Stand {
    tollgate: Tollgate,
    client: RateLimitServiceClient<Channel>,
    domain: &'static str,
    chromium: Chromium,
}

// === impl Stand ===

impl Stand {
    /// The page is open, and live. `None`, with a message, if there is no Chromium and that is allowed.
    async fn start(test: &str, limits: &str, domain: &'static str, args: &[&str]) -> Option<Stand> {
        if !real::available(&[Part::Chromium]) {
            return None;
        }
        let limits = support::file(&format!("live-page-{test}.yaml"), limits);
        let tollgate = Tollgate::start(&Serve::new(limits).args(args)).await.expect("Tollgate starts");
        let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
        let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
        let mut chromium = Chromium::start().await.expect("Chromium starts");
        chromium.look(WIDE).await.expect("looks");
        chromium.open(&format!("http://{}/", tollgate.admin())).await.expect("opens");
        chromium
            .until("document.querySelector('#link').className === 'link well'", SOON)
            .await
            .expect("live");
        Some(Stand { tollgate, client, domain, chromium })
    }

    async fn ask(&mut self, key: &str, value: &str, times: usize) {
        for _ in 0..times {
            self.client.should_rate_limit(request(self.domain, key, value)).await.expect("an answer");
        }
    }

    async fn value(&mut self, expression: &str) -> serde_json::Value {
        self.chromium.value(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn until(&mut self, expression: &str) {
        self.chromium.until(expression, SOON).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The decisions with all of these labels.
    async fn counted(&self, labels: &[&str]) -> u64 {
        let page = http::get(self.tollgate.admin(), "/metrics", &[]).await.expect("metrics").text();
        let series = page.lines().filter(|line| line.starts_with("tollgate_decisions_total{"));
        let matching = series.filter(|line| labels.iter().all(|label| line.contains(label)));
        matching.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
    }

    fn complains_of_nothing(&self) {
        assert!(self.chromium.complaints().is_empty(), "{:#?}", self.chromium.complaints());
    }
}

fn request(domain: &str, key: &str, value: &str) -> RateLimitRequest {
    let entries = vec![Entry { key: key.to_owned().into(), value: value.to_owned().into() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }];
    RateLimitRequest { domain: domain.to_owned(), descriptors, ..RateLimitRequest::default() }
}

/// The tables that are wider than their place. Widths are rounded, so one pixel is none.
const SCROLLED: &str = "[...document.querySelectorAll('.scroll')].filter((place) => place.scrollWidth > place.clientWidth + 1).map((place) => `${place.getAttribute('aria-label')}: ${place.scrollWidth} of ${place.clientWidth}`)";

/// A function that finds the row of a rule, for expressions.
const ROW: &str = "const row = (rule) => [...document.querySelectorAll('tr.row')].find((row) => row.querySelector('button').textContent === rule);
    const cell = (rule, name) => row(rule).querySelector(`[data-name=\"${name}\"]`).textContent;";

fn in_row(expression: &str) -> String {
    format!("(() => {{ {ROW} return {expression}; }})()")
}

/// Adds up what the row shows, second by second.
const ADD_UP: &str = "(() => {
    const sums = (window.sums = { admitted: 0, denied: 0 });
    const add = () => {
        for (const row of document.querySelectorAll('tr.row')) {
            if (row.querySelector('button').textContent !== 'user') continue;
            sums.admitted += Number(row.querySelector('[data-name=\"Admitted/s\"]').textContent);
            sums.denied += Number(row.querySelector('[data-name=\"Denied/s\"]').textContent);
        }
    };
    // The time in the corner changes with each second that is told, and before the rows do.
    new MutationObserver(() => setTimeout(add)).observe(document.querySelector('#link .said'), { childList: true, characterData: true, subtree: true });
    return true;
})()";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page-test"]
async fn the_figures_on_the_page_are_those_of_the_metrics() {
    let Some(mut stand) = Stand::start("figures", LIMITS, "edge", &[]).await else { return };
    stand.until("document.querySelectorAll('tr.row').length === 3").await;
    // The top keys are counted from when somebody asks for them.
    stand.value(&in_row("row('user').click()")).await;
    stand.until("document.querySelector('tr.detail') !== null").await;
    stand.value(ADD_UP).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for _ in 0..6 {
        stand.ask("user", "ann", 7).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    stand.until("window.sums.admitted + window.sums.denied >= 42").await;
    let admitted = stand.counted(&["rule=\"user\"", "verdict=\"allow\""]).await;
    let denied = stand.counted(&["rule=\"user\"", "verdict=\"deny\""]).await;
    assert_eq!((admitted, denied), (10, 32));
    assert_eq!(
        stand.value("window.sums").await,
        serde_json::json!({ "admitted": admitted, "denied": denied })
    );
    let keys = "[...document.querySelectorAll('tr.detail .tall tbody tr')].map((row) => [...row.cells].slice(1, 4).map((cell) => cell.textContent))";
    stand.until(&format!("JSON.stringify({keys}) === '[[\"denied\",\"42\",\"32\"]]'")).await;
    assert_eq!(stand.value(&in_row("cell('user', 'In use')")).await, "100 %");
    let health = stand.value("document.querySelector('#health').textContent").await;
    assert!(health.as_str().is_some_and(|health| health.starts_with("The limiter is well")), "{health}");
    stand.complains_of_nothing();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page-test"]
async fn a_denial_shows_within_two_seconds_and_a_rule_in_shadow_mode_denies_nobody() {
    let Some(mut stand) = Stand::start("denial", LIMITS, "edge", &[]).await else { return };
    stand.until("document.querySelectorAll('tr.row').length === 3").await;
    stand.ask("trial", "t", 3).await;
    stand.until(&in_row("row('trial').querySelector('.state').textContent === 'would deny'")).await;
    assert_eq!(stand.value("document.querySelector('h1').textContent").await, "Nobody is being denied");
    stand.ask("user", "bob", 10).await;
    let denied_at = clock::monotonic();
    stand.ask("user", "bob", 1).await;
    let shown = in_row(
        "row('user').classList.contains('over') && row('user').querySelector('.state').textContent === 'denying' && /denials? a second, by one rule of 3/.test(document.querySelector('h1').textContent)",
    );
    stand.until(&shown).await;
    let took = denied_at.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let began = "[...document.querySelectorAll('#events li')].some((event) => /^\\d\\d:\\d\\d:\\d\\dDenials began for [a-z]-[0-9a-f]{12} by user/.test(event.textContent))";
    stand.until(began).await;
    stand.complains_of_nothing();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page-test"]
async fn hostile_values_are_text_and_cut_and_nothing_outside_is_asked_for() {
    let domain = "<img src=x onerror='document.title=1'>";
    let Some(mut stand) = Stand::start("hostile", HOSTILE, domain, &["--show-values"]).await else { return };
    stand.until("document.querySelectorAll('tr.row').length === 2").await;
    stand.value(&in_row("row('user').click()")).await;
    stand.until("document.querySelector('tr.detail') !== null").await;
    let value = format!("<img src=x onerror=\"document.title=1\">\u{202e}\u{0}{}", "A".repeat(60_000));
    stand.ask("user", &value, 3).await;
    stand.until("document.querySelectorAll('tr.detail .tall tbody tr').length === 1").await;
    stand.until("document.querySelectorAll('#events .over').length > 0").await;
    let page = stand.value("document.body.textContent").await;
    let page = page.as_str().expect("text");
    assert!(page.contains("<img src=x onerror=") && page.contains("\\u{202e}"), "spelled out");
    assert!(!page.contains('\u{202e}') && !page.contains(&"A".repeat(500)), "cut");
    let markup = "document.querySelectorAll('main img, main script, main iframe').length";
    assert_eq!(stand.value(markup).await, 0);
    let title = stand.value("document.title").await;
    assert!(title.as_str().is_some_and(|title| title.ends_with("Tollgate")), "{title}");
    let outside = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => !name.startsWith(location.origin) && !name.startsWith('data:'))";
    assert_eq!(stand.value(outside).await, serde_json::json!([]));
    for look in [WIDE, NARROW] {
        stand.chromium.look(look).await.expect("looks");
        assert_eq!(stand.value("document.documentElement.scrollWidth <= innerWidth").await, true, "{look:?}");
    }
    stand.complains_of_nothing();
    // Even a script that came onto the page would not run.
    stand.value("(() => { const made = document.createElement('script'); made.textContent = 'window.ran = 1'; document.body.append(made); return true; })()").await;
    assert_eq!(stand.value("window.ran === undefined").await, true);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page-test"]
async fn nothing_scrolls_sideways_from_390_to_1600_pixels() {
    let Some(mut stand) = Stand::start("narrow", LIMITS, "edge", &[]).await else { return };
    stand.ask("user", "ann", 12).await;
    stand.until(&in_row("row('user').classList.contains('over')")).await;
    stand.value(&in_row("row('user').click()")).await;
    stand.ask("user", "ann", 2).await;
    stand.until("document.querySelectorAll('tr.detail .tall tbody tr').length === 1").await;
    stand.value("document.querySelector('#entries').value = 'user=ann'; document.querySelector('#ask button').click()").await;
    stand.until("document.querySelectorAll('#key svg').length === 2 && document.querySelectorAll('tr.detail .tall tbody tr').length === 1").await;
    let told = stand.value("document.querySelector('#key').textContent").await;
    let told = told.as_str().expect("text");
    for part in ["the next hit is denied", "Level0of 10", "429 Too Many Requests", "burst + refill"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for width in [390, 480, 720, 721, 800, 1_040, 1_041, 1_100, 1_181, 1_280, 1_600] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            stand.chromium.look(Look { width, height: 900, scheme }).await.expect("looks");
            let widest = stand.value("document.documentElement.scrollWidth").await;
            assert!(widest.as_u64().is_some_and(|widest| widest <= width.into()), "{widest} of {width}");
            assert_eq!(stand.value(SCROLLED).await, serde_json::json!([]), "tables that scroll at {width}");
        }
    }
    stand.complains_of_nothing();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make page-test"]
async fn a_lost_connection_is_said_and_the_page_comes_back_by_itself() {
    let Some(mut stand) = Stand::start("lost", LIMITS, "edge", &[]).await else { return };
    let admin = stand.tollgate.admin();
    stand.tollgate.kill();
    stand.until("document.querySelector('#link').className === 'link lost' && document.body.classList.contains('old')").await;
    let said = stand.value("document.querySelector('#link').textContent").await;
    assert!(said.as_str().is_some_and(|said| said.contains("Connection to Tollgate lost")), "{said}");
    let limits = support::file("live-page-lost-again.yaml", LIMITS);
    let serve = Serve { admin_listen: admin, ..Serve::new(limits) };
    stand.tollgate = Tollgate::start(&serve).await.expect("Tollgate starts again");
    stand.until("document.querySelector('#link').className === 'link well' && !document.body.classList.contains('old')").await;
}

#[tokio::test]
async fn a_browser_gets_the_page_with_its_policy_and_curl_the_list() {
    let limits = support::file("live-page-plain.yaml", LIMITS);
    let tollgate = Tollgate::start(&Serve::new(limits)).await.expect("Tollgate starts");
    let page = http::get(tollgate.admin(), "/", &http::BROWSER).await.expect("the page");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.text().starts_with("<!doctype html>"));
    let list = http::get(tollgate.admin(), "/", &[("accept", "*/*")]).await.expect("the list").text();
    assert!(list.starts_with("Tollgate's admin port\n") && list.contains("/metrics"), "{list}");
}

/// Its exit status, stdout and stderr.
fn top(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binaries::tollgate().expect("built")).arg("top").args(args).output();
    let output = output.expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn top_prints_one_table_of_a_running_tollgate_and_says_which_address_it_cannot_read() {
    let limits = support::file("live-page-top.yaml", LIMITS);
    let tollgate = Tollgate::start(&Serve::new(limits)).await.expect("Tollgate starts");
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    for _ in 0..12 {
        client.should_rate_limit(request("edge", "user", "ann")).await.expect("an answer");
    }
    let admin = tollgate.admin().to_string();
    let (status, table, trouble) = top(&["--admin", &admin]);
    assert_eq!((status, trouble.as_str()), (Some(0), ""), "{table}");
    let mut lines = table.lines();
    let headline = lines.next().expect("a headline");
    assert!(headline.ends_with(" 1 rule of 3 denying."), "{table}");
    assert!(table.contains("\nThe limiter is well: 1 replica, buckets in memory.\n"), "{table}");
    let row = lines.find(|line| line.starts_with("denying")).expect("the rule that denies");
    assert!(row.contains(" user ") && row.contains(" 10/day ") && row.contains(" 100 % "), "{table}");
    assert!(!table.contains('\u{1b}'), "no terminal, no colours");
    // Nothing listens on the first port.
    let (status, table, trouble) = top(&["--admin", "127.0.0.1:1", "--admin", &admin]);
    assert_eq!(status, Some(1), "{table}");
    assert!(
        table.contains("denying") && trouble.starts_with("http://127.0.0.1:1: cannot connect; "),
        "{trouble}"
    );
    let (status, table, trouble) = top(&["--admin", &tollgate.grpc().to_string()]);
    assert_eq!((status, table.as_str()), (Some(1), ""), "{trouble}");
}
