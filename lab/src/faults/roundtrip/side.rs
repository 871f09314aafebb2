//! One Tollgate with a store of its own, three nodes in front of it, and how long it takes by either way.

use std::{collections::BTreeSet, time::Instant};

use tollgate_core::duration::micros;

use super::{FaultsError, ms};
use crate::{
    faults::{
        asker::{Answer, Asker},
        stack::sum,
    },
    http::{self, Connection},
    tollgate::{Serve, Tollgate},
    topology::{Global, Topology, Variant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    /// Through the load balancer and a node.
    ThroughNodes,
}

pub(super) struct Side {
    asker: Asker,
    connection: Connection,
    took_us: Vec<u64>,
    passed: u64,
    /// The nodes that answered.
    nodes: BTreeSet<String>,
    before: Counts,
    tollgate: Tollgate,
    _topology: Topology,
}

/// Measurements of one way.
pub(super) struct Figures {
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    /// Answers that the store decided.
    pub(super) decided: u64,
    pub(super) by_fallback: u64,
    /// Requests of the clients that passed.
    passed: u64,
    nodes: usize,
}

/// Counts from the metrics of Tollgate.
#[derive(Clone, Copy)]
struct Counts {
    decided: u64,
    by_fallback: u64,
}

// === impl Side ===

impl Side {
    /// Returns when its store and its nodes answer.
    pub(super) async fn start(serve: &Serve) -> Result<Side, FaultsError> {
        let tollgate = Tollgate::start(serve).await?;
        let mut asker = Asker::connect(tollgate.grpc()).await?;
        asker.until_store("user", "warm").await?;
        let topology = Topology::start(&Variant::Global(Global::new([tollgate.grpc()]))).await?;
        let mut connection = Connection::open(topology.addr()).await?;
        for _ in 0..30 {
            connection.get("/", &[("x-api-key", "warm")]).await?;
        }
        let before = counts(&tollgate).await?;
        Ok(Side {
            asker,
            connection,
            took_us: Vec::new(),
            passed: 0,
            nodes: BTreeSet::new(),
            before,
            tollgate,
            _topology: topology,
        })
    }

    pub(super) async fn ask(&mut self, way: Way, requests: usize) -> Result<(), FaultsError> {
        for number in 0..requests {
            let asked = Instant::now();
            let has_passed = match way {
                Way::Straight => match self.asker.ask("user", "u").await {
                    Answer::Admitted { .. } => true,
                    Answer::Fallback { admitted } => admitted,
                    Answer::Denied { .. } | Answer::None => false,
                },
                Way::ThroughNodes => {
                    let answer = self.connection.get("/", &[("x-api-key", "u")]).await?;
                    self.nodes.extend(answer.header("x-edge-node").map(str::to_owned));
                    answer.status.is_success()
                }
            };
            // The first of a round finds cold caches.
            if number > 0 {
                self.took_us.push(micros(asked.elapsed()));
            }
            self.passed += u64::from(has_passed);
        }
        Ok(())
    }

    /// The figures of all requests since the last call.
    pub(super) async fn figures(&mut self) -> Result<Figures, FaultsError> {
        let mut took_us = std::mem::take(&mut self.took_us);
        took_us.sort_unstable();
        let rank = |per_cent: usize| took_us[took_us.len() * per_cent / 100];
        let now = counts(&self.tollgate).await?;
        let before = std::mem::replace(&mut self.before, now);
        Ok(Figures {
            p50_us: rank(50),
            p99_us: rank(99),
            decided: now.decided - before.decided,
            by_fallback: now.by_fallback - before.by_fallback,
            passed: std::mem::take(&mut self.passed),
            nodes: std::mem::take(&mut self.nodes).len(),
        })
    }
}

async fn counts(tollgate: &Tollgate) -> Result<Counts, FaultsError> {
    let page = http::get(tollgate.admin(), "/metrics", &[]).await?.text();
    Ok(Counts { decided: sum(&page, r#"source="store""#), by_fallback: sum(&page, r#"source="allow""#) })
}

// === impl Figures ===

impl Figures {
    pub(super) fn words(&self) -> String {
        let Figures { p50_us, p99_us, decided, by_fallback, .. } = self;
        format!(
            "p50 {} ms, p99 {} ms, {decided} decided and {by_fallback} by fallback",
            ms(*p50_us),
            ms(*p99_us)
        )
    }

    /// Whether each request passed, Tollgate answered each of them, and this number of nodes took part.
    pub(super) fn is_whole(&self, requests: u64, nodes: usize) -> bool {
        self.passed == requests && self.decided + self.by_fallback == requests && self.nodes == nodes
    }
}
