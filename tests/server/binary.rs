//! The binary as a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

pub(crate) const CONFIG: &str = "\
domain: edge
descriptors:
  - key: api_key
    rate_limit: { unit: second, requests_per_unit: 10 }
";

pub(crate) const FREE_PORTS: [&str; 4] = ["--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// Longer than any drain of these tests on a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A process that is killed when the test ends.
pub(crate) struct Tollgate {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Tollgate {
    pub(crate) fn start(test: &str, flags: &[&str]) -> Tollgate {
        let flags = [&FREE_PORTS[..], flags].concat();
        Tollgate::over(command(test, CONFIG, &flags))
    }

    pub(crate) fn over(mut command: Command) -> Tollgate {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Tollgate { child, stderr }
    }

    /// The next line that contains `words`.
    pub(crate) fn line_with(&mut self, words: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            let read = self.stderr.read_line(&mut seen).unwrap();
            assert_ne!(read, 0, "no line has {words:?}:\n{seen}");
            if seen[start..].contains(words) {
                return seen[start..].trim_end().to_owned();
            }
        }
    }

    /// The memory of the process in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for the end. Returns the exit status, and the rest of stderr. A process that does not end is killed, and has no
    /// exit status: under `nohup`, for example, children ignore SIGHUP.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let (ended, waits) = mpsc::channel::<()>();
        let id = self.child.id().to_string();
        thread::spawn(move || {
            if waits.recv_timeout(ENDS_WITHIN) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
            }
        });
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        drop(ended);
        (status.code(), rest)
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        // Unless the test failed, it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(test: &str, config: &str, flags: &[&str]) -> Command {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.yaml"));
    fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env_clear().env("TOLLGATE_DRAIN_WAIT", "0s").arg("serve").arg("--config").arg(file).args(flags);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs a command that is expected to end by itself. Returns its exit status and stderr.
pub(crate) fn run(test: &str, config: &str, flags: &[&str]) -> (Option<i32>, String) {
    let output = command(test, config, flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The value of a field in a line of the text format.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap()
}
