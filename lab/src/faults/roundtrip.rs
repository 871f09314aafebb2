//! What asking Redis adds to a request, one after the other: straight at Tollgate, and through three nodes.

mod side;

use super::{FaultsError, Row, limits_file};
use crate::{redis::Redis, tollgate::Serve};
use side::{Figures, Side, Way};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: second, requests_per_unit: 1000000, on_store_failure: allow }
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: second, requests_per_unit: 1000000, on_store_failure: allow } }
";
/// All take turns, so that whatever else the machine does falls on all of them.
const ROUNDS: usize = 20;
const REQUESTS: usize = 200;
/// Of each way.
const ALL: u64 = (ROUNDS * REQUESTS) as u64;

/// What one way measured, with each of the three stores.
struct Measured {
    way: Way,
    memory: Figures,
    redis: Figures,
    stalled: Figures,
}

/// Beyond these a promise is broken.
struct Bounds {
    nodes: usize,
    /// p50 without a store to ask, in a debug build too.
    memory_us: u64,
    /// How much more p50 is while the store is stopped.
    stalled_more_us: u64,
    /// p99 while the store is stopped: its deadline is 10 ms.
    stalled_p99_us: u64,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let limits = limits_file("roundtrip", LIMITS)?;
    let redis = Redis::start().await?;
    let mut stalled = Redis::start().await?;
    let serve = Serve::new(&limits);
    let mut sides = [
        Side::start(&serve).await?,
        Side::start(&serve.clone().store(redis.url())).await?,
        Side::start(&serve.clone().store(stalled.url())).await?,
    ];
    stalled.pause()?;
    let mut rows = Vec::new();
    for way in [Way::Straight, Way::ThroughNodes] {
        for _ in 0..ROUNDS {
            for side in &mut sides {
                side.ask(way, REQUESTS).await?;
            }
        }
        let [memory, redis, stalled] = &mut sides;
        let (memory, redis) = (memory.figures().await?, redis.figures().await?);
        rows.extend(Measured { way, memory, redis, stalled: stalled.figures().await? }.rows());
    }
    stalled.resume()?;
    Ok(rows)
}

// === impl Way ===

impl Way {
    const fn words(self) -> &'static str {
        match self {
            Way::Straight => "straight at Tollgate",
            Way::ThroughNodes => "through three nodes",
        }
    }

    const fn bounds(self) -> Bounds {
        match self {
            Way::Straight => {
                Bounds { nodes: 0, memory_us: 2_000, stalled_more_us: 200, stalled_p99_us: 15_000 }
            }
            Way::ThroughNodes => {
                Bounds { nodes: 3, memory_us: 5_000, stalled_more_us: 1_000, stalled_p99_us: 25_000 }
            }
        }
    }
}

// === impl Measured ===

impl Measured {
    fn rows(&self) -> Vec<Row> {
        let Measured { way, memory, redis, stalled } = self;
        let (bounds, words) = (way.bounds(), way.words());
        let trip_us = redis.p50_us.saturating_sub(memory.p50_us);
        vec![
            Row::new(format!("none, buckets in memory, {words}"))
                .promised(format!("every request is decided; p50 at most {} ms", ms(bounds.memory_us)))
                .measured(memory.words())
                .kept_if(
                    memory.p50_us <= bounds.memory_us
                        && memory.decided == ALL
                        && memory.is_whole(ALL, bounds.nodes),
                ),
            Row::new(format!("none, buckets in Redis, {words}"))
                .promised("one round trip: p50 at most 1 ms more; 99 of 100 are decided")
                .measured(format!("{}: {} ms more", redis.words(), ms(trip_us)))
                // An idle machine decides all; on one that stalls for 10 ms a few answers are fallback answers.
                .kept_if(
                    trip_us <= 1_000
                        && redis.decided * 100 >= ALL * 99
                        && redis.is_whole(ALL, bounds.nodes),
                ),
            Row::new(format!("Redis is stopped, {words}"))
                .promised(format!(
                    "the breaker answers: all answers are fallback answers, p50 at most {} ms more than in memory, \
                     p99 at most {} ms",
                    ms(bounds.stalled_more_us),
                    ms(bounds.stalled_p99_us)
                ))
                .measured(stalled.words())
                .kept_if(
                    stalled.p50_us <= memory.p50_us + bounds.stalled_more_us
                        && stalled.p99_us <= bounds.stalled_p99_us
                        && stalled.by_fallback == ALL
                        && stalled.is_whole(ALL, bounds.nodes),
                ),
        ]
    }
}

/// With all digits that the measurement has.
fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}
