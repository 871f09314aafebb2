//! Asks Sentinels where the master is, and watches them for a new one.
//!
//! All of them are asked once a second, and at once when one of them reports a new master or a connection to Redis was
//! lost. The answer with the highest epoch counts, since each failover has a higher one; of equal epochs, the master
//! that most of them name. Whoever connects waits for an answer that was asked for after the loss: an old master may
//! come back and accept requests before the Sentinels have demoted it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, pipe};
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    address::{self, Place, RedisTarget, Server},
    connection::{Dialled, NoConnection, connect_with},
};
use crate::{
    store::refusal::{Complaint, Refusal},
    tasks::{self, Task},
};

const EVERY: Duration = Duration::from_secs(1);
/// The time for the answer of one Sentinel, including the connection. Shorter than the time that a connection to Redis
/// may take, which includes it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The Sentinels of one master; shared by the runtimes of a process.
#[derive(Debug)]
pub(super) struct Sentinels {
    target: RedisTarget,
    master: String,
    peers: Vec<Arc<Peer>>,
    /// The number of rounds that were asked for.
    wanted: AtomicU64,
    ask: Arc<Notify>,
    view: watch::Sender<View>,
}

/// What the last round has shown.
#[derive(Debug, Clone, Default)]
struct View {
    /// The number of rounds that were asked for when it began.
    round: u64,
    /// The master, or why it is not known. None before the first round.
    master: Option<Result<Place, String>>,
}

/// One Sentinel.
#[derive(Debug)]
struct Peer {
    server: Server,
    connection: Mutex<Option<Dialled>>,
}

/// One Sentinel's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    epoch: u64,
    master: Place,
}

// === impl Sentinels ===

impl Sentinels {
    pub(super) fn new(target: &RedisTarget, sentinels: &address::Sentinels) -> Sentinels {
        let peer = |place: &Place| {
            let server = target.sentinel(sentinels, place.clone());
            Arc::new(Peer { server, connection: Mutex::default() })
        };
        Sentinels {
            target: target.clone(),
            master: sentinels.master.clone(),
            peers: sentinels.places.iter().map(peer).collect(),
            wanted: AtomicU64::new(0),
            ask: Arc::default(),
            view: watch::Sender::default(),
        }
    }

    /// Asks them forever. Without it, [`master`](Self::master) waits forever.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut told = Told::default();
        loop {
            tasks::may_panic(Task::StoreConnection);
            let round = self.wanted.load(Ordering::Acquire);
            let master = self.ask().await;
            told.tell(&self.master, &master);
            self.view.send_replace(View { round, master: Some(master) });
            // Fails if nobody asks in time.
            let _ = timeout(EVERY, self.ask.notified()).await;
        }
    }

    /// The master according to a round that begins from now on.
    pub(super) async fn master(&self) -> Result<Server, String> {
        let mut view = self.view.subscribe();
        let round = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.ask.notify_one();
        // The sender lives as long as this.
        let seen = view.wait_for(|view| view.round >= round).await.map_err(|closed| closed.to_string())?;
        self.found(seen.master.as_ref())
    }

    /// Returns when they name another master than this one. While none of them answers, this one stays.
    pub(super) async fn moved(&self, from: &Place) {
        let moved = |view: &View| matches!(&view.master, Some(Ok(master)) if master != from);
        if self.view.subscribe().wait_for(moved).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The master according to one round, for a process that does not watch them.
    pub(super) async fn master_once(&self) -> Result<Server, String> {
        self.found(Some(&self.ask().await))
    }

    fn found(&self, master: Option<&Result<Place, String>>) -> Result<Server, String> {
        match master {
            Some(Ok(place)) => Ok(self.target.server(place.clone())),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("the Sentinels were not asked yet".to_owned()),
        }
    }

    async fn ask(&self) -> Result<Place, String> {
        let mut answers = JoinSet::new();
        for peer in &self.peers {
            let (peer, master, ask) = (Arc::clone(peer), self.master.clone(), Arc::clone(&self.ask));
            answers.spawn(async move {
                let word = timeout(PATIENCE, peer.ask(&master, &ask)).await;
                let late = || Err(format!("no answer within {} ms", PATIENCE.as_millis()));
                let word = word.unwrap_or_else(|_elapsed| late());
                word.map_err(|error| format!("Sentinel {}: {error}", peer.server.place()))
            });
        }
        let (words, errors): (Vec<_>, Vec<_>) = answers.join_all().await.into_iter().partition(Result::is_ok);
        let words: Vec<Word> = words.into_iter().flatten().collect();
        choose(&words).ok_or_else(|| {
            let errors: Vec<String> = errors.into_iter().filter_map(Result::err).collect();
            errors.join("; ")
        })
    }
}

