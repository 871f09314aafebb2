//! What asking Redis adds to a request: one after the other, straight at Tollgate.

use std::time::Instant;

use super::{
    FaultsError, Row,
    asker::{Answer, Asker},
    limits_file,
};
use crate::{
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limit: { unit: second, requests_per_unit: 1000000, on_store_failure: allow }
";
/// The three take turns, so that whatever else the machine does falls on all of them.
const ROUNDS: usize = 20;
const REQUESTS: usize = 200;

struct Side {
    asker: Asker,
    took_us: Vec<u64>,
    guesses: usize,
    _tollgate: Tollgate,
}

pub(super) async fn rows() -> Result<Vec<Row>, FaultsError> {
    let limits = limits_file("roundtrip", LIMITS)?;
    let redis = Redis::start().await?;
    let mut stalled = Redis::start().await?;
    let mut memory = Side::start(&Serve::new(&limits)).await?;
    let mut asking = Side::start(&Serve::new(&limits).store(redis.url())).await?;
    let mut waiting = Side::start(&Serve::new(&limits).store(stalled.url())).await?;
    for side in [&mut memory, &mut asking, &mut waiting] {
        side.asker.until_store("user", "warm").await?;
    }
    stalled.pause()?;
    for _ in 0..ROUNDS {
        for side in [&mut memory, &mut asking, &mut waiting] {
            side.ask().await;
        }
    }
    stalled.resume()?;
    let [of_memory, of_redis, of_stalled] = [&mut memory, &mut asking, &mut waiting].map(Side::figures);
    let ms = |us: u64| format!("{}.{:03}", us / 1_000, us % 1_000);
    let told = |(p50, p99): (u64, u64)| format!("p50 {} ms, p99 {} ms", ms(p50), ms(p99));
    let trip_us = of_redis.0.saturating_sub(of_memory.0);
    Ok(vec![
        Row::of("none, buckets in memory")
            .promised("no round trip")
            .measured(told(of_memory))
            .kept_if(memory.guesses == 0),
        Row::of("none, buckets in Redis")
            .promised("one round trip: p50 at most 1 ms more")
            .measured(format!("{}: {} ms more", told(of_redis), ms(trip_us)))
            .kept_if(trip_us <= 1_000 && asking.guesses * 100 <= ROUNDS * REQUESTS),
        Row::of("Redis is stopped")
            .promised(
                "the breaker answers: p50 at most that of memory and 0.2 ms, p99 at most the store deadline (10 ms) \
                 and 5 ms",
            )
            .measured(format!("{}, {} of {} guessed", told(of_stalled), waiting.guesses, ROUNDS * REQUESTS))
            .kept_if(of_stalled.0 <= of_memory.0 + 200 && of_stalled.1 <= 15_000 && waiting.guesses > 0),
    ])
}

impl Side {
    async fn start(serve: &Serve) -> Result<Side, FaultsError> {
        let tollgate = Tollgate::start(serve).await?;
        let asker = Asker::connect(tollgate.grpc()).await?;
        Ok(Side { asker, took_us: Vec::new(), guesses: 0, _tollgate: tollgate })
    }

    async fn ask(&mut self) {
        for number in 0..REQUESTS {
            let asked = Instant::now();
            let answer = self.asker.ask("user", "u").await;
            let took_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            // The first of a round finds cold caches.
            if number > 0 {
                self.took_us.push(took_us);
            }
            self.guesses += usize::from(matches!(answer, Answer::Guessed { .. }));
        }
    }

    /// p50 and p99.
    fn figures(&mut self) -> (u64, u64) {
        self.took_us.sort_unstable();
        let rank = |per_cent: usize| self.took_us[self.took_us.len() * per_cent / 100];
        (rank(50), rank(99))
    }
}
