//! Times the load, and reads what the processes have used at both ends of the measured time.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    LoadArgs, LoadError,
    drive::{Phase, Shared},
    spawn,
};
use crate::bench::{
    proc::{self, ProcError, Usage},
    resp,
    sample::Master,
};

/// What was used in between.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) service_cpu_us: Option<f64>,
    pub(super) masters: Vec<Master>,
    pub(super) load_cpu_us: f64,
    pub(super) resident_kib: Option<u64>,
}

#[derive(Debug)]
struct Used {
    service: Option<Usage>,
    redis: Vec<Usage>,
    load: Usage,
}

/// Ends when the time is up, which it tells through `over`, or when `ended` says that nothing is left to
/// measure.
pub(super) fn start(
    args: &LoadArgs,
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
    over: oneshot::Sender<()>,
) -> Result<thread::JoinHandle<Result<Measured, LoadError>>, LoadError> {
    let args = args.clone();
    spawn("meter", move || {
        let measured = measure(&args, &shared, &ended);
        // Also after an error: the connections go on until they are told.
        shared.enter(Phase::Over);
        // Nobody waits for it where nothing was left to measure.
        let _ = over.send(());
        measured
    })
}

fn measure(args: &LoadArgs, shared: &Shared, ended: &mpsc::Receiver<()>) -> Result<Measured, LoadError> {
    thread::sleep(Duration::from_millis(args.warm_up_ms));
    let calls = || args.redis.iter().map(|addr| resp::calls(*addr)).collect::<Result<Vec<u64>, _>>();
    let calls_before = calls()?;
    let before = Used::so_far(args)?;
    let started = Instant::now();
    shared.enter(Phase::Measuring);

    // An error says that the load has ended.
    let _ = ended.recv_timeout(Duration::from_millis(args.measure_ms));

    // In the same order as at the start, so that what passes while the questions are asked evens out.
    let calls_after = calls()?;
    let after = Used::so_far(args)?;
    let seconds = started.elapsed().as_secs_f64();
    shared.enter(Phase::Over);

    let cpu = |before: Option<Usage>, after: Option<Usage>| Some(after?.cpu_us - before?.cpu_us);
    Ok(Measured {
        seconds,
        service_cpu_us: cpu(before.service, after.service),
        masters: masters(&before.redis, &after.redis, &calls_before, &calls_after),
        load_cpu_us: after.load.cpu_us - before.load.cpu_us,
        resident_kib: after.service.map(|usage| usage.resident_kib),
    })
}

/// What each Redis used.
fn masters(before: &[Usage], after: &[Usage], calls_before: &[u64], calls_after: &[u64]) -> Vec<Master> {
    let cpu = before.iter().zip(after).map(|(before, after)| after.cpu_us - before.cpu_us);
    let calls = calls_before.iter().zip(calls_after).map(|(before, after)| after - before);
    cpu.zip(calls).map(|(cpu_us, calls)| Master { cpu_us, calls }).collect()
}

// === impl Used ===

impl Used {
    fn so_far(args: &LoadArgs) -> Result<Used, ProcError> {
        let usage = |pid: Option<u32>| pid.map(|pid| proc::usage(&pid.to_string())).transpose();
        Ok(Used {
            service: usage(args.service_pid)?,
            redis: args
                .redis_pid
                .iter()
                .map(|pid| proc::usage(&pid.to_string()))
                .collect::<Result<_, _>>()?,
            load: proc::usage("self")?,
        })
    }
}
