//! Follows the server: connects, asks, takes answers in, and connects again.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{select, time};
use tracing::{info, warn};

use super::{
    Options,
    connection::Connection,
    ended::Ended,
    health::Health,
    intake::{Intake, Reply},
    pauses::Pauses,
    session::Session,
};
use crate::{clock, error::chain, protocol::wire::Malformed};

/// A server that is silent for this long may have no rules yet, or none for this node.
const SILENT: Duration = Duration::from_secs(15);

/// Everything that outlives a connection.
pub(super) struct Client {
    options: Options,
    intake: Intake,
    health: Arc<Health>,
    pauses: Pauses,
    /// What was logged last about a connection that ended.
    told: String,
}

enum Never {}

// === impl Client ===

impl Client {
    pub(super) fn new(options: Options, intake: Intake, health: Arc<Health>) -> Client {
        Client { options, intake, health, pauses: Pauses::default(), told: String::new() }
    }

    /// Never returns.
    pub(super) async fn run(&mut self) {
        loop {
            let start = clock::monotonic();
            let Err(ended) = self.connect().await;
            self.disconnected();
            let pause = self.pauses.next(start.elapsed());
            self.tell(&ended, pause);
            time::sleep(pause).await;
        }
    }

    /// Also after a panic, which may have ended anything.
    pub(super) fn disconnected(&mut self) {
        self.intake.disconnected();
        self.health.disconnected();
    }

    /// Until the connection ends.
    async fn connect(&mut self) -> Result<Never, Ended> {
        let mut connection = Connection::open(&self.options).await?;
        self.health.connected();
        let mut session = Session::open(connection.requests(), &self.options);
        let Err(ended) = self.follow(&mut session).await;
        Err(match ended {
            // Only the connection knows why it broke.
            Ended::Status(status) if status.source().is_some() => {
                let may_need_tls = self.options.tls.is_none() && session.answers() == 0;
                let broken = connection.broken().await;
                broken.map_or(Ended::Status(status), |source| Ended::Broken { may_need_tls, source })
            }
            ended => ended,
        })
    }

    async fn follow(&mut self, session: &mut Session) -> Result<Never, Ended> {
        let mut silent = Some(clock::monotonic() + SILENT);
        loop {
            let due = [session.due(), self.intake.due(), silent].into_iter().flatten().min();
            select! {
                answer = session.next() => {
                    silent = None;
                    self.take(session, &answer?).await?;
                }
                () = until(due) => {
                    let now = clock::monotonic();
                    self.intake.settle(now);
                    session.send_due(now).await?;
                    if silent.take_if(|silent| *silent <= now).is_some() {
                        self.tell_silence();
                    }
                }
            }
        }
    }

    async fn take(&mut self, session: &mut Session, answer: &Bytes) -> Result<(), Ended> {
        if session.answers() == 1 {
            info!(server = %self.options.server, "the xDS server has answered");
        }
        let now = clock::monotonic();
        match self.intake.take(now, answer).map_err(|Malformed| Ended::Malformed)? {
            Reply::Accept { version, nonce } => {
                session.accept(version, nonce).await?;
                self.health.accepted();
                self.told.clear();
            }
            Reply::Refuse { nonce, message } => session.refuse(now, nonce, message),
            Reply::Nothing => {}
        }
        Ok(())
    }

    fn tell_silence(&self) {
        let Options { server, node_id, .. } = &self.options;
        warn!(
            %server, %node_id,
            "the xDS server has not answered yet: it has no rules, or none for this --xds-node-id"
        );
    }

    /// The same is told once while a server is away.
    fn tell(&mut self, ended: &Ended, pause: Duration) {
        let error = chain(ended);
        if error != self.told {
            let (server, again_in_ms) = (&self.options.server, pause.as_millis());
            warn!(%server, %error, again_in_ms, "no connection to the xDS server; the rules in force stay");
            self.told = error;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
