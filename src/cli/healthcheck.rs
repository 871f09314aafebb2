//! `tollgate healthcheck`: asks a running Tollgate whether it serves.
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

/// For connecting, and again for each read. Together below the 3 s after which the image gives up on a check,
/// so that the reason is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// No status line is longer. What does not end by then is not ours.
const LONGEST_STATUS_LINE: u64 = 256;

/// Ask a running Tollgate whether it serves: exit status 0 if so, else 1 and the reason.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// The admin address that the service listens on; 0.0.0.0 and [::] are asked on loopback.
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080",
        value_parser = values::address)]
    admin: SocketAddr,
}

#[derive(Debug, Error)]
pub enum HealthcheckError {
    #[error("unhealthy: cannot connect to {admin}")]
    Connect { admin: SocketAddr, source: io::Error },
    #[error("unhealthy: no answer from {admin}")]
    NoAnswer { admin: SocketAddr, source: io::Error },
    #[error("unhealthy: {admin} answers {status_line:?}")]
    Refused { admin: SocketAddr, status_line: String },
}

// === impl Healthcheck ===

impl Healthcheck {
    pub(super) fn run(&self) -> Result<(), HealthcheckError> {
        let admin = reachable(self.admin);
        let connection = TcpStream::connect_timeout(&admin, PATIENCE)
            .map_err(|source| HealthcheckError::Connect { admin, source })?;
        let status_line = status_line(connection, admin, PATIENCE)
            .map_err(|source| HealthcheckError::NoAnswer { admin, source })?;
        if status_line.split(' ').nth(1) == Some("200") {
            Ok(())
        } else {
            Err(HealthcheckError::Refused { admin, status_line })
        }
    }
}

/// Where to connect to for what listens on `admin`: nothing connects to an unspecified address everywhere.
fn reachable(mut admin: SocketAddr) -> SocketAddr {
    if admin.ip().is_unspecified() {
        admin.set_ip(match admin.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    admin
}

/// The first line of the answer. Fails when nothing comes for `patience`.
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
