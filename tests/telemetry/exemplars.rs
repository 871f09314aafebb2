//! The page of metrics in OpenMetrics' format, with exemplars of requests that are recorded.

use tollgate::pb::rate_limit_response::Code as Overall;

use super::{
    Service, VALUE,
    collector::{Collector, Protocol},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// As Prometheus asks.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

impl Service {
    /// The content type and the text of the page for a client that accepts this.
    async fn page_as(&self, accept: &str) -> (String, String) {
        let headers = [("accept", accept)];
        let answer = lab::http::get(self.process.admin(), "/metrics", &headers).await.expect("an answer");
        let kind = answer.headers["content-type"].to_str().expect("ASCII").to_owned();
        (kind, answer.text())
    }
}

/// The parts of an exemplar after its sample: the labels, the value and the time.
fn exemplar<'p>(page: &'p str, sample: &str) -> Option<(&'p str, f64, f64)> {
    let line = page.lines().find(|line| line.starts_with(sample))?;
    let (_, exemplar) = line.split_once(" # ")?;
    let mut parts = exemplar.split(' ');
    let labels = parts.next()?;
    let mut number = || parts.next()?.parse().ok();
    Some((labels, number()?, number()?))
}

#[tokio::test]
async fn a_recorded_denial_is_an_exemplar_for_who_asks_for_openmetrics() {
    let collector = Collector::start(Protocol::Http).await;
    let url = format!("http://{}", collector.address);
    let mut service = Service::start("exemplars", |serve| {
        serve.args(&["--reference-metrics"]).variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
    })
    .await;
    let caller = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // Not recorded, so its trace leads nowhere.
    service.ask("once", &[("x-b3-sampled", "0")]).await;
    let (_, before) = service.page_as(ACCEPT).await;
    assert!(!before.contains(" # {"), "{before}");
    assert_eq!(service.ask("once", &[("traceparent", &caller)]).await.overall_code(), Overall::OverLimit);

    let (kind, page) = service.page_as(ACCEPT).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let denials = "tollgate_requests_total{door=\"rls\",outcome=\"deny\"}";
    let (labels, value, at_s) = exemplar(&page, denials).unwrap_or_else(|| panic!("none: {page}"));
    assert!(labels.starts_with(&format!("{{trace_id=\"{TRACE}\",span_id=\"")), "{labels}");
    let age_s = tollgate::clock::unix_us() as f64 / 1e6 - at_s;
    assert!(value == 1.0 && (-1.0..60.0).contains(&age_s), "{value} {age_s}");
    let of_times: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("tollgate_request_duration_seconds_bucket{door=\"rls\""))
        .filter(|line| line.contains(" # {"))
        .collect();
    assert_eq!(of_times.len(), 1, "{page}");
    assert!(of_times[0].contains(TRACE), "{of_times:?}");
    assert_eq!(page.matches(" # {").count(), 2, "{page}");
    for line in [
        "# TYPE tollgate_requests counter",
        "# TYPE tollgate_request_duration_seconds histogram",
        "# UNIT tollgate_request_duration_seconds seconds",
        "# TYPE ratelimit_service_config_load_success unknown",
    ] {
        assert!(page.lines().any(|shown| shown == line), "no {line} in {page}");
    }
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1, "{page}");
    assert!(page.contains("le=\"1.0\"") && !page.contains("le=\"1\"") && !page.contains(VALUE), "{page}");
    if let Ok(file) = std::env::var("TOLLGATE_OPENMETRICS_PAGE") {
        std::fs::write(file, &page).expect("written");
    }

    for plain in ["*/*", "text/plain"] {
        let (kind, page) = service.page_as(plain).await;
        assert_eq!(kind, "text/plain; version=0.0.4");
        assert!(page.contains(&format!("{denials} 1\n")) && page.contains("le=\"1\""), "{page}");
        assert!(!page.contains(TRACE) && !page.contains("# EOF") && !page.contains("# UNIT"), "{page}");
    }
}
