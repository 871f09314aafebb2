//! HTTP for operators, on a port of its own.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | the live page for a browser, and this list as text for others |
//! | `GET /healthcheck` | Liveness: 200 `OK`, and 500 from SIGTERM on, whatever the state of Redis; with [`HealthyAfter`] also 500 at first |
//! | `GET /ready` | Readiness: 503 and the reason until every runtime has had a connection to a store that it can use, and from SIGTERM on. Otherwise 200: `OK`, or `degraded: ` and the reason, because Tollgate also answers without its store |
//! | `GET /metrics` | metrics in Prometheus' text format, or in OpenMetrics', with exemplars, for a scraper that prefers it |
//! | `GET /live` | each second of the process as a server-sent event, with JSON |
//! | `GET /events` | what happened lately, as lines of JSON |
//! | `GET /rlconfig` | a line for each limit in force, as envoyproxy/ratelimit shows them |
//! | `POST /buckets/peek`, `/buckets/reset`, `/buckets/grant` | with a token file: shows the buckets of one key, fills them, or gives hits back, as [`crate::hands`] says |
//! | `/json` | if it is on: decides the `RateLimitRequest` that is the body, as JSON |
//!
//! Two more ports may show a part of the pages; see [`Pages`].
//!
//! Any other path is answered with 404, any other method with 405. The port answers until the last connection of the
//! gRPC port is closed, so that a drain can be watched.

mod buckets;
mod connections;
mod exposition;
mod live;
mod page;
mod query;
mod rules;
mod token;

use std::{fmt, future::Future, io, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{any, get},
};
use tokio::net::TcpListener;

use crate::{
    hands::{Order, Report},
    lifecycle::{Lifecycle, Phase},
    live::Live,
    metrics::Metrics,
    rules::Publisher,
    store::health::StoreHealth,
};
use buckets::Acts;
pub(crate) use buckets::NotDone;
use connections::{Bounded, Peer};
use exposition::exposition;
pub use token::{TokenError, TokenFile, token_in};

const ROUTES: &str = "\
Tollgate's admin port
GET /             in a browser: who is denied, by which rule, and whether the limiter is well
GET /healthcheck  200 while serving, 500 from SIGTERM on
GET /ready        200 once every runtime has been able to use the store: OK, or degraded and the reason;
                  503 and the reason before that, and from SIGTERM on
GET /metrics      metrics in Prometheus text format
GET /live         each second of this process as a server-sent event, with JSON
GET /events       what happened lately, as lines of JSON
GET /rlconfig     the limits in force
POST /buckets/peek, /buckets/reset, /buckets/grant
                  what tollgate peek, reset and grant use; with --admin-token-file
";
const RULES_ROUTES: &str = "\
Tollgate's debug port
GET /rlconfig     the limits in force
";
const METRICS_ROUTES: &str = "\
Tollgate's metrics port
GET /metrics      metrics in Prometheus text format
";

/// The most bytes of a request as JSON.
const MAX_JSON_BYTES: usize = 128 << 10;

/// The pages of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// All of them.
    All,
    /// The rules in force.
    Rules,
    /// The metrics.
    Metrics,
}

/// What `/healthcheck` waits for, besides the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthyAfter {
    /// Every runtime has had a connection to a store that it can use.
    pub store: bool,
    /// Some domain has rules. The check fails again once none has.
    pub rules: bool,
}

/// Whether `/json` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JsonPage {
    /// 404.
    #[default]
    Off,
    /// It decides requests.
    On,
}

type JsonAnswer = Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>;

/// What answers requests as JSON, once the server runs.
#[derive(Clone, Default)]
struct Json {
    page: JsonPage,
    answer: Option<Arc<dyn Fn(Bytes) -> JsonAnswer + Send + Sync>>,
}

/// The state that the routes show. A clone shares all of it.
#[derive(Debug, Clone)]
pub struct Admin {
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    store: Arc<StoreHealth>,
    rules: Option<Arc<Publisher>>,
    live: Option<Arc<Live>>,
    healthy_after: HealthyAfter,
    json: Json,
    acts: Acts,
    /// Held while the page of metrics is rendered: for one scraper at a time, and on another thread, because this one
    /// also accepts the connections of the gRPC port.
    page: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    /// Shows the phase of `lifecycle` and the counts of `metrics`.
    pub fn new(lifecycle: Lifecycle, metrics: Arc<Metrics>) -> Admin {
        Admin {
            lifecycle,
            metrics,
            store: Arc::new(StoreHealth::always()),
            rules: None,
            live: None,
            healthy_after: HealthyAfter::default(),
            json: Json::default(),
            acts: Acts::default(),
            page: Arc::default(),
        }
    }

    /// Makes `/ready` depend on that store. Without this call, the store counts as always available.
    #[must_use]
    pub fn store(self, store: Arc<StoreHealth>) -> Admin {
        Admin { store, ..self }
    }

