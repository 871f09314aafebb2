//! HTTP for operators, on a port of its own.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | this list, as text |
//! | `GET /healthcheck` | 200 `OK`; 500 from SIGTERM on. Liveness: Redis plays no part |
//! | `GET /ready` | 503 and the reason until every runtime had a connection to a store that it can use, and from SIGTERM on; else 200: `OK`, or `degraded: ` and the reason, since Tollgate answers without its store too |
//! | `GET /metrics` | Prometheus, text format |
//!
//! Anything else is 404, another method 405. It answers until the last connection of the gRPC port is
//! gone, so that a drain can be watched.

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
tollgate admin
GET /healthcheck  200 while serving, 500 from SIGTERM on
GET /ready        200 once the store could be used, with what is wrong now; 503 and why before, and from SIGTERM on
GET /metrics      Prometheus text format
";

/// What the routes show.
#[derive(Debug, Clone)]
pub struct Admin {
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    store: Arc<StoreHealth>,
    /// Held while the page of metrics is made. That is done off the thread that serves here, which also accepts the
    /// connections of the gRPC port, and for one scraper at a time.
    page: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    pub fn new(lifecycle: Lifecycle, metrics: Arc<Metrics>) -> Admin {
        Admin { lifecycle, metrics, store: Arc::new(StoreHealth::always()), page: Arc::default() }
    }

    /// `/ready` goes by that store; without, the store is always there.
    #[must_use]
    pub fn store(self, store: Arc<StoreHealth>) -> Admin {
        Admin { store, ..self }
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until dropped. Ends with an error only where the listener is broken for good.
    pub(crate) async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let routes = Router::new()
            .route("/", get(ROUTES))
            .route("/healthcheck", get(healthcheck))
            .route("/ready", get(ready))
            .route("/metrics", get(exposition))
            .fallback((StatusCode::NOT_FOUND, "not found; GET / lists what there is\n"))
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
        // A panic, which was reported when it happened.
        Err(_) => {
            Task::MetricsPage.count_panic();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
