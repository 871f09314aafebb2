//! Many requests for one key at the same moment, each over a connection of its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::task::JoinSet;

use super::DemoError;
use crate::http::{Connection, HttpError};

/// The answers to requests that were sent at once.
pub struct AtOnce {
    pub sent: usize,
    pub admitted: u64,
    pub denied: u64,
    /// The time from before the first request was sent until the last was answered.
    pub took: Duration,
}

impl AtOnce {
    /// Requests that were neither admitted nor denied.
    pub fn without_verdict(&self) -> u64 {
        (self.sent as u64).saturating_sub(self.admitted + self.denied)
    }

    /// The requests that a full bucket may admit in that time: its burst and its refill.
    pub fn allowed(&self, burst: u32, per_minute: u32) -> f64 {
        f64::from(burst) + f64::from(per_minute) / 60.0 * self.took.as_secs_f64()
    }
}

/// Sends the requests after all connections are open, so that they leave together.
pub async fn send(target: SocketAddr, key: &'static str, requests: usize) -> Result<AtOnce, DemoError> {
    let mut connections = Vec::with_capacity(requests);
    for _ in 0..requests {
        connections.push(Connection::open(target).await?);
    }
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut connection in connections {
        running.spawn(async move { connection.get("/", &[("x-api-key", key)]).await });
    }
    let (mut admitted, mut denied) = (0, 0);
    while let Some(answer) = running.join_next().await {
        let answer: Result<_, HttpError> = answer.map_err(DemoError::Task)?;
        match answer?.status {
            StatusCode::OK => admitted += 1,
            StatusCode::TOO_MANY_REQUESTS => denied += 1,
            _ => {}
        }
    }
    Ok(AtOnce { sent: requests, admitted, denied, took: started.elapsed() })
}
