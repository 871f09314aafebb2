//! Rules from an xDS server: the control plane of envoyproxy/ratelimit, such as Envoy Gateway.
//!
//! A thread of its own keeps one stream to the server open ([`client`]). The way of an answer to rules in force:
//!
//! | | file | does |
//! |---|---|---|
//! | 1 | `connection.rs` | connects by TCP, TLS and HTTP/2 |
//! | 2 | `session.rs` | asks, and hands over an answer |
//! | 3 | `intake.rs` | takes the answer in |
//! | 4 | `answer.rs` | reads it, within bounds |
//! | 5 | `convert.rs` | makes domains of it, checked as those of files are |
//! | 6 | `rule.rs` | merges siblings with one key and value |
//! | 7 | `settling.rs` | keeps domains that the answer lacks, until it is certain that they are gone |
//! | 8 | `reload.rs` | puts them in force |
//! | 9 | `stream.rs` | accepts the answer at once, or refuses it after a pause; `fault.rs` has the words |
//!
//! Whatever goes wrong, the rules in force stay, and the server is tried again after a pause (`pauses.rs`). Rows 4 to 7
//! and 9 are pure: the time is a parameter.

mod answer;
mod client;
mod connection;
mod convert;
mod ended;
mod fault;
mod health;
mod intake;
mod pauses;
mod rule;
mod session;
mod settling;
mod stream;

use std::{
    future::Future,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::{runtime, select, sync::watch};

use crate::{
    certificates::ClientTls,
    error::SystemError,
    rules::Publisher,
    tasks::{self, Task},
};
use answer::Answer;
use client::Client;
use convert::Unsaid;
use health::Health;
use intake::Intake;
use settling::Settling;
use tollgate_core::{
    limit::{Defaults, Overdraft},
    rules::Domain,
};

/// Where the rules come from, and what is made of them.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of the server.
    pub server: String,
    /// The id by which the server knows which rules to send.
    pub node_id: String,
    /// The node's metadata: keys and texts.
    pub node_metadata: Vec<(String, String)>,
    /// Headers of the call. Their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// TLS. None: plain text.
    pub tls: Option<ClientTls>,
    /// The name that the server's certificate must have if names are verified. None: the host of `server`.
    pub server_name: Option<String>,
    /// The most bytes of an answer.
    pub max_message: usize,
    /// How long a domain that vanished keeps its limits.
    pub settle: Duration,
    /// Whether the limits' buckets may owe.
    pub overdraft: Overdraft,
    /// How the limits count.
    pub defaults: Defaults,
}

/// The thread that follows the server. It ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    // Dropped first, which ends the thread.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    has_rules: watch::Receiver<bool>,
}

// === impl Follower ===

impl Follower {
    /// Follows the server from here on. `publisher` gets its rules. Fails if the thread cannot be started.
    pub fn start(options: Options, publisher: Arc<Publisher>) -> Result<Follower, SystemError> {
        let health = Arc::new(Health::new());
        health::show(publisher.metrics(), &health);
        let unsaid = Unsaid { overdraft: options.overdraft, counting: options.defaults };
        let intake = Intake::new(unsaid, Settling::new(options.settle), publisher);
        let has_rules = intake.has_rules();
        let mut client = Client::new(options, intake, health);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(());
        let mut runtime = Some(runtime);
        let follow = move || {
            client.disconnected();
            let mut stopped = stopped.clone();
            if let Some(runtime) = &runtime {
                runtime.block_on(async {
                    select! {
                        () = client.run() => {}
                        _ = stopped.changed() => {}
                    }
                });
            }
            // The look-up of a name may take long, and the process is not to wait for it.
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_background();
            }
        };
        let thread = thread::Builder::new()
            .name("xds".to_owned())
            .spawn(move || tasks::keep_here(Task::Xds, follow))?;
        Ok(Follower { stop: Some(stop), thread: Some(thread), has_rules })
    }

    /// Whether rules of the server were put in force.
    pub fn has_rules_now(&self) -> bool {
        *self.has_rules.borrow()
    }

    /// Returns once rules of the server were put in force.
    pub fn has_rules(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut has_rules = self.has_rules.clone();
        async move {
            // If the thread ended, nothing will ever come.
            if has_rules.wait_for(|has_rules| *has_rules).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was logged when it happened.
            let _ = thread.join();
        }
    }
}

/// What the bytes of an answer mean, or the words of its refusal. None if they are no answer.
pub(crate) fn meaning(bytes: &[u8]) -> Option<Result<Vec<Domain>, String>> {
    let answer = Answer::read(&Bytes::copy_from_slice(bytes)).ok()?;
    let converted = convert::convert(&answer, Unsaid::default());
    Some(converted.map(|converted| converted.domains).map_err(|faults| faults.to_string()))
}
