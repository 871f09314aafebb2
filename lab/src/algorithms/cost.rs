//! Bytes for each key, and Redis' CPU time for each decision.

use tollgate::store::redis::keys::redis_key;
use tollgate_core::{
    decision::{Demand, Take},
    descriptor::{BucketKey, Hits},
};

use super::{AlgorithmsError, Contender, admitted::START_US, redis::Script};
use crate::bench::stats::Spread;

const KEYS: u32 = 200;
/// The number of takes that a batch carries at 64 in flight.
const TAKES: usize = 25;
const CALLS: usize = 400;

#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Bytes of an exhausted key, by `MEMORY USAGE`, and by all memory of Redis.
    pub(super) bytes: u64,
    pub(super) bytes_of_all: f64,
    /// Redis' CPU time for each decision in microseconds, in calls of [`TAKES`].
    pub(super) denied_us: Spread,
    pub(super) allowed_us: Spread,
}

pub(super) fn measure(
    script: &mut Script,
    contender: Contender,
    runs: usize,
) -> Result<Cost, AlgorithmsError> {
    // Redis keeps some memory that it needed once, which does not belong to the keys.
    fill(script, contender, contender.n)?;
    script.ask(&[b"FLUSHALL"])?;
    let empty = script.used_memory()?;
    let filled_us = fill(script, contender, contender.n)?;
    let full_us = empty_all(script, contender, filled_us)?;
    let bytes_of_all = (script.used_memory()?.saturating_sub(empty)) as f64 / f64::from(KEYS);
    let usage = script.ask(&[b"MEMORY", b"USAGE", &redis_key(&key(0))])?;
    let bytes = String::from_utf8_lossy(&usage).parse().unwrap_or(0);
    let (mut denied, mut allowed) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        denied.push(time(script, contender, |_| full_us)?);
        script.ask(&[b"FLUSHALL"])?;
        // The log is half full, and as many hits enter as leave.
        let from_us = fill(script, contender, contender.n / 2)?;
        let step_us = 2 * 60_000_000 / u64::from(contender.n);
        allowed.push(time(script, contender, |round| from_us + (round + 1) * step_us)?);
        script.ask(&[b"FLUSHALL"])?;
        let filled_us = fill(script, contender, contender.n)?;
        empty_all(script, contender, filled_us)?;
    }
    let spread = |values: Vec<f64>| Spread::from_values(values).expect("there is a run");
    Ok(Cost { bytes, bytes_of_all, denied_us: spread(denied), allowed_us: spread(allowed) })
}

/// Asks for each key `times`, spread evenly over most of a minute. Returns the last instant.
fn fill(script: &mut Script, contender: Contender, times: u32) -> Result<u64, AlgorithmsError> {
    let step_us = 50_000_000 / u64::from(times);
    let takes = takes(contender);
    let mut now_us = START_US;
    for _ in 0..times {
        for call in takes.chunks(TAKES) {
            script.decide(call, now_us)?;
        }
        now_us += step_us;
    }
    Ok(now_us)
}

/// Takes what the buckets have refilled meanwhile.
fn empty_all(script: &mut Script, contender: Contender, now_us: u64) -> Result<u64, AlgorithmsError> {
    let takes = takes(contender);
    for _ in 0..=contender.n {
        let mut denied = 0;
        for call in takes.chunks(TAKES) {
            let answers = script.decide(call, now_us)?;
            denied += answers.iter().filter(|answer| !answer.found[0].fits).count();
        }
        if denied == takes.len() {
            break;
        }
    }
    Ok(now_us)
}

/// The CPU microseconds for each decision, over [`CALLS`] calls, with one of these instants for each round over the
/// keys.
fn time(
    script: &mut Script,
    contender: Contender,
    now_us: impl Fn(u64) -> u64,
) -> Result<f64, AlgorithmsError> {
    let takes = takes(contender);
    let before = script.cpu_us()?;
    let mut calls = 0;
    for round in 0.. {
        for call in takes.chunks(TAKES) {
            script.decide(call, now_us(round))?;
            calls += 1;
        }
        if calls >= CALLS {
            break;
        }
    }
    Ok((script.cpu_us()? - before) / (calls * TAKES) as f64)
}

fn takes(contender: Contender) -> Vec<[Take; 1]> {
    let limit = contender.spec().check().expect("the limits here are sound");
    (0..KEYS).map(|number| [Take { key: key(number), demand: Demand::new(Hits::Take(1), &limit) }]).collect()
}

fn key(number: u32) -> BucketKey {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    BucketKey::from_bytes(bytes)
}
