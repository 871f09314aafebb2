//! What Linux says about a process: CPU time and resident memory.
//!
//! CPU time is user + system. It is read in nanoseconds where the kernel keeps them for each thread, else in
//! the ticks of `/proc/PID/stat`, of which a run of two seconds has 200.

use std::{fs, io, path::Path};

use thiserror::Error;

/// `USER_HZ`, which is 100 on every Linux that we know; the kernel converts to it.
const TICK_US: f64 = 10_000.0;

#[derive(Debug, Error)]
pub enum ProcError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{path} does not say what it should")]
    Content { path: String },
}

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    pub cpu_us: f64,
    pub resident_kib: u64,
}

/// A process, or this one: `self`.
pub fn usage(pid: &str) -> Result<Usage, ProcError> {
    let folder = format!("/proc/{pid}");
    let status = format!("{folder}/status");
    let resident_kib = parse_status(&read(&status)?, "VmRSS").ok_or(ProcError::Content { path: status })?;
    Ok(Usage { cpu_us: cpu_us(&folder)?, resident_kib })
}

/// The processors that this process may run on.
pub fn cores() -> Result<Vec<usize>, ProcError> {
    let path = "/proc/self/status";
    parse_cores(&read(path)?).ok_or_else(|| ProcError::Content { path: path.to_owned() })
}

/// The model name of the first processor.
pub fn model_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or("unknown processor", |(_, name)| name.trim()).to_owned()
}

fn cpu_us(folder: &str) -> Result<f64, ProcError> {
    if let Some(ns) = threads_ns(Path::new(folder)) {
        return Ok(ns as f64 / 1_000.0);
    }
    let path = format!("{folder}/stat");
    parse_stat(&read(&path)?).map(|ticks| ticks as f64 * TICK_US).ok_or(ProcError::Content { path })
}

/// The sum over the present threads. The measured processes start and end no threads during a run.
fn threads_ns(folder: &Path) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(folder.join("task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += parse_schedstat(&text)?;
    }
    Some(sum)
}

fn read(path: &str) -> Result<String, ProcError> {
    fs::read_to_string(path).map_err(|source| ProcError::Read { path: path.to_owned(), source })
}

// === the formats ===

/// `<ns on a processor> <ns waiting for one> <times>`.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Ticks of user and system time. The second field is the name in parentheses, which may hold anything, blanks
/// and parentheses too.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmRSS:     1234 kB`.
fn parse_status(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// `Cpus_allowed_list:   0-1,4`.
fn parse_cores(text: &str) -> Option<Vec<usize>> {
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_move_its_times() {
        let times = "S 1 2 3 4 -1 5 6 7 8 9 1200 34 0 0 20 0 3 0 99";
        assert_eq!(parse_stat(&format!("42 (redis) {times}")), Some(1_234));
        assert_eq!(parse_stat(&format!("42 (a ) b (c)) {times}")), Some(1_234));
        assert_eq!(parse_stat("42 (redis) S 1"), None);
    }

    #[test]
    fn run_time_comes_before_waiting_time() {
        assert_eq!(parse_schedstat("21245537 91904137 102\n"), Some(21_245_537));
    }

    #[test]
    fn resident_memory_is_not_its_peak() {
        let status = "VmHWM:\t    2164 kB\nVmRSS:\t    2100 kB\n";
        assert_eq!(parse_status(status, "VmRSS"), Some(2_100));
        assert_eq!(parse_status(status, "VmR"), None);
    }

    #[test]
    fn a_list_of_processors_may_have_gaps() {
        assert_eq!(parse_cores("Cpus_allowed:\t13\nCpus_allowed_list:\t0-1,4\n"), Some(vec![0, 1, 4]));
        assert_eq!(parse_cores("Cpus_allowed_list:\t3\n"), Some(vec![3]));
    }

    #[test]
    fn this_process_has_used_some_of_both() {
        let usage = usage("self").unwrap();
        assert!(usage.cpu_us > 0.0 && usage.resident_kib > 0, "{usage:?}");
    }
}
