//! The arguments of `lab bench`.

use std::{net::SocketAddr, net::ToSocketAddrs as _, path::PathBuf, str::FromStr};

use clap::Args;

use super::peers::Binary;

// clap wraps these lines.
const EXAMPLES: &str = "\
What runs, each as a process of its own, pinned where there are cores to spare:
  floor          Tollgate's server with a service that decides nothing: what gRPC costs here
  memory, Redis  tollgate serve with that store; one runtime unless the label says otherwise
  INCRBY+EXPIRE  what envoyproxy/ratelimit sends: one pipeline per request, with a connection for
                 each request in flight; and the same over one connection. There is no service
                 in front, so only its Redis CPU and latency are comparable
  EVALSHA        Tollgate's script, called once at a time, without a service

In the case pairs-512, each request names two different keys of 30, ten of which are at their \
limit. A key at its limit waits while another call asks Redis for it, and so does the rest of its \
request.

In each round, all contenders of a case take turns, so that drift affects all of them equally; \
ratios are computed within a round. A decision is a request that was answered OK or OVER_LIMIT, however \
many descriptors it has. CPU time is the user and system time of the whole process, in nanoseconds from \
/proc/PID/task/*/schedstat, or else in ticks of 10 ms from /proc/PID/stat, so keep runs at \
one second or more. The load generator is a separate process, and its own CPU time is shown.

Results go to the terminal, and to bench.json, bench.svg and performance.md in --out. A missed \
target does not fail the run.

--peer starts another rate-limit service with a Redis of its own, in the cases uniform-64, uniform-512, \
one-denied-64, four-64 and one-at-a-time, and in the measurement `admission`: how many requests it and \
Tollgate admit across the edge of a second, and of 2,000 at once over three replicas. \
docs/performance.md says how to get the binaries, and with which settings they run.

To measure one that the benchmark cannot start, start it with the limits in target/bench/limits.yaml \
(the same in every run), on the core that is printed as the service's, then
  lab bench --rls ratelimit=127.0.0.1:8081,pid=4711,redis=127.0.0.1:6379

Examples:
  lab bench                                    # all usual cases, five rounds, under 20 minutes
  lab bench --peer envoyproxy-ratelimit=$HOME/go/bin/service_cmd
  lab bench --profiled target/pgo/optimized/x86_64-unknown-linux-gnu/release/tollgate
  lab bench --cases uniform-64,one-denied-64 --runs 3
  lab bench --all --list";

/// Measure decisions per second, latency, CPU time and memory of Tollgate and of its alternatives
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Run only these cases; a case takes at most a minute. `admission` is one too
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub cases: Vec<String>,
    /// Run the full matrix instead of the usual cases; this takes hours
    #[arg(long)]
    pub all: bool,
    /// Print the names and loads of all cases without measuring anything
    #[arg(long)]
    pub list: bool,
    /// Rounds of each case [default: 5, and 9 where a target is about p99 with leases]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub runs: Option<u32>,
    /// Measured length of each run, after 0.3 s of warm-up
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Also measure this Tollgate, built by `make release-pgo`, in the cases in which --peer takes part
    #[arg(long, value_name = "PATH")]
    pub profiled: Option<PathBuf>,
    /// Also start and measure this rate-limit service: envoyproxy-ratelimit=PATH or limitador=PATH
    #[arg(long, value_name = "NAME=PATH")]
    pub peer: Vec<Binary>,
    /// Also measure, in each case, a rate-limit service already running on this machine
    #[arg(long, value_name = "NAME=HOST:PORT[,pid=N][,redis=HOST:PORT]")]
    pub rls: Vec<Peer>,
    /// Folder for the results
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub out: PathBuf,
    /// Also write docs/performance.md; what did not run keeps the figures that it has there
    #[arg(long)]
    pub write_docs: bool,
}

/// A rate-limit service that the benchmark did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    pub addr: SocketAddr,
    /// Without it there is no CPU time.
    pub pid: Option<u32>,
    /// The Redis that it uses; the benchmark finds its process.
    pub redis: Option<SocketAddr>,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let mut fields = text.split(',');
        let (name, addr) =
            fields.next().and_then(|first| first.split_once('=')).ok_or("NAME=HOST:PORT comes first")?;
        let mut peer = Peer { name: name.to_owned(), addr: loopback(addr)?, pid: None, redis: None };
        for field in fields {
            match field.split_once('=') {
                Some(("pid", pid)) => {
                    peer.pid = Some(pid.parse().map_err(|error| format!("pid={pid}: {error}"))?);
                }
                Some(("redis", addr)) => peer.redis = Some(loopback(addr)?),
                _ => return Err(format!("{field:?} is neither pid=N nor redis=HOST:PORT")),
            }
        }
        Ok(peer)
    }
}

/// A load generator must not reach other machines.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addrs = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    addrs
        .into_iter()
        .find(|addr| addr.ip().is_loopback())
        .ok_or_else(|| format!("{text} is not on this machine's loopback"))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=600.0).contains(&seconds) => Ok(seconds),
        Ok(_) => Err("0.05 to 600".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_tell_its_process_and_its_redis() {
        let peer: Peer = "go=127.0.0.1:8081,pid=42,redis=127.0.0.1:6379".parse().unwrap();
        assert_eq!((peer.name.as_str(), peer.addr.port(), peer.pid), ("go", 8_081, Some(42)));
        assert_eq!(peer.redis.unwrap().port(), 6_379);
        assert_eq!("go=127.0.0.1:1".parse::<Peer>().unwrap().pid, None);
    }

    #[test]
    fn a_peer_that_is_not_understood_or_not_here_is_refused() {
        for wrong in
            ["go", "go=", "go=127.0.0.1", "go=127.0.0.1:1,pid=x", "go=127.0.0.1:1,core=2", "go=192.0.2.1:1"]
        {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }
}
