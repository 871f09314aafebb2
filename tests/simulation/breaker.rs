//! A second account of the breaker, from nothing but which batches were sent and which were lost.

use super::Broken;

// The promised numbers, not the constants of the code, which might be wrong.
const TRIPS_AFTER: u32 = 3;
const PROBE_EVERY_US: u64 = 100_000;

#[derive(Debug, Default)]
pub(super) struct BreakerWatch {
    /// The number of batches lost in a row.
    lost: u32,
    /// When it tripped, or its last probe was lost.
    tripped_us: Option<u64>,
    /// The batch that tests whether the store is back.
    probe: Option<usize>,
    pub(super) trips: usize,
    pub(super) probes: usize,
}

impl BreakerWatch {
    pub(super) fn sent(&mut self, sent: usize, now_us: u64, bucket: usize) -> Result<(), Broken> {
        let Some(tripped_us) = self.tripped_us else { return Ok(()) };
        let passed_us = now_us - tripped_us;
        if self.probe.is_some() || passed_us < PROBE_EVERY_US {
            let detail = format!("{passed_us} µs after it tripped: {self:?}");
            return Err(Broken::new("one probe in 100 ms", bucket, detail));
        }
        self.probe = Some(sent);
        self.probes += 1;
        Ok(())
    }

    pub(super) fn landed(&mut self, sent: usize, is_lost: bool, now_us: u64) {
        if !is_lost {
            (self.lost, self.tripped_us, self.probe) = (0, None, None);
            return;
        }
        self.lost += 1;
        let trips = self.tripped_us.is_none() && self.lost >= TRIPS_AFTER;
        if trips || self.probe == Some(sent) {
            self.trips += usize::from(trips);
            (self.tripped_us, self.probe) = (Some(now_us), None);
        }
    }

    /// A request was refused by the breaker.
    pub(super) fn refuses_rightly(&self, now_us: u64, bucket: usize) -> Result<(), Broken> {
        let waits = |tripped_us: u64| self.probe.is_some() || now_us - tripped_us < PROBE_EVERY_US;
        if self.tripped_us.is_some_and(waits) {
            return Ok(());
        }
        Err(Broken::new("a breaker refuses only between probes", bucket, format!("at {now_us}: {self:?}")))
    }
}
