//! One key over time: its level as the store has it, and what it was admitted against what its limit allows, from when
//! somebody asks for it until nobody does.
//!
//! The level is read once a second, however many readers there are. At most [`MOST_WATCHED`] keys are watched at once.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use serde_json::{Value, json};

use super::{Live, history::SECONDS, names::Names, sketch::number};
use tollgate_core::{descriptor::BucketKey, limit::Algorithm};

/// The most keys that are watched at once.
const MOST_WATCHED: usize = 8;
/// The most bytes of the entries of a key that is asked for.
pub const MOST_ASKED_BYTES: usize = 4_096;

/// A key as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// None: the only domain.
    pub domain: Option<String>,
    /// Each is `key=value`.
    pub entries: Vec<String>,
}

/// What is known about a key at one time.
#[derive(Debug)]
pub struct Looked {
    /// Its domain.
    pub domain: String,
    /// The limits that apply to it.
    pub limits: Vec<LookedLimit>,
    /// The whole explanation.
    pub text: String,
}

/// One limit of a key, and its bucket.
#[derive(Debug, Clone)]
pub struct LookedLimit {
    pub key: BucketKey,
    /// As in `tollgate_decisions_total`.
    pub rule: String,
    pub tier: Option<String>,
    pub algorithm: Algorithm,
    pub requests: u32,
    pub period_seconds: u64,
    pub burst: u32,
    /// Whole hits that pass now.
    pub level: u32,
    /// One hit passes now.
    pub fits: bool,
    /// Until one hit passes.
    pub next_us: u64,
    /// Until the bucket is full; none if that is not known.
    pub full_us: Option<u64>,
}

type Looking = Pin<Box<dyn Future<Output = Result<Looked, String>> + Send>>;

/// Looks at a key, and charges nothing. The error is for operators.
pub type Look = Box<dyn Fn(Asked) -> Looking + Send + Sync>;

/// A key that is watched for as long as somebody holds this.
#[derive(Debug)]
pub struct Watch {
    asked: Asked,
    course: Mutex<Course>,
}

/// How it went so far.
#[derive(Debug, Default)]
struct Course {
    since_us: u64,
    looked: Option<Result<Looked, String>>,
    limits: Vec<LimitCourse>,
}

/// What was admitted under one limit.
#[derive(Debug)]
struct LimitCourse {
    key: BucketKey,
    burst: u32,
    /// Hits per second; none if the limit does not refill steadily.
    rate: Option<f64>,
    /// All hits that were counted when the last second ended.
    counted: u64,
    admitted: u64,
    seconds: f64,
    /// The interval up to now in which most was admitted beyond the refill.
    running: Interval,
    worst: Interval,
    points: VecDeque<Value>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    admitted: f64,
    seconds: f64,
}

/// How much of the course a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// All points that are kept.
    All,
    /// The newest one.
    Newest,
}

// === impl Live ===

