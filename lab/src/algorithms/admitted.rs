//! The most that is admitted in a minute: no requests for a while, and then as many as possible across the edge of a
//! window.

use tollgate_core::{
    decision::{Demand, Take, Verdict},
    descriptor::{BucketKey, Hits},
};

use super::{AlgorithmsError, Contender, redis::Script};

const MINUTE_US: u64 = 60_000_000;
/// A full minute by Redis' clock, far enough in the future that these keys do not expire meanwhile.
pub(super) const START_US: u64 = 66_666_666 * MINUTE_US;
/// The load begins this long before the edge of a window, and lasts two minutes.
const BEFORE_EDGE_US: u64 = 1_000_000;
const STEP_US: u64 = 50_000;
const STEPS: u64 = 120_000_000 / STEP_US;

/// Admissions of one client that asks as often as it can.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// Microseconds since the first admission, and the number of admissions until then.
    pub(super) curve: Vec<(u64, u32)>,
    /// Admissions in the worst minute.
    pub(super) worst: u32,
    /// Admissions in the worst second.
    pub(super) worst_second: u32,
}

pub(super) fn measure(script: &mut Script, contender: Contender) -> Result<Admitted, AlgorithmsError> {
    script.ask(&[b"FLUSHALL"])?;
    let limit = contender.spec().check().expect("the limits here are sound");
    let take = Take { key: BucketKey::from_bytes([1; 16]), demand: Demand::new(Hits::Take(1), &limit) };
    let burst = [[take]; 50];
    let from_us = START_US + MINUTE_US - BEFORE_EDGE_US;
    let (mut times, mut curve) = (Vec::new(), vec![(0, 0)]);
    for step in 0..STEPS {
        let now_us = from_us + step * STEP_US;
        loop {
            let answers = script.decide(&burst, now_us)?;
            let admitted = answers.iter().filter(|answer| answer.verdict == Verdict::Allow).count();
            times.extend(std::iter::repeat_n(now_us, admitted));
            if admitted < burst.len() {
                break;
            }
        }
        curve.push((step * STEP_US, u32::try_from(times.len()).unwrap_or(u32::MAX)));
    }
    Ok(Admitted { curve, worst: worst(&times, MINUTE_US), worst_second: worst(&times, 1_000_000) })
}

/// The most admissions in any half-open interval of this length.
pub(super) fn worst(times: &[u64], length_us: u64) -> u32 {
    let mut from = 0;
    let most = times.iter().enumerate().map(|(to, time)| {
        while times[from] + length_us <= *time {
            from += 1;
        }
        to - from + 1
    });
    u32::try_from(most.max().unwrap_or(0)).unwrap_or(u32::MAX)
}
