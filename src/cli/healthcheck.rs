//! `tollgate healthcheck`: asks a running Tollgate whether it is healthy.
//!
//! For container images, which have no curl. It reads the variable that `serve` reads, so inside the service's
//! container it needs no arguments.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;
use thiserror::Error;

use super::values;
use crate::error::SystemError;

/// How long connecting may take, and each read. The sum is below the 3 s after which the container image gives up on a
/// check, so that the reason is printed.
const PATIENCE: Duration = Duration::from_secs(1);

/// No status line of Tollgate is longer; a longer one comes from something else.
const LONGEST_STATUS_LINE: u64 = 256;

/// Ask a running Tollgate whether it is healthy: exit status 0, or 1 and the reason.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Admin address of the service. For 0.0.0.0 and [::], loopback is asked.
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080",
        value_parser = values::address)]
    admin: SocketAddr,
}

/// Why the service counts as unhealthy.
#[derive(Debug, Error)]
pub enum HealthcheckError {
    /// Nothing listens there, or the connection takes too long.
    #[error("unhealthy: cannot connect to {admin}")]
    Connect {
        /// The address that was tried.
        admin: SocketAddr,
        /// What the system said.
        source: SystemError,
    },
    /// The connection broke, or nothing arrived in time.
    #[error("unhealthy: no answer from {admin}")]
    NoAnswer {
        /// The address that was asked.
        admin: SocketAddr,
        /// What the system said.
        source: SystemError,
    },
    /// The status is not 200.
    #[error("unhealthy: {admin} answers {status_line:?}")]
    Refused {
        /// The address that answered.
        admin: SocketAddr,
        /// The first line of the answer.
        status_line: String,
    },
}

// === impl Healthcheck ===

impl Healthcheck {
    pub(super) fn run(&self) -> Result<(), HealthcheckError> {
        let admin = reachable(self.admin);
        let connection = TcpStream::connect_timeout(&admin, PATIENCE)
            .map_err(|error| HealthcheckError::Connect { admin, source: error.into() })?;
        let status_line = status_line(connection, admin, PATIENCE)
            .map_err(|error| HealthcheckError::NoAnswer { admin, source: error.into() })?;
        if status_line.split(' ').nth(1) == Some("200") {
            Ok(())
        } else {
            Err(HealthcheckError::Refused { admin, status_line })
        }
    }
}

/// The address to connect to. Not every system connects to the unspecified address, which Tollgate may listen on.
fn reachable(mut admin: SocketAddr) -> SocketAddr {
    if admin.ip().is_unspecified() {
        admin.set_ip(match admin.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    admin
}

/// The first line of the answer. Fails if nothing arrives for `patience`.
fn status_line(mut connection: TcpStream, admin: SocketAddr, patience: Duration) -> io::Result<String> {
    connection.set_write_timeout(Some(patience))?;
    connection.set_read_timeout(Some(patience))?;
    write!(connection, "GET /healthcheck HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut line = Vec::new();
    BufReader::new(connection).take(LONGEST_STATUS_LINE).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[cfg(test)]
mod tests;
