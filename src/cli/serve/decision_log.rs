//! The flags of the decision log.

use std::num::NonZeroU32;

use clap::Args;

use super::ServeError;
use crate::{
    decision_log::{Destination, LogThread, Settings},
    live::Live,
    metrics::Metrics,
    protocol::Modes,
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Decision log")]
pub(super) struct DecisionLogFlags {
    /// File or named pipe to which denials are logged, one JSON object a line; - is stdout [default: none].
    ///
    /// Lines are added to the end of the file. SIGUSR1 opens it anew, after it was renamed. Requests never wait for it:
    /// lines that cannot be written in time are dropped, and counted in tollgate_decision_log_lines_total. The values of
    /// descriptors are left out unless --show-values is on.
    #[arg(long, env = "TOLLGATE_DECISION_LOG", value_name = "FILE")]
    decision_log: Option<Destination>,

    /// Also log one in so many admitted requests; 0: none.
    #[arg(long, env = "TOLLGATE_DECISION_LOG_ADMISSIONS", value_name = "COUNT", default_value = "0")]
    decision_log_admissions: u32,
}

impl DecisionLogFlags {
    /// The thread that writes the log, if there is to be one.
    pub(super) fn start(
        &self,
        modes: Modes,
        metrics: &Metrics,
        live: &Live,
    ) -> Result<Option<LogThread>, ServeError> {
        let Some(destination) = self.decision_log.clone() else { return Ok(None) };
        let admissions = NonZeroU32::new(self.decision_log_admissions);
        let settings =
            Settings { destination, admissions, show_values: modes.show_values, names: live.names() };
        let thread = LogThread::start(settings).map_err(ServeError::DecisionLog)?;
        thread.show(metrics);
        Ok(Some(thread))
    }
}
