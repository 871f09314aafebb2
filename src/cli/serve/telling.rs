//! What tells of single decisions while the service runs: the decision log and traces.

use super::{Serve, ServeError};
use crate::{
    decision_log::LogThread,
    live::Live,
    metrics::Metrics,
    protocol::{Doors, Modes},
    traces::{TraceThread, Tracer},
};

/// The threads that write and send.
pub(super) struct Telling {
    decision_log: Option<LogThread>,
    traces: Option<TraceThread>,
}

impl Serve {
    /// Starts what the flags ask for.
    pub(super) fn telling(
        &self,
        modes: Modes,
        metrics: &Metrics,
        live: &Live,
    ) -> Result<Telling, ServeError> {
        let decision_log = self.decision_log.start(modes, metrics, live)?;
        Ok(Telling { decision_log, traces: self.traces.start(metrics)? })
    }
}

impl Telling {
    pub(super) fn tracer(&self) -> Option<Tracer> {
        self.traces.as_ref().map(TraceThread::tracer)
    }

    /// Makes the doors of a runtime tell.
    pub(super) fn to_doors(&self) -> impl Fn(Doors) -> Doors + Send + Sync + 'static {
        let log = self.decision_log.as_ref().map(LogThread::handle);
        let tracer = self.tracer();
        move |doors| doors.decision_log(log.clone()).tracer(tracer.clone())
    }

    /// Waits for what is left, for a short time. The doors must be gone.
    pub(super) fn finish(self) {
        if let Some(log) = self.decision_log {
            log.finish();
        }
        if let Some(traces) = self.traces {
            traces.finish();
        }
    }
}
