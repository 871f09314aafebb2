//! What envoyproxy/ratelimit tells of the whole process, under its names, so that dashboards and alerts that were made
//! for it go on. What it tells of each rule is with the decisions.
//!
//! Nothing is counted for this page alone but the hits of the rules. The histogram of response times is called seconds
//! there and holds milliseconds in older versions; here they are seconds.

use std::{fmt::Write as _, sync::atomic::Ordering};

use super::{
    Door, Metrics,
    text::{Kind, head},
};

const ERRORS: &str = "Calls of ShouldRateLimit in trouble. redis_error: the store did not answer, and a fallback answer was \
    given, or UNAVAILABLE; see tollgate_store_errors_total. service_error: the request was invalid; the log says why.";
const LOADED: &str = "Configurations that came into force, with that of the start.";
const REFUSED: &str =
    "Configurations that were refused. The log has every error, and the last good one stays in force.";
const REQUESTS: &str = "Calls of ShouldRateLimit.";
const SECONDS: &str = "Time from a decoded call of ShouldRateLimit to its decision.";

impl Metrics {
    /// Adds these metrics to the page, and those of the rules.
    pub(super) fn write_reference(&self, page: &mut String) {
        self.decisions.write_reference(page);
        let mut family = |name: &str, help: &str, series: &[(&str, u64)]| {
            let name = format!("ratelimit_service_{name}");
            head(page, &name, Kind::Counter, help);
            for (labels, value) in series {
                // A String takes all that is written.
                let _ = writeln!(page, "{name}{labels} {value}");
            }
        };
        let store_failures = self.requests.store_failures(Door::Rls);
        let invalid = self.requests.invalid(Door::Rls);
        let errors =
            [("{err_type=\"redis_error\"}", store_failures), ("{err_type=\"service_error\"}", invalid)];
        family("should_rate_limit_error", ERRORS, &errors);
        family(
            "total_requests",
            REQUESTS,
            &[("{grpc_method=\"ShouldRateLimit\"}", self.requests.all(Door::Rls))],
        );
        let reloads = |result| self.reloads.with_label_values(&[result]).get();
        let loaded = self.loaded_at_start.load(Ordering::Relaxed) + reloads("taken");
        family("config_load_success", LOADED, &[("", loaded)]);
        family("config_load_error", REFUSED, &[("", reloads("refused"))]);
        let name = "ratelimit_service_response_time_seconds";
        head(page, name, Kind::Histogram, SECONDS);
        self.durations.write_door(Door::Rls, name, "grpc_method=\"ShouldRateLimit\"", page);
    }
}
