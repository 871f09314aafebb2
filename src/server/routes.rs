//! Routes a request to its service: decisions first, then health and reflection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::body::Incoming;
use tonic::{Code, Status, body::Body, codegen::BoxFuture};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower_service::Service as _;

use super::{
    bounded_body::{BoundedBody, Unfinished},
    refusals::Refusals,
};
use crate::{
    admin::NotDone,
    error::chain,
    hands::{HandsError, Order, Report},
    metrics::Door,
    pb::{
        FILE_DESCRIPTOR_SET,
        authorization_server::{self, AuthorizationServer},
        rate_limit_response::Code as Overall,
        rate_limit_service_server::{self, RateLimitServiceServer},
    },
    protocol::{
        Service,
        rls::json,
        status::{self, Failure},
    },
};

/// The paths of decisions, compared before any routing.
const DECIDE: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The largest request that is decoded. A larger one is answered with OUT_OF_RANGE, and Envoy lets it pass, so this
/// must be more than a client of the nodes can cause: it fits header values of 60 kB in each of 68 descriptors.
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// The name of envoyproxy/ratelimit in gRPC health.
const NAME_IN_REFERENCE: &str = "ratelimit";

/// The services of one runtime. A clone shares them.
pub(super) struct Routes<S> {
    service: Arc<S>,
    decide: RateLimitServiceServer<S>,
    check: AuthorizationServer<S>,
    others: tonic::service::Routes,
    unfinished: Unfinished,
    /// An `Arc` of this runtime alone: it is cloned for each call, and all cores would write the count of a shared one.
    refusals: Arc<Refusals>,
}

/// gRPC health of the server (the empty name) and of its services, which are always the same.
///
/// The rate-limit service has two names: its own, and that of envoyproxy/ratelimit. Without the latter, the health checks of
/// clusters that were configured for envoyproxy/ratelimit would find no service, and Envoy would let every request
/// pass.
#[derive(Debug, Clone)]
pub(super) struct Health(HealthReporter);

/// The response of one call.
pub(super) struct ResponseFuture {
    response: BoxFuture<Response<Body>, Infallible>,
    refusals: Arc<Refusals>,
    method: Method,
}

/// What a call asks for.
enum Method {
    Decide(Door),
    /// The path of any other method.
    Other(Box<str>),
}

// === impl Routes ===

impl<S: Service> Routes<S> {
    pub(super) fn new(service: S, health: &Health, refusals: &Refusals) -> Routes<S> {
        let others = tonic::service::Routes::new(health.service())
            .add_service(reflection().build_v1().expect(DESCRIPTORS_ARE_SOUND))
            .add_service(reflection().build_v1alpha().expect(DESCRIPTORS_ARE_SOUND))
            .prepare();
        let service = Arc::new(service);
        let decide = RateLimitServiceServer::from_arc(Arc::clone(&service));
        let check = AuthorizationServer::from_arc(Arc::clone(&service));
        let refusals = Arc::new(refusals.clone());
        Routes {
            service,
            decide: decide.max_decoding_message_size(MAX_REQUEST_BYTES),
            check: check.max_decoding_message_size(MAX_REQUEST_BYTES),
            others,
            unfinished: Unfinished::default(),
            refusals,
        }
    }

    /// Is called once, after the last request.
    pub(super) async fn finish(&self) {
        self.service.finish().await;
    }

    /// Answers a request as JSON as the gRPC port answers it. A refusal is counted and logged.
    pub(super) async fn answer_json(&self, body: &[u8]) -> (StatusCode, String) {
        let answer = async {
            let message = json::request(body)?;
            let reply = self.service.should_rate_limit(tonic::Request::new(message)).await?;
            json::answer(reply.get_ref())
        };
        let answer = answer.await;
        if let Err(status) = &answer {
            self.refusals.note(Door::Rls, status);
        }
        answered(answer)
    }

    /// Does what an operator ordered to the buckets that this request, as JSON, asks.
    pub(super) async fn act(&self, order: &Order, request: &[u8]) -> Result<Report, NotDone> {
        let message = json::request(request);
        let message = message.map_err(|bad| (StatusCode::BAD_REQUEST, bad.message().to_owned()))?;
        let done = self.service.act(order, &message).await;
        done.map_err(|error| {
            let status = match &error {
                HandsError::NoLimit(_) => StatusCode::UNPROCESSABLE_ENTITY,
                HandsError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
                HandsError::Domain(_) | HandsError::OtherLimit { .. } | HandsError::BadRequest(_) => {
                    StatusCode::BAD_REQUEST
                }
            };
            (status, chain(&error))
        })
    }