    /// Shows these rules.
    #[must_use]
    pub fn rules(self, publisher: Arc<Publisher>) -> Admin {
        Admin { rules: Some(publisher), ..self }
    }

    /// Shows these seconds and events.
    #[must_use]
    pub fn live(self, live: Arc<Live>) -> Admin {
        Admin { live: Some(live), ..self }
    }

    /// Lets `/healthcheck` fail until then.
    #[must_use]
    pub fn healthy_after(self, healthy_after: HealthyAfter) -> Admin {
        Admin { healthy_after, ..self }
    }

    /// Turns `/json` on or off.
    #[must_use]
    pub fn json(self, page: JsonPage) -> Admin {
        Admin { json: Json { page, ..self.json }, ..self }
    }

    /// Answers requests as JSON like this, if that page is on.
    #[must_use]
    pub(crate) fn answering_json<F: Future<Output = (StatusCode, String)> + Send + 'static>(
        self,
        answer: impl Fn(Bytes) -> F + Send + Sync + 'static,
    ) -> Admin {
        let answer = move |body| -> JsonAnswer { Box::pin(answer(body)) };
        Admin { json: Json { answer: Some(Arc::new(answer)), ..self.json }, ..self }
    }

    /// Tells how many connections are open.
    pub(crate) fn counting_connections(&self, open: impl Fn() -> usize + Send + Sync + 'static) {
        if let Some(live) = &self.live {
            live.counting_connections(open);
        }
    }

    /// Lets whoever shows this token act on buckets.
    #[must_use]
    pub fn acts_with(self, token: Option<TokenFile>) -> Admin {
        Admin { acts: self.acts.for_whoever_has(token), ..self }
    }

    /// Acts on buckets like this: an order, and the request, as JSON, whose buckets they are.
    #[must_use]
    pub(crate) fn answering_acts<F: Future<Output = Result<Report, NotDone>> + Send + 'static>(
        self,
        answer: impl Fn(Order, Bytes) -> F + Send + Sync + 'static,
    ) -> Admin {
        Admin { acts: self.acts.answering(answer), ..self }
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until dropped. Fails only if the listener is broken for good.
    pub(crate) async fn serve(self, listener: TcpListener, pages: Pages) -> io::Result<()> {
        let routes = match pages {
            Pages::All => Router::new()
                .route("/", get(root))
                .route("/healthcheck", get(healthcheck))
                .route("/ready", get(ready))
                .route("/metrics", get(exposition))
                .route("/live", get(live::live))
                .route("/events", get(live::events))
                .route("/rlconfig", get(rlconfig))
                .merge(buckets::routes()),
            Pages::Rules => Router::new().route("/", get(RULES_ROUTES)).route("/rlconfig", get(rlconfig)),
            Pages::Metrics => {
                Router::new().route("/", get(METRICS_ROUTES)).route("/metrics", get(exposition))
            }
        };
        let routes = match (pages, self.json.page) {
            (Pages::All, JsonPage::On) => {
                routes.route("/json", any(json).layer(DefaultBodyLimit::max(MAX_JSON_BYTES)))
            }
            _ => routes,
        };
        let routes =
            routes.fallback((StatusCode::NOT_FOUND, "not found; GET / lists the pages\n")).with_state(self);
        axum::serve(Bounded::new(listener), routes.into_make_service_with_connect_info::<Peer>()).await
    }
}

async fn root(headers: HeaderMap) -> impl IntoResponse {
    if page::is_asked_for(&headers) { page::answer() } else { ROUTES.into_response() }
}

async fn healthcheck(State(admin): State<Admin>) -> impl IntoResponse {
    let unhealthy = |why: String| (StatusCode::INTERNAL_SERVER_ERROR, why);
    let HealthyAfter { store, rules } = admin.healthy_after;
    if admin.lifecycle.phase() != Phase::Serving {
        return unhealthy("draining".to_owned());
    }
    let contact = admin.store.contact();
    if store && !contact.is_made() {
        return unhealthy(contact.to_string());
    }
    let has_rules = || admin.rules.as_ref().is_some_and(|rules| !rules.matcher().limits().is_empty());
    if rules && !has_rules() {
        return unhealthy("no domain has rules".to_owned());
    }
    (StatusCode::OK, "OK".to_owned())
}

async fn rlconfig(State(admin): State<Admin>) -> impl IntoResponse {
    admin.rules.map(|publisher| rules::page(publisher.matcher().limits())).unwrap_or_default()
}

async fn json(State(admin): State<Admin>, body: Bytes) -> impl IntoResponse {
    let Some(answer) = admin.json.answer else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let (status, body) = answer(body).await;
    let is_json = matches!(status, StatusCode::OK | StatusCode::TOO_MANY_REQUESTS);
    let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.lifecycle.phase() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned());
    }
    let contact = admin.store.contact();
    let status = if contact.is_made() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, contact.to_string())
}

// === impl Json ===

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").field("page", &self.page).finish_non_exhaustive()
    }
}
