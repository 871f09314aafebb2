//! Where the rules come from while requests are served: files, or an xDS server.

use std::sync::Arc;

use tracing::info;

use super::ServeError;
use crate::{
    config::Config,
    reload::{Reloader, Sources},
    rules::Publisher,
    server::Server,
    xds::{self, Follower},
};

/// Follows the rules until it is dropped.
pub(super) enum Source {
    Files { _reloader: Reloader },
    Server { follower: Follower, address: String },
}

impl Source {
    /// Follows the server if there is one, else the files that `loaded` was read from.
    pub(super) fn follow(
        server: Option<xds::Options>,
        files: Sources,
        loaded: &Config,
        publisher: &Arc<Publisher>,
    ) -> Result<Source, ServeError> {
        let publisher = Arc::clone(publisher);
        match server {
            Some(options) => {
                let address = options.server.clone();
                let follower = Follower::start(options, publisher).map_err(ServeError::Follower)?;
                Ok(Source::Server { follower, address })
            }
            None => {
                let reloader = Reloader::start(files, loaded, publisher).map_err(ServeError::Reloader)?;
                Ok(Source::Files { _reloader: reloader })
            }
        }
    }

    /// Waits until there are rules. False if `server` was told to stop before.
    pub(super) fn wait(&self, server: &Server) -> bool {
        let Source::Server { follower, address } = self else { return true };
        info!(xds_server = %address, "waiting for the first rules; no request is answered before");
        server.wait_for(follower.has_rules())
    }

    /// The server, while it has not sent any rules.
    pub(super) fn awaited(&self) -> Option<&str> {
        match self {
            Source::Server { follower, address } if !follower.has_rules_now() => Some(address),
            _ => None,
        }
    }
}