    /// Answers a check by HTTP. A refusal is counted and logged.
    pub(super) async fn check_http(&self, parts: &http::request::Parts) -> Response<Vec<u8>> {
        match self.service.check_http(parts).await {
            Ok(response) => response,
            Err(status) => {
                self.refusals.note(Door::AuthzHttp, &status);
                refused(&status)
            }
        }
    }
}

/// The status and the body of an answer to a request as JSON.
fn answered(answer: Result<json::Answer, Status>) -> (StatusCode, String) {
    match answer {
        Ok(json::Answer { code: Overall::Unknown, body }) => (StatusCode::INTERNAL_SERVER_ERROR, body),
        Ok(json::Answer { code: Overall::Ok, body }) => (StatusCode::OK, body),
        Ok(json::Answer { code: Overall::OverLimit, body }) => (StatusCode::TOO_MANY_REQUESTS, body),
        // envoyproxy/ratelimit answers every error like this, those of the store too.
        Err(status) => (StatusCode::BAD_REQUEST, format!("Bad Request: {}\n", status.message())),
    }
}

const DESCRIPTORS_ARE_SOUND: &str = "descriptors come from the compiler of this build";

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

impl<S> Clone for Routes<S> {
    fn clone(&self) -> Self {
        Routes {
            service: Arc::clone(&self.service),
            decide: self.decide.clone(),
            check: self.check.clone(),
            others: self.others.clone(),
            unfinished: self.unfinished.clone(),
            refusals: self.refusals.clone(),
        }
    }
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Routes<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let request = request.map(|body| BoundedBody::new(body, &self.unfinished));
        let refusals = self.refusals.clone();
        // tower's services want `&mut self`. Cloning either is cheap, and both are always ready.
        if request.uri().path() == DECIDE {
            let method = Method::Decide(Door::Rls);
            ResponseFuture { response: self.decide.clone().call(request), refusals, method }
        } else if request.uri().path() == CHECK {
            let method = Method::Decide(Door::Authz);
            ResponseFuture { response: self.check.clone().call(request), refusals, method }
        } else {
            let method = Method::Other(request.uri().path().into());
            ResponseFuture { response: Box::pin(self.others.clone().call(request)), refusals, method }
        }
    }
}

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(self.response.as_mut().poll(context));
        let response = blame_the_client(response);
        match &self.method {
            Method::Decide(door) => {
                if let Some(status) = response.extensions().get::<Status>() {
                    self.refusals.note(*door, status);
                }
            }
            Method::Other(path) if is_unimplemented(&response) => self.refusals.note_unknown_method(path),
            Method::Other(_) => {}
        }
        Poll::Ready(Ok(response))
    }
}

/// The answer to a check by HTTP that was refused. It reaches the client, so the reason is only in the log.
fn refused(status: &Status) -> Response<Vec<u8>> {
    let mut response = Response::new(b"The rate limit of this request cannot be checked.\n".to_vec());
    *response.status_mut() = status::http(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn is_unimplemented(response: &Response<Body>) -> bool {
    let code = response.headers().get(Status::GRPC_STATUS);
    code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unimplemented)
}

/// tonic answers INTERNAL to a body whose framing is broken, cut short or missing. The fault is the client's, so this
/// turns it into INVALID_ARGUMENT. No service here answers INTERNAL itself.
fn blame_the_client(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>() {
        Some(status) if status.code() == Code::Internal => {
            Status::from(Failure::BrokenFrame(status.message().to_owned())).into_http()
        }
        _ => response,
    }
}

// === impl Health ===

impl Health {
    pub(super) async fn serving() -> Health {
        let health = Health(HealthReporter::new());
        health.set(ServingStatus::Serving).await;
        health
    }

    pub(super) async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        let names = [
            "",
            rate_limit_service_server::SERVICE_NAME,
            authorization_server::SERVICE_NAME,
            NAME_IN_REFERENCE,
        ];
        for name in names {
            self.0.set_service_status(name, status).await;
        }
    }

    fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_decisions_belong_to_the_generated_services() {
        let service = |path: &'static str| path.strip_prefix('/').unwrap().split_once('/').unwrap().0;
        assert_eq!(service(DECIDE), rate_limit_service_server::SERVICE_NAME);
        assert_eq!(service(CHECK), authorization_server::SERVICE_NAME);
    }

    #[test]
    fn only_internal_is_turned_into_a_fault_of_the_client() {
        let answer = |status: Status| {
            let response = blame_the_client(status.into_http());
            response.headers()["grpc-status"].to_str().unwrap().parse::<i32>().unwrap()
        };
        assert_eq!(answer(Status::internal("cut short")), Code::InvalidArgument as i32);
        assert_eq!(answer(Status::unavailable("no store")), Code::Unavailable as i32);
    }
}
