//! An open loop's clock: tickets at random instants (Poisson), a handful to each connection in turn.
//!
//! A thread, because tokio's timers count in milliseconds, and 20 requests at once each millisecond are
//! another load than 20,000 a second. It looks at its clock some 6,000 times a second, and what is due by then
//! goes out in one write on one connection: a write for each request would take half a core at 30,000 a second,
//! and the latencies would be the load generator's own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    LoadArgs, LoadError,
    drive::{Phase, Shared, Tickets},
    spawn,
};

/// The kernel adds about 50 µs.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);
const LONGEST_SLEEP: Duration = Duration::from_millis(5);

/// One receiver for each connection; none at all where no rate is asked for.
pub(super) fn start(
    args: &LoadArgs,
    shared: &Arc<Shared>,
) -> Result<impl Iterator<Item = UnboundedReceiver<Tickets>> + use<>, LoadError> {
    let mut receivers = Vec::new();
    if let Some(rate) = args.rate {
        let (senders, all): (Vec<_>, Vec<_>) = (0..args.connections).map(|_| unbounded_channel()).unzip();
        receivers = all;
        let (shared, seed) = (Arc::clone(shared), args.seed);
        // Ends with the phase, which the meter ends.
        spawn("pacer", move || pace(rate, seed, &senders, &shared))?;
    }
    Ok(receivers.into_iter())
}

fn pace(rate: f64, seed: u64, senders: &[UnboundedSender<Tickets>], shared: &Shared) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut gap = || {
        // 1 − x is never 0, of which there is no logarithm.
        Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate)
    };
    let mut next = Instant::now() + gap();
    let mut turns = senders.iter().cycle();
    while shared.phase() != Phase::Over {
        let now = Instant::now();
        let mut due = 0;
        while next <= now {
            due += 1;
            next += gap();
        }
        if due > 0 {
            // Due from the moment at which this thread could say so: that it slept too long is no fault of
            // the service. A connection that is gone fails by itself.
            let _ = turns.next().map(|sender| sender.send(Tickets { due: now, count: due }));
        }
        // Short enough to see the end.
        thread::sleep((next - now).clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
    }
}
