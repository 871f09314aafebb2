//! The course of a run: what is sent when, so that a limiter shows what it does wrong.
//!
//! A burst finds one that admits more than its burst at once; saturation, one that refills too fast or
//! counts in windows; bursts after pauses, one that saves up more than its burst; a client alone, one
//! that says the wrong time. All requests of all phases are audited together, over the whole timeline.

use std::time::Duration;

use super::{
    contract::{Breach, Told},
    load::{Load, Schedule},
    progress::Progress,
    record::Class,
};
use crate::clock;
use tollgate_core::limit::{Algorithm, Limit, Unit};

/// A longer wait is left out, and the report says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So much for a burst; a larger limit cannot be emptied at once.
const MOST_AT_ONCE: u64 = 200_000;

/// Requests one by one before each burst that follows a pause. In a crowd no denial can be shown to be
/// wrong, since its neighbours may have come first; these have no neighbours.
const MOST_KNOCKS: u64 = 4;

/// A client alone that is not denied by then is not going to be.
const MOST_TRIES_ALONE: u32 = 64;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) limit: Limit,
    pub(super) duration: Duration,
    pub(super) rate: Option<u32>,
    pub(super) concurrency: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) from_us: u64,
    pub(super) to_us: u64,
}

/// What was done, and what was not.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) phases: Vec<Phase>,
    pub(super) left_out: Vec<String>,
    pub(super) is_interrupted: bool,
    pub(super) is_full: bool,
}

/// The phases in which there is always more demand than the limit admits; the first ones of a run.
pub(super) const UNDER_LOAD: usize = 2;

pub(super) async fn run(load: &mut Load, plan: &Plan, progress: &Progress) -> Course {
    let mut course = Course::default();
    if u64::from(plan.limit.burst()) >= MOST_AT_ONCE {
        course.left_out.push(format!("emptying the bucket at once: no more than {MOST_AT_ONCE} are sent"));
    }
    wait_for_mid_second(load, plan).await;

    let from_us = begin(load, progress, "a burst");
    load.round(plan.burst(), progress).await;
    course.end(load, "burst".to_owned(), from_us);

    let from_us = begin(load, progress, &format!("saturation for {:?}", plan.duration));
    load.round(plan.saturation(), progress).await;
    course.end(load, "saturation".to_owned(), from_us);

    let unit = match plan.limit.algorithm() {
        Algorithm::FixedWindow => "the window",
        _ => "time to full",
    };
    for (quarters, times) in [(2, "0.5"), (4, "1"), (6, "1.5"), (8, "2")] {
        let pause = plan.time_to_full().saturating_mul(quarters) / 4;
        let name = format!("burst after {times} x {unit} ({pause:.1?})");
        if pause > LONGEST_PAUSE {
            course.left_out.push(format!("{name}: the pause is over {LONGEST_PAUSE:?}"));
            continue;
        }
        progress.phase(&format!("pause, then {name}"));
        load.pause(pause).await;
        let from_us = load.now_us();
        for _ in 0..plan.knocks() {
            load.one().await;
        }
        load.round(plan.burst(), progress).await;
        course.end(load, name, from_us);
    }

    let from_us = begin(load, progress, "a client alone");
    alone(load, plan, progress, &mut course).await;
    course.end(load, "alone".to_owned(), from_us);
    course.is_interrupted = load.is_stopped();
    course.is_full = load.is_full();
    course
}

fn begin(load: &Load, progress: &Progress, name: &str) -> u64 {
    progress.phase(name);
    load.now_us()
}

/// Fixed windows mostly begin with a whole second. A first burst late in one window and a second early in
/// the next are what shows them; at the start of a window they look sound.
async fn wait_for_mid_second(load: &Load, plan: &Plan) {
    if plan.limit.unit() == Unit::Second {
        load.pause(until_mid_second(clock::unix_us())).await;
    }
}

/// Until 0.6 s after a whole second: enough is left of the window to send a burst in.
fn until_mid_second(unix_us: u64) -> Duration {
    Duration::from_micros((1_600_000 - unix_us % 1_000_000) % 1_000_000)
}

// === a client alone ===

/// One client that keeps to what it is told, and comes too early once, on purpose.
async fn alone(load: &mut Load, plan: &Plan, progress: &Progress, course: &mut Course) {
    load.round(plan.burst(), progress).await;
    let Some(told) = denied(load).await else {
        course.left_out.push("alone: no denial told when to come back".to_owned());
        return;
    };
    let told = if told.reset_s > 3 { come_early(load, told, course).await } else { Some(told) };
    let Some(told) = told else { return };
    obey(load, told, course).await;
}

/// Two seconds before the announced time a token cannot be there. What the next denial tells, if any.
async fn come_early(load: &mut Load, told: Told, course: &mut Course) -> Option<Told> {
    let pause = Duration::from_secs(told.reset_s - 2);
    if pause > LONGEST_PAUSE {
        course.left_out.push(format!("alone, too early: ratelimit-reset was {} s", told.reset_s));
        return Some(told);
    }
    load.pause(pause).await;
    let reply = load.one().await?;
    if reply.class.is_admitted() {
        let seen = format!("admitted {pause:?} after ratelimit-reset: {}", told.reset_s);
        breach(load, "a client two seconds before ratelimit-reset is denied", seen);
        return denied(load).await;
    }
    reply.told
}

async fn obey(load: &mut Load, told: Told, course: &mut Course) {
    let pause = Duration::from_secs(told.retry_after_s);
    if pause > LONGEST_PAUSE {
        course.left_out.push(format!("alone, on time: retry-after was {} s", told.retry_after_s));
        return;
    }
    load.pause(pause).await;
    if let Some(reply) = load.one().await
        && reply.class == Class::Denied
    {
        let seen = format!("denied {pause:?} after retry-after: {}", told.retry_after_s);
        breach(load, "a client that obeys retry-after passes", seen);
    }
}

/// Sends one by one until a denial tells when to come back.
async fn denied(load: &mut Load) -> Option<Told> {
    for _ in 0..MOST_TRIES_ALONE {
        let reply = load.one().await?;
        if reply.class == Class::Denied {
            return reply.told;
        }
    }
    None
}

fn breach(load: &mut Load, rule: &'static str, seen: String) {
    if let Some(record) = load.record() {
        record.breached(Breach { rule, seen });
    }
}

// === impl Plan ===

impl Plan {
    /// Enough to be denied some, though tokens come back meanwhile.
    fn burst(&self) -> Schedule {
        let burst = u64::from(self.limit.burst());
        let count = (2 * burst).max(burst + u64::from(self.concurrency));
        Schedule::Count(count.min(MOST_AT_ONCE))
    }

    fn saturation(&self) -> Schedule {
        match self.rate {
            Some(per_second) => Schedule::Paced { per_second, duration: self.duration },
            None => Schedule::For(self.duration),
        }
    }

    fn knocks(&self) -> u64 {
        (u64::from(self.limit.burst()) / 2).min(MOST_KNOCKS)
    }

    fn time_to_full(&self) -> Duration {
        Duration::from_micros(self.limit.worth_of_burst().whole_us)
    }
}

// === impl Course ===

impl Course {
    fn end(&mut self, load: &Load, name: String, from_us: u64) {
        self.phases.push(Phase { name, from_us, to_us: load.now_us() });
    }
}

#[cfg(test)]
mod tests;
