//! Memory: by keys, not by lines.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use lab::binaries;

use super::{BY_KEY, one_limit};

/// The most memory that a process has had, in kilobytes.
fn peak_kb(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_long_log_of_few_keys_needs_no_more_memory_than_a_short_one() {
    let config = one_limit("memory", "{ unit: second, requests_per_unit: 20 }");
    let mut command = Command::new(binaries::tollgate().expect("built"));
    command.env_clear().args(["simulate", "--config", &config, "--sort-window", "2s", "-"]).args(BY_KEY);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut pipe = child.stdin.take().expect("piped");
    let padding = "x".repeat(150);
    let (mut block, mut peaks) = (String::new(), Vec::new());
    for part in 0..10_u64 {
        for number in 0..12_000 {
            let at = 1_795_867_200_000 + part * 12_000 + number;
            block.push_str(&format!(
                "{{\"start_time\":{at},\"k\":\"{}\",\"padding\":\"{padding}\"}}\n",
                number % 50
            ));
        }
        pipe.write_all(block.as_bytes()).expect("it reads");
        block.clear();
        peaks.push(peak_kb(child.id()));
    }
    drop(pipe);
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("120000 requests from "), "{text}");
    // Kept lines of 200 bytes would be 19 MB more.
    let growth = peaks[9] - peaks[1];
    assert!(growth < 8_000, "{peaks:?} kB");
    assert!(peaks[9] < 64_000, "{peaks:?} kB");
}
