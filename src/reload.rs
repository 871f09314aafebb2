//! New rules while requests are served.
//!
//! A thread looks at the configuration's files twice a second. When they have changed and then stayed the same
//! for one more look, they are loaded whole: a configuration that is wrong is refused and the last good one
//! stays. What counts as changed is what differs from how it looked before it was read, also at the start, and
//! also of a configuration that was refused. A request keeps the rules with which it began.

mod bursts;
mod watch;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::{error, info, warn};

use crate::{
    config::{self, Config, Refused},
    error::SystemError,
    metrics::Reload,
    rules::Publisher,
    tasks::{self, Task},
};
use bursts::Shortened;
use tollgate_core::{limit::DefaultAlgorithm, matcher::Matcher};
use watch::Watch;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is loaded at each change.
#[derive(Debug)]
pub struct Sources {
    pub paths: Vec<PathBuf>,
    pub default_algorithm: DefaultAlgorithm,
}

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub struct Reloader {
    // Dropped first, which ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Reloader ===

impl Reloader {
    /// Follows these files, and those that `loaded` was read from.
    pub fn start(
        sources: Sources,
        loaded: &Config,
        publisher: Arc<Publisher>,
    ) -> Result<Reloader, SystemError> {
        let (stop, stopped) = mpsc::channel();
        let mut watch = Watch::new(loaded.files.clone());
        let look = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                if watch.is_due() {
                    load(&sources, &publisher, &mut watch);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || tasks::keep_here(Task::Reload, look))?;
        Ok(Reloader { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn load(sources: &Sources, publisher: &Publisher, watch: &mut Watch) {
    match config::load(&sources.paths, sources.default_algorithm) {
        Ok(config) => {
            let Config { domains, warnings, files } = config;
            for warning in &warnings {
                warn!("{warning}");
            }
            let domain_count = domains.len();
            let matcher = Matcher::new(domains);
            let rules = matcher.limits().len();
            if let Some(shortened) = bursts::shortened(&publisher.matcher(), &matcher) {
                tell(&shortened);
            }
            publisher.publish(matcher);
            publisher.metrics().count_reload(Reload::Taken);
            info!(rules, domains = domain_count, "the configuration has changed and is in force");
            if rules == 0 {
                warn!("the changed configuration holds no limit: every request passes");
            }
            *watch = Watch::new(files);
        }
        Err(Refused { errors, files }) => {
            let told = errors.to_string();
            if !watch.has_told(&told) {
                publisher.metrics().count_reload(Reload::Refused);
                error!(errors = %told, "the changed configuration is refused; the last good one stays in force");
            }
            // What mends it may be a file that was not read before, such as one of members; or nothing that shows.
            *watch =
                if errors.may_pass() { Watch::reading_again(files, told, watch) } else { Watch::new(files) };
        }
    }
}

fn tell(shortened: &Shortened) {
    let Shortened { domain, rule, denied_us, limits } = shortened;
    let denied_for = bursts::words(*denied_us);
    warn!(
        %domain, %rule, limits,
        "a burst takes less time to fill than before: a key that has used up the old one may be denied for {denied_for}, \
         since what it took stays taken; a larger burst lets it in sooner"
    );
}

#[cfg(test)]
mod tests;
