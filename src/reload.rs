//! Loads new rules while requests are served.
//!
//! A thread looks at the configuration's files twice a second. When they have changed, and then stayed the same for one
//! more look, it loads all of them. A configuration with an error is refused, and the last good one stays in force. A
//! file has changed if it differs from how it looked just before it was last read, whether that configuration was
//! taken or refused. A request keeps the rules that it began with.

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
    config::{self, Config, InFolders, Refused},
    error::SystemError,
    rules::Publisher,
    tasks::{self, Task},
};
use bursts::Shortened;
use tollgate_core::{limit::Defaults, matcher::Matcher, rules::Domain};
use watch::Watch;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is loaded at each change, as the command line gave it.
#[derive(Debug)]
pub struct Sources {
    /// Limits files, and folders of them.
    pub paths: Vec<PathBuf>,
    /// Which files of the folders are read.
    pub in_folders: InFolders,
    /// For limits, and domains, that leave open how they count.
    pub defaults: Defaults,
}

/// The thread that looks at the files. It ends when this is dropped.
#[derive(Debug)]
pub struct Reloader {
    // Dropped first, which ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Reloader ===

impl Reloader {
    /// Follows these files, and those that `loaded` was read from. Fails if the thread cannot be started.
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
            // A panic of the thread was logged when it happened.
            let _ = thread.join();
        }
    }
}

fn load(sources: &Sources, publisher: &Publisher, watch: &mut Watch) {
    match config::load_from(&sources.paths, sources.in_folders, sources.defaults) {
        Ok(config) => {
            let Config { domains, warnings, files } = config;
            for warning in &warnings {
                warn!("{warning}");
            }
            put_in_force(domains, publisher);
            publisher.count_taken();
            *watch = Watch::new(files);
        }
        Err(Refused { errors, files }) => {
            let told = errors.to_string();
            if !watch.has_told(&told) {
                publisher.count_refused(errors.iter().map(ToString::to_string));
                error!(errors = %told, "the changed configuration was refused; the last good one stays in force");
            }
            // It may be mended by a file that was not read before, such as a members file, or without any visible
            // change.
            *watch =
                if errors.may_pass() { Watch::reading_again(files, told, watch) } else { Watch::new(files) };
        }
    }
}

/// Decides every request that begins from here on by these rules, and logs what that means.
pub(crate) fn put_in_force(domains: Vec<Domain>, publisher: &Publisher) {
    let domain_count = domains.len();
    let matcher = Matcher::new(domains);
    let rules = matcher.limits().len();
    if let Some(shortened) = bursts::shortened(&publisher.matcher(), &matcher) {
        tell(&shortened);
    }
    publisher.publish(matcher);
    info!(rules, domains = domain_count, "the changed configuration is in force");
    if rules == 0 {
        warn!("the changed configuration has no limits: every request passes");
    }
}

fn tell(shortened: &Shortened) {
    let Shortened { domain, rule, denied_us, limits } = shortened;
    let denied_for = bursts::words(*denied_us);
    warn!(
        %domain, %rule, limits,
        "a burst now takes less time to fill than before: a key that has used up the old burst may be denied for \
         {denied_for}, because what it took stays taken; a larger burst would admit it sooner"
    );
}

#[cfg(test)]
mod tests;
