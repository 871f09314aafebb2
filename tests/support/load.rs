//! Clients that never pause, and counts of their answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lab::http::Connection;
use tokio::task::JoinSet;

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    sent: AtomicU64,
    admitted: AtomicU64,
}

/// A load that runs until it is stopped. The test fails then if any request got no answer, or another one than 200 or
/// 429.
#[derive(Debug)]
pub(crate) struct Load {
    counts: Arc<Counts>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts this number of clients, which ask `addr` for `/` with the key `load`.
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Load {
        let counts = Arc::<Counts>::default();
        let mut load = Load { counts: Arc::clone(&counts), clients: JoinSet::new() };
        for _ in 0..clients {
            let counts = Arc::clone(&counts);
            load.clients.spawn(async move { counts.client(addr).await });
        }
        load
    }

    /// The number of requests answered so far.
    pub(crate) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// The number of requests that were answered, and of those that were admitted.
    pub(crate) async fn stop(mut self) -> (u64, u64) {
        self.counts.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client that was always answered");
        }
        (self.sent(), self.counts.admitted.load(Ordering::Relaxed))
    }
}

impl Counts {
    async fn client(&self, addr: SocketAddr) {
        let mut connection = Connection::open(addr).await.expect("connects");
        while !self.stop.load(Ordering::Relaxed) {
            let answer = connection.get("/", &[("x-api-key", "load")]).await.expect("an answer");
            assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
            self.sent.fetch_add(1, Ordering::Relaxed);
            self.admitted.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
        }
    }
}
