//! The share of a limit that each of several replicas applies on its own.

use super::{AfterStoreLoss, Algorithm, Limit, lowest_terms};

impl Limit {
    /// The share of one of this number of replicas: burst and count are rounded down, the refill is exact. None if
    /// that is less than one hit.
    ///
    /// A share of a sound limit is sound: 1/N of a burst at 1/N of the rate fills in no more time. Only its requests
    /// per period may be a fraction.
    pub fn share(&self, replicas: u32) -> Option<Limit> {
        let replicas = replicas.max(1);
        // The process that holds it loses it only with itself.
        let whole = Limit { after_store_loss: AfterStoreLoss::Full, ..self.clone() };
        let burst = self.burst / replicas;
        let share = match self.algorithm {
            Algorithm::TokenBucket => {
                let (tokens, period_us) = lowest_terms(self.tokens, self.period_us * u128::from(replicas));
                Limit { burst, tokens, period_us, ..whole }
            }
            Algorithm::FixedWindow | Algorithm::SlidingWindowLog => {
                Limit { burst, requests_per_unit: burst, ..whole }
            }
        };
        (burst > 0).then(|| share.timed())
    }
}