/// What the log has said.
#[derive(Debug, Default)]
struct Told {
    master: Option<Place>,
    /// No Sentinel names the master at the moment.
    silent: bool,
}

impl Told {
    fn tell(&mut self, name: &str, master: &Result<Place, String>) {
        match master {
            Ok(new) => {
                if let Some(old) = self.master.replace(new.clone()).filter(|old| old != new) {
                    tracing::warn!(master = name, %old, %new, "the Sentinels name a new master");
                }
                if std::mem::take(&mut self.silent) {
                    tracing::info!(master = name, "the Sentinels name the master again");
                }
            }
            // Before a master was known, whoever connects says so.
            Err(error) if self.master.is_some() && !self.silent => {
                self.silent = true;
                tracing::warn!(
                    master = name,
                    error,
                    "no Sentinel names the master: open connections stay, a failover goes unnoticed, and a lost \
                     connection cannot be replaced. Check the Sentinels"
                );
            }
            Err(_) => {}
        }
    }
}

/// The master of the highest epoch, and of those the one that is named most often.
fn choose(words: &[Word]) -> Option<Place> {
    let epoch = words.iter().map(|word| word.epoch).max()?;
    let newest = || words.iter().filter(|word| word.epoch == epoch).map(|word| &word.master);
    newest().max_by_key(|master| newest().filter(|other| other == master).count()).cloned()
}

// === impl Peer ===

impl Peer {
    /// Asks over the connection of the last round, if it is still there.
    async fn ask(&self, master: &str, ask: &Arc<Notify>) -> Result<Word, String> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that an attempt that is given up leaves no connection whose answers nobody has read.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect(ask).await?,
        };
        let mut both = pipe();
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        both.cmd("SENTINEL").arg("MASTER").arg(master);
        let both = both.ignore_errors().query_async::<Answers>(&mut connection.inner).await;
        let (address, fields) = both.map_err(|error| error.to_string())?;
        *kept = Some(connection);
        let (name, port) = address
            .map_err(|error| refused(&error))?
            .ok_or_else(|| format!("it knows no master with the name {master}"))?;
        // Without the right to the second command, or with a proxy that does not know it, the majority counts.
        let epoch = fields.ok().and_then(|fields| fields.get("config-epoch")?.parse().ok()).unwrap_or(0);
        Ok(Word { epoch, master: Place::Host { name, port } })
    }

    /// Connects, and has it report new masters.
    async fn connect(&self, ask: &Arc<Notify>) -> Result<Dialled, String> {
        let ask = Arc::clone(ask);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            if matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                ask.notify_one();
            }
            Ok::<(), redis::aio::SendError>(())
        });
        let connected = connect_with(&self.server, config).await;
        let mut connection = connected.map_err(|none| match none {
            NoConnection::Away(error) => error,
            NoConnection::Denied(complaint) => complaint.to_string(),
        })?;
        // Without the right to subscribe, a new master is noticed a second later.
        let _ = connection.inner.subscribe("+switch-master").await;
        Ok(connection)
    }
}

fn refused(error: &RedisError) -> String {
    let Some(code) = error.code() else { return error.to_string() };
    let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
    match complaint.refusal {
        Refusal::UnknownCommand => "this is no Sentinel; redis:// names a Redis".to_owned(),
        _ => complaint.to_string(),
    }
}

type Answers = (Result<Option<(String, u16)>, RedisError>, Result<HashMap<String, String>, RedisError>);

#[cfg(test)]
mod tests {
    use super::*;

    fn word(epoch: u64, port: u16) -> Word {
        Word { epoch, master: Place::Host { name: "10.0.0.1".to_owned(), port } }
    }

    fn chosen(words: &[(u64, u16)]) -> Option<u16> {
        let words: Vec<Word> = words.iter().map(|(epoch, port)| word(*epoch, *port)).collect();
        choose(&words).map(|place| match place {
            Place::Host { port, .. } => port,
            Place::Socket(_) => 0,
        })
    }

    #[test]
    fn the_highest_epoch_wins_and_of_equal_ones_the_majority() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(
            chosen(&[(3, 7000), (4, 7001), (3, 7000)]),
            Some(7001),
            "the others have not heard of it yet"
        );
        assert_eq!(chosen(&[(3, 7000), (3, 7001), (3, 7001)]), Some(7001));
        assert_eq!(chosen(&[(0, 7000), (0, 7000), (0, 7001)]), Some(7000));
    }
}
