//! What can go wrong with a server as a whole.

use std::{fmt, net::SocketAddr};

use thiserror::Error;

use super::drain::CUT_GRACE;
use crate::error::SystemError;

/// Why a server did not start, or did not end well.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A port is in use, or the address is not of this machine.
    #[error("cannot listen on {address} ({port})")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The port that it was for.
        port: Port,
        /// What the system said.
        source: SystemError,
    },
    /// The system refused a thread or an event loop.
    #[error("cannot start a runtime")]
    Start(#[source] SystemError),
    /// The system refused a signal handler.
    #[error("cannot listen for signals")]
    Signals(#[source] SystemError),
    /// The admin port's listener broke for good.
    #[error("the admin server has ended")]
    AdminEnded(#[source] SystemError),
    /// A bug ended a runtime. The others were drained.
    #[error("runtime {index} has panicked")]
    RuntimePanicked {
        /// The number of the runtime, from 0.
        index: usize,
    },
    /// Runtimes did not end, so their threads were not joined.
    #[error("{count} runtimes did not end within {CUT_GRACE:?} of being cut")]
    RuntimesStuck {
        /// The number of those runtimes.
        count: usize,
    },
}

/// One of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// For Envoy.
    Grpc,
    /// For ext_authz by HTTP.
    AuthzHttp,
    /// For operators.
    Admin,
    /// For operators too, with the rules in force.
    Debug,
    /// For operators too, with metrics alone.
    Metrics,
}

// === impl Port ===

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Port::Grpc => "gRPC",
            Port::AuthzHttp => "ext_authz by HTTP",
            Port::Admin => "admin",
            Port::Debug => "debug",
            Port::Metrics => "metrics",
        })
    }
}
