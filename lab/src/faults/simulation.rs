//! The simulation of `tests/simulation/`, for longer than the tests run it.

use std::{process::Command, time::Duration};

use tokio::time::sleep;

use super::{FaultsError, Row};
use crate::{binaries::checkout, process::Process};

/// The tests that run random seeds. Each gets the same time, and two of them run at once.
const TESTS: usize = 4;
/// Building it comes first.
const BUILD_WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn rows(seconds: u64) -> Result<Vec<Row>, FaultsError> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "test",
            "--release",
            "--locked",
            "--package",
            "tollgate",
            "--test",
            "simulation",
            "--manifest-path",
        ])
        .arg(checkout().join("Cargo.toml"))
        .args(["--", "--nocapture", "--test-threads", "2"])
        .env("TOLLGATE_SIM_SECONDS", (seconds / 2).to_string());
    let mut process = Process::spawn("simulation", &command)?;
    let within = BUILD_WITHIN + Duration::from_secs(seconds);
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = process.ended() {
            break Some(status);
        }
        if waited > within {
            break None;
        }
        sleep(Duration::from_millis(200)).await;
        waited += Duration::from_millis(200);
    };
    let log = process.log_text();
    let passed = status.is_some_and(|status| status.success());
    let told: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("simulation, ")).collect();
    let seed = log.lines().find(|line| line.starts_with("TOLLGATE_SEED="));
    let measured = match seed {
        Some(seed) => seed.to_owned(),
        None if told.is_empty() => format!("no run; see {}", process.log().display()),
        None => told.join("; "),
    };
    let fault = "losses, late replies, silence, overload, restarts, reloads, clock steps, lost stores, local \
                 answers, leases, several masters, at random";
    let row = Row::new(fault)
        .promised("every promise over every interval, for every seed")
        .measured(measured)
        .kept_if(passed && told.len() == TESTS && told.iter().all(|told| !told.contains(": 0 seeds")));
    Ok(vec![row])
}
