//! `POST /buckets/peek`, `/buckets/reset` and `/buckets/grant`: acts on the buckets of one key, for whoever has the token.
//!
//! Each act leaves a line in the log under `tollgate::audit`: who did it (the peer's address), to which bucket (its key,
//! which shows no value), and what was there before and after.

use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::{self, Body, Bytes},
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse as _, Response},
    routing::post,
};
use tracing::{error, info, warn};

use super::{
    Admin, MAX_JSON_BYTES,
    connections::Peer,
    token::{AGAIN_AFTER, Attempt, TokenFile},
};
use crate::{
    error::chain,
    hands::{
        Order, Report,
        json::{self, Asked},
    },
    metrics::{ActResult, Metrics},
};

const AUDIT: &str = "tollgate::audit";
const OFF: &str = "acts on buckets are off; start tollgate serve with --admin-token-file\n";

/// Why an act was not done: the status, and a text for the operator.
pub(crate) type NotDone = (StatusCode, String);
type ActAnswer = Pin<Box<dyn Future<Output = Result<Report, NotDone>> + Send>>;

/// Who may act on buckets, and what does it once the server runs.
#[derive(Clone, Default)]
pub(super) struct Acts {
    /// None: nobody may.
    token: Option<TokenFile>,
    answer: Option<Arc<dyn Fn(Order, Bytes) -> ActAnswer + Send + Sync>>,
}

pub(super) fn routes() -> Router<Admin> {
    let act = |name| {
        post(
            async move |State(admin): State<Admin>,
                        ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
                        request: Request| {
                admin.acts.answer(name, peer, request, &admin.metrics).await
            },
        )
    };
    let routes = Router::new().route("/buckets/peek", act("peek")).route("/buckets/reset", act("reset"));
    routes.route("/buckets/grant", act("grant"))
}

// === impl Acts ===

impl Acts {
    pub(super) fn for_whoever_has(self, token: Option<TokenFile>) -> Acts {
        Acts { token, ..self }
    }

    pub(super) fn answering<F: Future<Output = Result<Report, NotDone>> + Send + 'static>(
        self,
        answer: impl Fn(Order, Bytes) -> F + Send + Sync + 'static,
    ) -> Acts {
        let answer = move |order, request| -> ActAnswer { Box::pin(answer(order, request)) };
        Acts { answer: Some(Arc::new(answer)), ..self }
    }

    /// Answers a request for the act of this name.
    pub(super) async fn answer(
        &self,
        name: &'static str,
        peer: SocketAddr,
        request: Request,
        metrics: &Metrics,
    ) -> Response {
        let (parts, body) = request.into_parts();
        if let Err(refused) = self.admit(name, peer, &parts.headers).await {
            metrics.count_act(name, ActResult::Refused);
            return refused;
        }
        match self.act(name, peer, body).await {
            Ok(report) => {
                metrics.count_act(name, ActResult::Done);
                ([(CONTENT_TYPE, "application/json")], json::write(&report)).into_response()
            }
            Err((status, why)) => {
                metrics.count_act(name, ActResult::Failed);
                (status, why + "\n").into_response()
            }
        }
    }

    /// Fails with the answer for whoever has not shown the token.
    async fn admit(&self, name: &str, peer: SocketAddr, headers: &HeaderMap) -> Result<(), Response> {
        let Some(token) = &self.token else { return Err((StatusCode::NOT_FOUND, OFF).into_response()) };
        match token.attempt(peer.ip(), bearer(headers)).await {
            Ok(Attempt::Right) => Ok(()),
            Ok(Attempt::Wrong) => {
                warn!(target: AUDIT, act = name, %peer, "refused an act on buckets: the token is wrong or missing");
                let why = "show the token of --admin-token-file as `authorization: Bearer TOKEN`\n";
                Err((StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], why).into_response())
            }
            Ok(Attempt::TooMany) => {
                let after = AGAIN_AFTER.as_secs().to_string();
                let why = "too many wrong tokens from this address\n";
                Err((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, after)], why).into_response())
            }
            Err(unusable) => {
                error!(target: AUDIT, act = name, %peer, "refused an act on buckets: {}", chain(&unusable));
                let why = "the token file cannot be used; the log says why\n";
                Err((StatusCode::SERVICE_UNAVAILABLE, why).into_response())
            }
        }
    }

    async fn act(&self, name: &'static str, peer: SocketAddr, body: Body) -> Result<Report, NotDone> {
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        let body = body::to_bytes(body, MAX_JSON_BYTES).await;
        let body = body.map_err(|error| bad(format!("the body cannot be read: {}", chain(&error))))?;
        let Asked { order, request } = json::order(name, &body).map_err(|wrong| bad(wrong.to_string()))?;
        let Some(answer) = &self.answer else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "not yet serving".to_owned()));
        };
        let done = answer(order, request).await;
        match &done {
            Ok(report) => report.buckets.iter().for_each(|bucket| {
                let (before, after) = (bucket.shown.before, bucket.shown.after);
                info!(
                    target: AUDIT, act = name, %peer, domain = report.domain, limit = bucket.limit,
                    bucket = bucket.bucket, %before, %after, "an operator acted on a bucket"
                );
            }),
            Err((status, _)) => {
                info!(target: AUDIT, act = name, %peer, status = status.as_u16(), "an operator's act failed");
            }
        }
        done
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

impl fmt::Debug for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acts").field("token", &self.token).finish_non_exhaustive()
    }
}
