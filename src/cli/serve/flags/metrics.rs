//! The flags for the page of metrics.

use clap::{ArgAction, Args};

use crate::{
    cli::values,
    metrics::{Metrics, NearLimitRatio},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(in crate::cli::serve) struct MetricsFlags {
    /// Part of a limit, from 0 to 1, beyond which hits count as near it: they are in tollgate_near_limit_total. No
    /// decision depends on it.
    #[arg(long, env = "TOLLGATE_NEAR_LIMIT_RATIO", value_name = "RATIO", default_value = "0.8")]
    near_limit_ratio: NearLimitRatio,

    /// Whether /metrics also has the metrics of envoyproxy/ratelimit, under its names: on or off.
    #[arg(long, env = "TOLLGATE_REFERENCE_METRICS", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", default_value = "off", action = ArgAction::Set, value_parser = values::switch)]
    reference_metrics: bool,
}

impl MetricsFlags {
    /// All metrics, at zero.
    pub(in crate::cli::serve) fn metrics(&self) -> Metrics {
        let metrics = Metrics::new().near_limit(self.near_limit_ratio);
        if self.reference_metrics { metrics.with_reference_names() } else { metrics }
    }
}
