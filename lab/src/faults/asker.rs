//! A client that calls Tollgate directly, and distinguishes the store's answers from fallback answers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tollgate::{
    pb::{
        RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
        rate_limit_service_client::RateLimitServiceClient,
    },
    store::redis::keys::redis_key,
};
use tollgate_core::{
    descriptor::{self, BucketKey, KeyForm},
    limit::Limit,
};
use tonic::transport::Channel;

use super::FaultsError;

const DOMAIN: &str = "edge";

#[derive(Debug)]
pub(super) struct Asker {
    client: RateLimitServiceClient<Channel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A decision of the store, or of the denial cache on its behalf.
    Admitted {
        remaining: u32,
    },
    Denied {
        wait_s: u64,
    },
    Fallback {
        admitted: bool,
    },
    /// There was no answer.
    None,
}

impl Asker {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Asker, FaultsError> {
        let endpoint = Channel::from_shared(format!("http://{addr}")).expect("an address");
        Ok(Asker { client: RateLimitServiceClient::new(endpoint.connect().await?) })
    }

    /// One hit for `key` = `value` in the domain `edge`.
    pub(super) async fn ask(&mut self, key: &str, value: &str) -> Answer {
        self.ask_for(key, &[value]).await
    }

    /// One hit for each of these values of `key`, which all must have room.
    pub(super) async fn ask_for(&mut self, key: &str, values: &[&str]) -> Answer {
        let request = request(key, values.iter().copied());
        let Ok(answer) = self.client.should_rate_limit(request).await else {
            return Answer::None;
        };
        let answer = answer.into_inner();
        // With the switch off, only fallback answers have metadata.
        if answer.dynamic_metadata.is_some() {
            return Answer::Fallback { admitted: answer.overall_code() == Code::Ok };
        }
        let status = answer.statuses.first();
        match answer.overall_code() {
            Code::Ok => Answer::Admitted { remaining: status.map_or(0, |status| status.limit_remaining) },
            _ => {
                let wait = status.and_then(|status| status.duration_until_reset);
                let wait_s = wait.map_or(0, |wait| u64::try_from(wait.seconds).unwrap_or(0));
                Answer::Denied { wait_s }
            }
        }
    }

    /// Asks for one hit for each value in one request. Returns whether there was an answer.
    pub(super) async fn ask_all(&mut self, key: &str, values: impl Iterator<Item = String>) -> bool {
        let values: Vec<String> = values.collect();
        let values = values.iter().map(String::as_str);
        self.client.should_rate_limit(request(key, values)).await.is_ok()
    }

    /// Asks until the store answers. Returns the time that this took.
    pub(super) async fn until_store(&mut self, key: &str, value: &str) -> Result<Duration, FaultsError> {
        const PATIENCE_S: u64 = 20;
        let started = Instant::now();
        while started.elapsed().as_secs() < PATIENCE_S {
            if let Answer::Admitted { .. } | Answer::Denied { .. } = self.ask(key, value).await {
                return Ok(started.elapsed());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(FaultsError::NotHealed(PATIENCE_S))
    }
}

/// The Redis key of the bucket that `key` = `value` is charged to.
pub(super) fn bucket_name(key: &str, value: &str, limit: &Limit) -> String {
    let entry = descriptor::Entry::from((key.as_bytes(), value.as_bytes()));
    let bucket = BucketKey::new(DOMAIN.as_bytes(), std::iter::once(entry), limit, None);
    String::from_utf8_lossy(&redis_key(&bucket)).into_owned()
}

/// The bucket of the same in a Redis Cluster.
pub(super) fn tagged_bucket(key: &str, value: &str, limit: &Limit) -> BucketKey {
    let entry = descriptor::Entry::from((key.as_bytes(), value.as_bytes()));
    KeyForm::Tagged.key(DOMAIN.as_bytes(), std::iter::once(entry), limit, None)
}

fn request<'a>(key: &str, values: impl IntoIterator<Item = &'a str>) -> RateLimitRequest {
    let descriptor = |value: &str| RateLimitDescriptor {
        entries: vec![Entry { key: key.to_owned().into(), value: value.to_owned().into() }],
        ..RateLimitDescriptor::default()
    };
    let descriptors = values.into_iter().map(descriptor).collect();
    RateLimitRequest { domain: DOMAIN.to_owned(), descriptors, hits_addend: 0 }
}
