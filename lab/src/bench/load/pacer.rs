//! An open loop's clock: tickets at random instants (Poisson), dealt to the connections in turn.
//!
//! A thread, because tokio's timers count in milliseconds, and 20 requests at once each millisecond are
//! another load than 20,000 a second. A thread's sleep is exact to about 50 µs.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    LoadArgs, LoadError,
    drive::{Phase, Shared, Ticket},
    spawn,
};

/// One receiver for each connection; none at all where no rate is asked for.
pub(super) fn start(
    args: &LoadArgs,
    shared: &Arc<Shared>,
) -> Result<impl Iterator<Item = UnboundedReceiver<Ticket>> + use<>, LoadError> {
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

fn pace(rate: f64, seed: u64, senders: &[UnboundedSender<Ticket>], shared: &Shared) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut gap = || {
        // 1 − x is never 0, of which there is no logarithm.
        Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate)
    };
    let mut next = Instant::now() + gap();
    let mut turns = senders.iter().cycle();
    while shared.phase() != Phase::Over {
        let now = Instant::now();
        while next <= now {
            // Due from the moment at which this thread could say so: that it slept too long is no fault of
            // the service. A connection that is gone fails by itself.
            let _ = turns.next().map(|sender| sender.send(now));
            next += gap();
        }
        // Short enough to see the end.
        thread::sleep((next - now).min(Duration::from_millis(5)));
    }
}
