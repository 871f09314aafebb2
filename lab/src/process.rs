//! One process of ours: its log, when it is ready, and its end.
//!
//! A [`Process`] is killed when dropped, and does not outlive this program (see `watchdog`). Its output goes to
//! a file under `target/lab/`, which stays; an error that concerns a process ends in the last lines of that file.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio, id},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use thiserror::Error;

use crate::{
    binaries::{BinaryError, checkout},
    watchdog,
};

/// How long a start may take. A good one takes 0.2 s; this leaves room for a machine that compiles meanwhile.
const START_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 20;

/// Holds the program back until the watchdog knows of it: if this process dies first, `read` meets the end of
/// its input and nothing is started. All sockets of a load test need descriptors, hence the raised limit.
const LAUNCHER: &str = r#"ulimit -n "$(ulimit -Hn)" 2>/dev/null; IFS= read -r go && exec "$@" </dev/null"#;

#[derive(Debug, Error)]
pub enum ProcessError {
    #[error(transparent)]
    Binary(#[from] BinaryError),
    #[error("cannot keep logs in {folder}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{name}: cannot be started")]
    Spawn { name: String, source: io::Error },
    #[error("{name}: ended while starting, with {status}; {log}")]
    Ended { name: String, status: ExitStatus, log: LogTail },
    #[error("{name}: not ready after {} s; {log}", within.as_secs())]
    NotReady { name: String, within: Duration, log: LogTail },
    #[error("{name}: still there {} s after SIGTERM; {log}", within.as_secs())]
    NotGone { name: String, within: Duration, log: LogTail },
    #[error("{name}: cannot send {signal:?}")]
    Signal { name: String, signal: Signal, source: io::Error },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Freezes: connections stay open and nobody answers.
    Stop,
    Continue,
    Terminate,
    Interrupt,
    /// SIGUSR1: a log was renamed.
    Reopen,
    Kill,
}

/// The end of a log, for errors.
#[derive(Debug)]
pub struct LogTail {
    path: PathBuf,
    lines: Vec<String>,
}

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Once reaped, its number may be another process'.
    ended: Option<ExitStatus>,
}

// === impl Process ===

impl Process {
    /// Starts what `command` says (program, arguments, environment), with no input and its output in a log
    /// file called after `name`.
    pub fn spawn(name: &str, command: &Command) -> Result<Process, ProcessError> {
        let log = run_folder()?.join(format!("{name}-{}.log", next_number()));
        let failed = |source| ProcessError::Spawn { name: name.to_owned(), source };
        let child = launch(command, &log).map_err(failed)?;
        let mut process = Process { name: name.to_owned(), child, log, ended: None };
        process.release().map_err(failed)?;
        Ok(process)
    }

    fn release(&mut self) -> io::Result<()> {
        watchdog::register(self.child.id())?;
        self.child.stdin.take().expect("stdin was asked for").write_all(b"go\n")
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All that it has written so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(status);
            // Fails only without a watchdog, and then nothing is registered.
            let _ = watchdog::forget(self.child.id());
        }
        self.ended
    }

    /// Asks `look` until it finds something, and fails when the process ends, or after half a minute.
    pub async fn ready<T>(
        &mut self,
        mut look: impl AsyncFnMut(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if let Some(status) = self.ended() {
                return Err(ProcessError::Ended { name: self.name.clone(), status, log: self.tail() });
            }
            if let Some(found) = look(&self.log_text()).await {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(ProcessError::NotReady {
                    name: self.name.clone(),
                    within: START_WITHIN,
                    log: self.tail(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Does nothing to a process that has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if self.ended().is_some() {
            return Ok(());
        }
        let failed = |source| ProcessError::Signal { name: self.name.clone(), signal, source };
        let status = kill_command(self.child.id(), signal).status().map_err(failed)?;
        if status.success() { Ok(()) } else { Err(failed(io::Error::other(format!("kill says {status}")))) }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // Neither can fail on a child of ours that is not reaped. Forgotten in between: until it is reaped, its
        // number cannot mean another process.
        let _ = self.child.kill();
        let _ = watchdog::forget(self.child.id());
        self.ended = Some(self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(9)));
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::Terminate)?;
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(ProcessError::NotGone { name: self.name.clone(), within, log: self.tail() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn tail(&self) -> LogTail {
        let text = self.log_text();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        LogTail { path: self.log.clone(), lines: lines.into_iter().skip(skipped).collect() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(command: &Command, log: &Path) -> io::Result<Child> {
    let log = File::create(log)?;
    let mut launcher = Command::new("/bin/sh");
    launcher.args(["-c", LAUNCHER, "lab-launcher"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => launcher.env(key, value),
            None => launcher.env_remove(key),
        };
    }
    launcher
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the program that owns them, which decides in which order they end.
        .process_group(0)
        .spawn()
}

/// std can only send SIGKILL, and calling kill(2) would need `unsafe`.
fn kill_command(pid: u32, signal: Signal) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"kill -s "$1" "$2""#, "lab-kill", signal.name(), &pid.to_string()]);
    command
}

// === impl Signal ===

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Reopen => "USR1",
            Signal::Kill => "KILL",
        }
    }
}

// === impl LogTail ===

impl std::fmt::Display for LogTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ends in:", self.path.display())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

// === where logs are kept ===

/// One folder per program run, `target/lab/<seconds since 1970>-<pid>`.
pub(crate) fn run_folder() -> Result<&'static Path, ProcessError> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        checkout().join(format!("target/lab/{}-{}", since_1970.as_secs(), id()))
    });
    fs::create_dir_all(folder).map_err(|source| ProcessError::Folder { folder: folder.clone(), source })?;
    Ok(folder)
}

/// Names files that would otherwise be the same.
pub(crate) fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
