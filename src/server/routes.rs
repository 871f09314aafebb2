//! Which service answers a request: decisions first, then health and reflection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
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
use crate::pb::{
    FILE_DESCRIPTOR_SET,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer, SERVICE_NAME},
};

/// The path of every decision, compared before any routing.
const DECIDE: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The largest request that is decoded; beyond it the answer is OUT_OF_RANGE, and Envoy lets the request pass. So
/// this must be more than a client of the nodes can bring about: header values of 60 kB, in each of 68 descriptors.
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// What envoyproxy/ratelimit calls itself in gRPC health.
const NAME_IN_REFERENCE: &str = "ratelimit";

/// The services of one runtime.
pub(super) struct Routes<S> {
    decide: RateLimitServiceServer<S>,
    others: tonic::service::Routes,
    unfinished: Unfinished,
    /// Of this runtime alone: it is cloned for each call, and the count of one shared by all would be written by all
    /// cores.
    refusals: Arc<Refusals>,
}

/// gRPC health: of the server (the empty name) and of the rate-limit service, always the same.
///
/// The service has two names: its own, and the one under which envoyproxy/ratelimit answers. Without that one the
/// health checks of clusters made for it would find no service, and Envoy would let every request pass.
#[derive(Debug, Clone)]
pub(super) struct Health(HealthReporter);

/// A response in the making.
pub(super) struct Answer {
    response: BoxFuture<Response<Body>, Infallible>,
    /// Of a call that asks for a decision.
    refusals: Option<Arc<Refusals>>,
}

// === impl Routes ===

impl<S: RateLimitService> Routes<S> {
    pub(super) fn new(service: S, health: &Health, refusals: &Refusals) -> Routes<S> {
        let others = tonic::service::Routes::new(health.service())
            .add_service(reflection().build_v1().expect(DESCRIPTORS_ARE_SOUND))
            .add_service(reflection().build_v1alpha().expect(DESCRIPTORS_ARE_SOUND))
            .prepare();
        let decide = RateLimitServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES);
        let refusals = Arc::new(refusals.clone());
        Routes { decide, others, unfinished: Unfinished::default(), refusals }
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
            decide: self.decide.clone(),
            others: self.others.clone(),
            unfinished: self.unfinished.clone(),
            refusals: self.refusals.clone(),
        }
    }
}

impl<S: RateLimitService> hyper::service::Service<Request<Incoming>> for Routes<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let request = request.map(|body| BoundedBody::new(body, &self.unfinished));
        // tower's services want `&mut self`. Both clones are a counter each, and both are always ready.
        if request.uri().path() == DECIDE {
            Answer { response: self.decide.clone().call(request), refusals: Some(self.refusals.clone()) }
        } else {
            Answer { response: Box::pin(self.others.clone().call(request)), refusals: None }
        }
    }
}

// === impl Answer ===

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(self.response.as_mut().poll(context));
        let response = blame_the_client(response);
        if let (Some(refusals), Some(status)) = (&self.refusals, response.extensions().get::<Status>()) {
            refusals.note(status);
        }
        Poll::Ready(Ok(response))
    }
}

/// tonic says INTERNAL to a body whose framing is broken, cut short or missing. The fault is the client's,
/// so that becomes INVALID_ARGUMENT; no service here answers INTERNAL itself.
fn blame_the_client(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>() {
        Some(status) if status.code() == Code::Internal => {
            Status::invalid_argument(status.message()).into_http()
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
        for name in ["", SERVICE_NAME, NAME_IN_REFERENCE] {
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
    fn the_path_of_decisions_belongs_to_the_generated_service() {
        assert_eq!(DECIDE.strip_prefix('/').unwrap().split_once('/').unwrap().0, SERVICE_NAME);
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
