//! Ends what this process started when it cannot do so itself.
//!
//! A shell in a process group of its own reads a pipe whose other end only this process holds. However this
//! process ends, SIGKILL included, the pipe ends too, and the shell kills what is still registered.
//! (PR_SET_PDEATHSIG would be tied to the thread that spawned, and tests run on short-lived threads.)

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// Lines are `+PID` and `-PID`; each PID leads a process group. SIGKILL ends stopped processes as well.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
alive=' '
while IFS= read -r line; do
    pid=${line#?}
    case $line in
    +*) alive="$alive$pid " ;;
    -*) alive="${alive%% $pid *} ${alive#* $pid }" ;;
    esac
done
for pid in $alive; do kill -KILL "-$pid"; done
"#;

static WATCHDOG: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

/// From here on `pid`'s process group does not outlive this process.
pub(crate) fn register(pid: u32) -> io::Result<()> {
    tell('+', pid)
}

/// To be called as the process ends: once it is reaped, its number may come to mean another one.
pub(crate) fn forget(pid: u32) -> io::Result<()> {
    tell('-', pid)
}

fn tell(sign: char, pid: u32) -> io::Result<()> {
    let mut pipe = watchdog()?.lock().unwrap_or_else(PoisonError::into_inner);
    pipe.write_all(format!("{sign}{pid}\n").as_bytes())
}

fn watchdog() -> io::Result<&'static Mutex<ChildStdin>> {
    if let Some(pipe) = WATCHDOG.get() {
        return Ok(pipe);
    }
    // Of two threads that get here at once, one watchdog finds its pipe closed and ends.
    let pipe = start()?;
    Ok(WATCHDOG.get_or_init(|| Mutex::new(pipe)))
}

fn start() -> io::Result<ChildStdin> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "lab-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal goes to the whole group; this one has work left to do.
        .process_group(0)
        .spawn()?;
    Ok(shell.stdin.take().expect("stdin was asked for"))
}
