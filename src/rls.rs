//! The wire: decodes `ShouldRateLimit`, asks the limiter, counts, and encodes what came out.
//!
//! A denial is an answer. A gRPC error says that there is no decision: INVALID_ARGUMENT for a request
//! without meaning, UNAVAILABLE when the store has no answer and the limits say `error`.

pub mod codec;

use tonic::{Request, Response, Status};

use crate::{
    descriptor::{Entry, Hits},
    limiter::{BadRequest, Descriptor, Limiter},
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_service_server::RateLimitService,
    },
    response::Contract,
};

/// One runtime's service.
#[derive(Debug)]
pub struct Rls {
    limiter: Limiter,
    contract: Contract,
}

impl Rls {
    pub fn new(limiter: Limiter, contract: Contract) -> Rls {
        Rls { limiter, contract }
    }
}

#[tonic::async_trait]
impl RateLimitService for Rls {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.get_ref();
        let descriptors = request.descriptors.iter().map(|wire| descriptor(wire, request.hits_addend));
        let outcome = self.limiter.decide(request.domain.as_bytes(), descriptors).await.map_err(refused)?;
        match outcome.verdict {
            Some(verdict) => Ok(Response::new(self.contract.response(&outcome, verdict))),
            None => Err(Status::unavailable("the store has no answer")),
        }
    }
}

fn descriptor(
    wire: &RateLimitDescriptor,
    hits_of_request: u32,
) -> Descriptor<impl Iterator<Item = Entry<'_>> + Clone> {
    Descriptor {
        entries: wire.entries.iter().map(|entry| Entry { key: &entry.key, value: &entry.value }),
        hits: Hits::new(wire.hits_addend, hits_of_request, wire.is_negative_hits),
    }
}

fn refused(bad: BadRequest) -> Status {
    Status::invalid_argument(bad.to_string())
}
