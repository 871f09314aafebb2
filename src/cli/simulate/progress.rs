//! One line on standard error that says how far the logs are read, if somebody watches.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

use super::log::BytesRead;
use crate::clock;

const EVERY: Duration = Duration::from_millis(100);
/// Lines between two looks at the clock.
const LINES: u64 = 4_096;
const WIDTH: u64 = 30;

pub(super) struct Progress {
    is_watched: bool,
    /// The size of all logs; none if it is not known.
    size: Option<u64>,
    bytes: BytesRead,
    started: Instant,
    shown: Option<Instant>,
    lines: u64,
}

impl Progress {
    pub(super) fn new(size: Option<u64>, bytes: BytesRead) -> Progress {
        let started = clock::monotonic();
        Progress { is_watched: stderr().is_terminal(), size, bytes, started, shown: None, lines: 0 }
    }

    /// One more line was read.
    pub(super) fn line(&mut self) {
        self.lines += 1;
        if !self.is_watched || !self.lines.is_multiple_of(LINES) {
            return;
        }
        let now = clock::monotonic();
        if now.duration_since(self.shown.unwrap_or(self.started)) >= EVERY {
            self.shown = Some(now);
            show(&format!("\r\x1b[K{}", text(self.lines, self.bytes.get(), self.size)));
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        if self.shown.is_some() {
            show("\r\x1b[K");
        }
    }
}

/// A terminal that went away is no reason to stop.
fn show(text: &str) {
    let mut stderr = stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

fn text(lines: u64, bytes: u64, size: Option<u64>) -> String {
    let Some(size) = size.filter(|size| *size > 0) else {
        return format!("{lines} requests, {} MB", bytes / 1_000_000);
    };
    let done = bytes.min(size);
    let filled = usize::try_from(done.saturating_mul(WIDTH) / size).unwrap_or(0);
    let rest = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(filled);
    let percent = done.saturating_mul(100) / size;
    format!("[{}{}] {percent:3} %  {lines} requests", "#".repeat(filled), "·".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_logs_are_read() {
        assert_eq!(
            text(7, 50, Some(100)),
            format!("[{}{}]  50 %  7 requests", "#".repeat(15), "·".repeat(15))
        );
        assert!(text(7, 200, Some(100)).contains("100 %"));
        assert_eq!(text(7, 3_000_000, None), "7 requests, 3 MB");
    }
}
