//! What the system reports about this process, under the names that all Prometheus exporters use.
//!
//! It is read from `/proc` at each scrape. Values that are missing, as on systems without `/proc`, are left out.

use std::{
    fmt::{self, Write as _},
    fs,
};

/// `USER_HZ` of Linux: a constant of its interface, whatever the kernel's own clock is.
const TICKS_A_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    started_s: Option<f64>,
}

/// The fields of `/proc/self/stat` that are shown.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_s: f64,
    threads: u64,
    /// Since the system started.
    started_s: f64,
}

// === impl Process ===

impl Process {
    pub(super) fn new() -> Process {
        let booted_s = read("/proc/stat").and_then(|stat| number_behind(&stat, "btime "));
        let own = stat();
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let started_s = booted_s.zip(own).map(|(booted_s, own)| booted_s as f64 + own.started_s);
        Process { started_s }
    }

    /// Adds what is known to the page.
    pub(super) fn write(&self, page: &mut String) {
        let status = read("/proc/self/status").unwrap_or_default();
        let limits = read("/proc/self/limits").unwrap_or_default();
        let stat = stat();
        let resident = number_behind(&status, "VmRSS:").map(|kilobytes| kilobytes * 1_024);
        let most_files = number_behind(&limits, "Max open files");
        let mut add = |name, kind, help, value: Option<String>| add(page, name, kind, help, value);
        let cpu = stat.as_ref().map(|stat| stat.cpu_s.to_string());
        add("process_cpu_seconds_total", "counter", "User and system CPU time in seconds.", cpu);
        let start = self.started_s.map(|start| start.to_string());
        add(
            "process_start_time_seconds",
            "gauge",
            "Start of the process, in seconds since the Unix epoch.",
            start,
        );
        let threads = stat.as_ref().map(|stat| stat.threads.to_string());
        add("process_threads", "gauge", "Number of threads.", threads);
        let resident = resident.map(|bytes| bytes.to_string());
        add("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", resident);
        let files = open_files().map(|files| files.to_string());
        add(
            "process_open_fds",
            "gauge",
            "Open file descriptors. Each connection takes one; near process_max_fds, raise that.",
            files,
        );
        let most_files = most_files.map(|files| files.to_string());
        add("process_max_fds", "gauge", "Most file descriptors that the process may open.", most_files);
    }
}

fn add(page: &mut String, name: &str, kind: &str, help: &str, value: Option<String>) {
    if let Some(value) = value {
        // A String takes all that is written.
        let _: fmt::Result = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
}

fn stat() -> Option<Stat> {
    parse_stat(&read("/proc/self/stat")?)
}

/// The program's name is in parentheses, and may contain parentheses itself.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, behind) = stat.rsplit_once(')')?;
    // The first of these is field 3 in proc(5).
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_s: (ticks(14)? + ticks(15)?) / TICKS_A_SECOND,
        threads: fields.get(20 - 3)?.parse().ok()?,
        started_s: ticks(22)? / TICKS_A_SECOND,
    })
}

/// The number that follows `name` at the beginning of a line. `None` if a word follows, such as `unlimited`.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let behind = text.lines().find_map(|line| line.strip_prefix(name))?;
    behind.split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<usize> {
    // One of them is the descriptor of this directory listing.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_name_contains_parentheses_is_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 12345 1000 10 1844 1 1 0";
        let read = Stat { cpu_s: 2.0, threads: 9, started_s: 123.45 };
        assert_eq!(parse_stat(stat), Some(read));
        for cut in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(parse_stat(cut), None, "{cut}");
        }
    }

    #[test]
    fn a_limit_that_is_unlimited_has_no_number() {
        let limits =
            "Limit        Soft Limit  Hard Limit  Units\nMax open files            1024  524288  files\n";
        assert_eq!(number_behind(limits, "Max open files"), Some(1_024));
        assert_eq!(number_behind(&limits.replace("1024", "unlimited"), "Max open files"), None);
    }
}