impl Live {
    /// Watches a key; whoever asks for the same one gets the same watch. Fails if too many are watched, or if nobody can
    /// look at keys. Must be called within a tokio runtime.
    pub fn watch(self: &Arc<Live>, asked: Asked) -> Result<Arc<Watch>, &'static str> {
        if self.look.get().is_none() {
            return Err("this server cannot look at keys");
        }
        let mut watches = self.watches();
        watches.retain(|watch| watch.strong_count() > 0);
        if let Some(same) = watches.iter().filter_map(Weak::upgrade).find(|watch| watch.asked == asked) {
            return Ok(same);
        }
        if watches.len() >= MOST_WATCHED {
            return Err("8 keys are watched already");
        }
        let watch = Arc::new(Watch { asked, course: Mutex::default() });
        watches.push(Arc::downgrade(&watch));
        drop(watches);
        tokio::spawn(follow(Arc::downgrade(self), Arc::downgrade(&watch), self.ended.subscribe()));
        Ok(watch)
    }

    /// The course of a key as JSON.
    pub fn course(&self, watch: &Watch, points: Points) -> String {
        watch.course().json(&watch.asked, &self.names, points).to_string()
    }

    /// The runtimes count the hits of these keys from now on.
    fn count_watched(&self) {
        let watches = self.watches();
        let mut keys: Vec<BucketKey> = Vec::new();
        for watch in watches.iter().filter_map(Weak::upgrade) {
            keys.extend(watch.course().limits.iter().map(|limit| limit.key));
        }
        for recorder in self.living_recorders() {
            recorder.watch(&keys);
        }
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a key after each second, until nobody holds its watch.
async fn follow(live: Weak<Live>, watch: Weak<Watch>, mut ended: tokio::sync::watch::Receiver<u64>) {
    loop {
        {
            let (Some(live), Some(watch)) = (live.upgrade(), watch.upgrade()) else { break };
            let Some(look) = live.look.get() else { return };
            let looked = look(watch.asked.clone()).await;
            let is_new = watch.course().see(live.clock.now_us(), looked, |key| live.counted(key));
            if is_new {
                live.count_watched();
            }
        }
        if ended.changed().await.is_err() {
            return;
        }
    }
    if let Some(live) = live.upgrade() {
        live.count_watched();
    }
}

impl Live {
    /// The hits that were counted under a watched key, by all runtimes.
    fn counted(&self, key: &BucketKey) -> u64 {
        self.state().counted.get(key).copied().unwrap_or_default()
    }
}

// === impl Watch, Course ===

impl Watch {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    /// Adds what was just seen. True if there are limits now that were not there before.
    fn see(
        &mut self,
        now_us: u64,
        looked: Result<Looked, String>,
        counted: impl Fn(&BucketKey) -> u64,
    ) -> bool {
        let mut is_new = false;
        if let Ok(looked) = &looked {
            let is_same = |(one, course): (&LookedLimit, &LimitCourse)| one.key == course.key;
            if looked.limits.len() != self.limits.len()
                || !looked.limits.iter().zip(&self.limits).all(is_same)
            {
                is_new = true;
                self.since_us = now_us;
                self.limits =
                    looked.limits.iter().map(|limit| LimitCourse::new(limit, counted(&limit.key))).collect();
            }
            for (course, limit) in self.limits.iter_mut().zip(&looked.limits) {
                course.add(limit, counted(&limit.key), now_us, self.since_us);
            }
        }
        self.looked = Some(looked);
        is_new
    }

    fn json(&self, asked: &Asked, names: &Names, points: Points) -> Value {
        let (error, looked) = match &self.looked {
            None => (None, None),
            Some(Ok(looked)) => (None, Some(looked)),
            Some(Err(error)) => (Some(error), None),
        };
        let limits = looked.map_or(&[][..], |looked| &looked.limits);
        let limits = limits.iter().zip(&self.limits).map(|(limit, course)| course.json(limit, names, points));
        json!({
            "domain": looked.map(|looked| &looked.domain).or(asked.domain.as_ref()),
            "entries": asked.entries.join(" "),
            "since_ms": self.since_us / 1_000,
            "error": error,
            "limits": limits.collect::<Vec<Value>>(),
            "explain": looked.map(|looked| &looked.text),
        })
    }
}

// === impl LimitCourse ===

#[allow(clippy::cast_precision_loss, reason = "shown, and far below 2^53")]
impl LimitCourse {
    fn new(limit: &LookedLimit, counted: u64) -> LimitCourse {
        let refills = limit.algorithm == Algorithm::TokenBucket && limit.period_seconds > 0;
        LimitCourse {
            key: limit.key,
            burst: limit.burst,
            rate: refills.then(|| f64::from(limit.requests) / limit.period_seconds as f64),
            counted,
            admitted: 0,
            seconds: 0.0,
            running: Interval::default(),
            worst: Interval::default(),
            points: VecDeque::new(),
        }
    }

    fn add(&mut self, limit: &LookedLimit, counted: u64, now_us: u64, since_us: u64) {
        let new = counted.saturating_sub(self.counted);
        let seconds = now_us.saturating_sub(since_us) as f64 / 1e6;
        let took = seconds - self.seconds;
        (self.counted, self.seconds) = (counted, seconds);
        self.admitted += new;
        self.running.admitted += new as f64;
        self.running.seconds += took;
        let rate = self.rate.unwrap_or_default();
        if self.running.beyond(rate) <= 0.0 {
            self.running = Interval::default();
        }
        if self.running.beyond(rate) > self.worst.beyond(rate) {
            self.worst = self.running;
        }
        let point = json!({
            "time_ms": now_us / 1_000,
            "level": limit.level,
            "admitted": self.admitted,
            "allowed": self.allowed(self.seconds),
        });
        if self.points.len() == SECONDS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// The hits that the limit allows within so many seconds.
    fn allowed(&self, seconds: f64) -> Option<f64> {
        Some(f64::from(self.burst) + self.rate? * seconds)
    }

    fn json(&self, limit: &LookedLimit, names: &Names, points: Points) -> Value {
        let skipped = if points == Points::All { 0 } else { self.points.len().saturating_sub(1) };
        let worst = self.allowed(self.worst.seconds).map(|allowed| {
            json!({ "admitted": self.worst.admitted, "allowed": allowed, "seconds": self.worst.seconds })
        });
        json!({
            "rule": limit.rule,
            "name": names.of(number(&limit.key)),
            "tier": limit.tier,
            "algorithm": limit.algorithm.name(),
            "requests": limit.requests,
            "period_seconds": limit.period_seconds,
            "burst": limit.burst,
            "level": limit.level,
            "fits": limit.fits,
            "next_ms": limit.next_us.div_ceil(1_000),
            "full_ms": limit.full_us.map(|us| us.div_ceil(1_000)),
            "admitted": self.admitted,
            "allowed": self.allowed(self.seconds),
            "worst": worst,
            "points": self.points.iter().skip(skipped).collect::<Vec<_>>(),
        })
    }
}

impl Interval {
    /// What was admitted beyond the refill. It is at most the burst.
    fn beyond(&self, rate: f64) -> f64 {
        self.admitted - rate * self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> LookedLimit {
        LookedLimit {
            key: BucketKey::from_bytes([7; 16]),
            rule: "api_key".to_owned(),
            tier: None,
            algorithm: Algorithm::TokenBucket,
            requests: 60,
            period_seconds: 60,
            burst: 10,
            level: 4,
            fits: true,
            next_us: 0,
            full_us: Some(6_000_001),
        }
    }

    /// The course of a key under which so many hits were taken in each second.
    fn course(taken: &[u64]) -> Value {
        let (mut course, mut counted) = (Course::default(), 100);
        let see = |course: &mut Course, second: u64, counted: u64| {
            let looked =
                Looked { domain: "edge".to_owned(), limits: vec![limit()], text: "because".to_owned() };
            course.see(1_000_000_000 + second * 1_000_000, Ok(looked), |_| counted)
        };
        assert!(see(&mut course, 0, counted));
        for (second, taken) in (1..).zip(taken) {
            counted += taken;
            assert!(!see(&mut course, second, counted));
        }
        let asked = Asked { domain: None, entries: vec!["api_key=abc".to_owned()] };
        course.json(&asked, &Names::new(), Points::All)
    }

    #[test]
    fn the_worst_interval_is_the_one_that_came_closest_to_its_bound() {
        let shown = course(&[1, 0, 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        let limit = &shown["limits"][0];
        assert_eq!((&limit["admitted"], &limit["allowed"]), (&json!(15), &json!(24.0)));
        assert_eq!(limit["worst"], json!({ "admitted": 11.0, "allowed": 12.0, "seconds": 2.0 }));
        assert_eq!(limit["points"].as_array().unwrap().len(), 15);
        assert_eq!((&limit["full_ms"], &shown["explain"]), (&json!(6_001), &json!("because")));
    }

    #[test]
    fn a_key_that_cannot_be_looked_at_says_why() {
        let mut course = Course::default();
        course.see(5, Err("no such domain".to_owned()), |_| 0);
        let asked = Asked { domain: Some("x".to_owned()), entries: vec!["a=b".to_owned()] };
        let shown = course.json(&asked, &Names::new(), Points::Newest);
        assert_eq!((&shown["error"], &shown["limits"]), (&json!("no such domain"), &json!([])));
    }
}
