//! HTTP for operators, on a port of its own.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | this list, as text |
//! | `GET /healthcheck` | Liveness: 200 `OK`, and 500 from SIGTERM on, whatever the state of Redis |
//! | `GET /ready` | Readiness: 503 and the reason until every runtime has had a connection to a store that it can use, and from SIGTERM on. Otherwise 200: `OK`, or `degraded: ` and the reason, because Tollgate also answers without its store |
//! | `GET /metrics` | metrics in Prometheus text format |
//!
//! Any other path is answered with 404, any other method with 405. The port answers until the last connection of the
//! gRPC port is closed, so that a drain can be watched.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, task};

use crate::{
    lifecycle::{Lifecycle, Phase},
    metrics::{self, Metrics},
    store::health::{Contact, StoreHealth},
    tasks::Task,
};

const ROUTES: &str = "\
Tollgate's admin port
GET /healthcheck  200 while serving, 500 from SIGTERM on
GET /ready        200 once every runtime has been able to use the store: OK, or degraded and the reason;
                  503 and the reason before that, and from SIGTERM on
GET /metrics      metrics in Prometheus text format
";

/// The state that the routes show. A clone shares all of it.
#[derive(Debug, Clone)]
pub struct Admin {
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    store: Arc<StoreHealth>,
    /// Held while the page of metrics is rendered: for one scraper at a time, and on another thread, because this one
    /// also accepts the connections of the gRPC port.
    page: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    /// Shows the phase of `lifecycle` and the counts of `metrics`.
    pub fn new(lifecycle: Lifecycle, metrics: Arc<Metrics>) -> Admin {
        Admin { lifecycle, metrics, store: Arc::new(StoreHealth::always()), page: Arc::default() }
    }

    /// Makes `/ready` depend on that store. Without this call, the store counts as always available.
    #[must_use]
    pub fn store(self, store: Arc<StoreHealth>) -> Admin {
        Admin { store, ..self }
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until dropped. Fails only if the listener is broken for good.
    pub(crate) async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let routes = Router::new()
            .route("/", get(ROUTES))
            .route("/healthcheck", get(healthcheck))
            .route("/ready", get(ready))
            .route("/metrics", get(exposition))
            .fallback((StatusCode::NOT_FOUND, "not found; GET / lists the pages\n"))
            .with_state(self);
        axum::serve(listener, routes).await
    }
}

async fn healthcheck(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.lifecycle.phase() {
        Phase::Serving => (StatusCode::OK, "OK"),
        Phase::Leaving | Phase::Draining | Phase::Ended => (StatusCode::INTERNAL_SERVER_ERROR, "draining"),
    }
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.lifecycle.phase() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned());
    }
    let contact = admin.store.contact();
    let status = match contact {
        Contact::NotYet { .. } | Contact::Unusable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Contact::All | Contact::Degraded { .. } | Contact::Refused { .. } => StatusCode::OK,
    };
    (status, contact.to_string())
}

async fn exposition(State(admin): State<Admin>) -> impl IntoResponse {
    let turn = Arc::clone(&admin.page).lock_owned().await;
    let page = task::spawn_blocking(move || {
        let _turn = turn;
        admin.metrics.render()
    });
    match page.await {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        // A panic, which the panic hook has logged.
        Err(_) => {
            Task::MetricsPage.count_panic();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
