//! Where the rules come from while requests are served: files, or an xDS server.

use std::sync::Arc;

use tracing::info;

use super::ServeError;
use crate::{
    config::Config,
    metrics::Metrics,
    reload::{Reloader, Sources},
    response::Contract,
    rules::Publisher,
    server::Server,
    xds::{self, Follower},
};
use tollgate_core::matcher::Matcher;

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

/// What publishes rules, the first of which are these. The metrics show the version of those in force, as a number.
pub(super) fn publisher(matcher: Matcher, contract: Contract, metrics: &Arc<Metrics>) -> Arc<Publisher> {
    let publisher = Arc::new(Publisher::new(matcher, contract, Arc::clone(metrics)));
    let shown = Arc::clone(&publisher);
    metrics.show(
        "tollgate_rules_version",
        "The version of the rules in force, as a number: the same in all replicas with the same rules. If replicas differ \
         for long, some refuse a change, or read other files.",
        move || i64::from_str_radix(shown.matcher().version(), 16).unwrap_or_default(),
    );
    publisher
}
