//! Wires what the live page shows.

use std::sync::Arc;

use super::{Serve, ServeError};
use crate::{
    cli::explain::watched::{self, AsServed},
    lifecycle::Lifecycle,
    live::{Collector, Live, RedisSources, Sources, Values},
    rules::Publisher,
    store::Backend,
};

impl Serve {
    /// The seconds of this process, and the thread that collects them.
    pub(super) fn live(
        &self,
        backend: &Backend,
        publisher: &Arc<Publisher>,
        lifecycle: Lifecycle,
    ) -> Result<(Arc<Live>, Collector), ServeError> {
        let deadline = self.when_store_fails.store_deadline;
        let redis = backend.replica_count().zip(backend.board()).map(|(count, board)| {
            let replicas = Box::new(move || count.replicas());
            RedisSources { deadline, replicas, board }
        });
        let sources = Sources {
            metrics: Arc::clone(publisher.metrics()),
            publisher: Arc::clone(publisher),
            health: backend.health(),
            lifecycle,
            redis,
            max_connections: self.process.options().max_connections,
        };
        let modes = self.switches.modes()?;
        let served = AsServed {
            groups: self.answers.groups(&self.origins)?,
            is_shadow: modes.shadow,
            quota_mode: self.switches.quota_mode()?,
        };
        let look = watched::look(Arc::clone(publisher), backend, served);
        let values = if self.logs.show_values { Values::Shown } else { Values::Hidden };
        let live = Arc::new(Live::new(sources, values).looking(look));
        let collector = live.collect().map_err(ServeError::Live)?;
        Ok((live, collector))
    }
}
