//! Assigns processors, so that the load does not take time from what is measured.
//!
//! The service has its processors to itself where there are enough. Redis is never put beside the service: on
//! two cores it shares the load generator's, which costs it some latency and the service nothing. Programs
//! that talk to Redis without a service (INCRBY, raw EVALSHA) run where the service would.

use std::{fmt, process::Command};

use super::proc;

/// A list for `taskset`; none means anywhere.
type Cores = Option<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub service: Cores,
    pub load: Cores,
    pub redis: Cores,
}

// === impl Placement ===

impl Placement {
    /// The placement for services with up to this number of runtimes, on the processors of this program.
    pub fn here(runtimes: usize) -> Placement {
        match proc::cores() {
            Ok(cores) if taskset_is_here() => Placement::on(&cores, runtimes),
            _ => Placement::anywhere(),
        }
    }

    fn on(cores: &[usize], runtimes: usize) -> Placement {
        let (Some(service), Some(rest)) = (cores.get(..runtimes), cores.get(runtimes..)) else {
            return Placement::anywhere();
        };
        let Some(load) = rest.first() else { return Placement::anywhere() };
        let redis = rest.get(1).unwrap_or(load);
        let list = |cores: &[usize]| Some(cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
        Placement { service: list(service), load: list(&[*load]), redis: list(&[*redis]) }
    }

    pub const fn anywhere() -> Placement {
        Placement { service: None, load: None, redis: None }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement { service: Some(service), load: Some(load), redis: Some(redis) } => {
                write!(f, "service on core {service}, load generator on {load}, Redis on {redis}")
            }
            _ => f.write_str("nothing pinned, for want of cores"),
        }
    }
}

/// All threads of a running process, and those that they will start.
pub fn pin(pid: u32, cores: &Cores) {
    let Some(cores) = cores else { return };
    let mut taskset = Command::new("taskset");
    taskset.args(["-a", "-c", "-p", cores, &pid.to_string()]);
    // Only a process that has ended cannot be pinned, and that is found out by the load.
    let _ = taskset.output();
}

/// A command whose process is pinned from its first instruction.
pub fn pinned(program: &std::path::Path, cores: &Cores) -> Command {
    let Some(cores) = cores else { return Command::new(program) };
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", cores]).arg(program);
    taskset
}

fn taskset_is_here() -> bool {
    Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(cores: &[usize], runtimes: usize) -> [String; 3] {
        let placement = Placement::on(cores, runtimes);
        [placement.service, placement.load, placement.redis].map(Option::unwrap_or_default)
    }

    #[test]
    fn nothing_runs_beside_the_service_where_there_are_cores() {
        assert_eq!(on(&[0, 1], 1), ["0", "1", "1"]);
        assert_eq!(on(&[2, 5, 7], 1), ["2", "5", "7"]);
        assert_eq!(on(&[0, 1, 2, 3], 2), ["0,1", "2", "3"]);
        assert_eq!(on(&[0, 1, 2], 2), ["0,1", "2", "2"]);
    }

    #[test]
    fn without_a_core_to_spare_nothing_is_pinned_and_it_says_so() {
        assert_eq!(Placement::on(&[0, 1], 2), Placement::anywhere());
        assert_eq!(Placement::on(&[0], 1), Placement::anywhere());
        assert_eq!(Placement::on(&[0], 4), Placement::anywhere());
        assert!(Placement::anywhere().to_string().contains("nothing pinned"));
    }
}
