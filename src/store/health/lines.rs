//! What is known of all connections of the process.

use std::{collections::BTreeMap, sync::Arc};

use super::outage::Outage;

/// The number of connections in each state, and the last error.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// All of them: each runtime keeps one.
    pub(super) kept: usize,
    /// Those that were up at least once while nothing was refused.
    pub(super) met: usize,
    pub(super) up: usize,
    /// Those over which the store refuses calls.
    pub(super) refusing: usize,
    /// By the address of the server: a Redis Cluster has several.
    pub(super) servers: BTreeMap<Arc<str>, ServerLines>,
    /// The slots of a Redis Cluster that no master serves.
    pub(super) unserved: usize,
    /// Why a connection is down.
    pub(super) trouble: Trouble,
    /// What the store refused last over a connection that is up.
    pub(super) complaint: String,
    /// It was logged that the store refuses calls, and not yet that it grants them again.
    pub(super) is_told: bool,
}

/// The connections to one server.
#[derive(Debug, Default)]
pub(super) struct ServerLines {
    pub(super) kept: usize,
    pub(super) up: usize,
    /// Those that have been up for a moment.
    pub(super) settled: usize,
    pub(super) outage: Outage,
}

/// Why a connection is down.
#[derive(Debug, Default)]
pub(super) enum Trouble {
    #[default]
    None,
    Away(String),
    /// The store is there and cannot be used.
    Denied(String),
}

// === impl Lines, Trouble ===

impl Lines {
    /// What is wrong with a store that can be used in part. Of several servers, it names those that are away.
    pub(super) fn trouble(&self) -> String {
        let mut told = Vec::new();
        if self.servers.len() > 1 {
            let away = self.servers.iter().filter(|(_, server)| server.up < server.kept);
            let away: Vec<&str> = away.map(|(address, _)| &**address).collect();
            told.extend((!away.is_empty()).then(|| format!("away: {}", away.join(", "))));
        }
        told.extend(
            (self.unserved > 0).then(|| format!("no master serves {} of 16384 slots", self.unserved)),
        );
        told.extend(Some(self.trouble.text().to_owned()).filter(|text| !text.is_empty()));
        told.join("; ")
    }
}

impl Trouble {
    pub(super) fn text(&self) -> &str {
        match self {
            Trouble::None => "",
            Trouble::Away(text) | Trouble::Denied(text) => text,
        }
    }
}
