//! A limit, shared out to replicas that each count for themselves.

use super::{AfterStoreLoss, Algorithm, Limit, lowest_terms};

impl Limit {
    /// The share of one of so many replicas: the burst and what is counted rounded down, the refill exact. None
    /// where less than one hit is left.
    ///
    /// It is sound as the whole is: 1/N of a burst at 1/N of the rate fills in no more time, and one hit of it
    /// comes back in no more time than all of it. Only its requests per period are no whole number.
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
