//! How long connections may live, and how long they may be silent.

use std::time::Duration;

/// How far the maximum age is spread, as a share of it, so that connections opened together do not all return at once.
const AGE_JITTER: f64 = 0.1;

/// Bounds on connections of the gRPC port.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The age at which a client is told to open another connection, give or take a tenth. `None`: never.
    pub max_age: Option<Duration>,
    /// How long calls may take after that, before the connection is cut.
    pub max_age_grace: Duration,
    /// How long a client may be silent before it is asked whether it is still there. `None`: it is never asked.
    pub keepalive: Option<Duration>,
    /// How long it may take to answer, before the connection is cut.
    pub keepalive_timeout: Duration,
}

// === impl ConnectionLimits ===

impl ConnectionLimits {
    /// The maximum age of one connection.
    pub(super) fn age(&self) -> Duration {
        let jitter = rand::random_range(1.0 - AGE_JITTER..1.0 + AGE_JITTER);
        // tokio's sleep caps a duration that it cannot represent at some decades.
        self.max_age.map_or(Duration::MAX, |age| age.mul_f64(jitter))
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            max_age: Some(Duration::from_secs(600)),
            max_age_grace: Duration::from_secs(10),
            keepalive: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let limits = ConnectionLimits::default();
        let ages: Vec<_> = (0..100).map(|_| limits.age()).collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(
            *least >= Duration::from_secs(540) && *most <= Duration::from_secs(660),
            "{least:?} {most:?}"
        );
        assert!(*most - *least > Duration::from_secs(60), "{least:?} {most:?}");
    }
}
