//! One key over time: its level as the store has it, and what it was admitted against what its limit allows, from when
//! somebody asks for it until nobody does.
//!
//! The level is read once a second, however many readers there are. At most [`MOST_WATCHED`] keys are watched at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use serde_json::{Value, json};

use super::{Live, course::LimitCourse};
use crate::logging::names::Names;
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

    /// The keys that readers of this process watch.
    pub(super) fn watched_keys(&self) -> Vec<BucketKey> {
        let watches: Vec<Arc<Watch>> = self.watches().iter().filter_map(Weak::upgrade).collect();
        let keys = |watch: &Arc<Watch>| -> Vec<BucketKey> {
            watch.course().limits.iter().map(|limit| limit.key).collect()
        };
        watches.iter().flat_map(keys).collect()
    }

    /// The runtimes count the hits of all watched keys from now on.
    fn count_watched(&self) {
        let others = self.state().wanted.keys.clone();
        self.count_watched_and(&others);
    }

    /// The same, and of those that readers of other replicas watch.
    pub(super) fn count_watched_and(&self, others: &[BucketKey]) {
        let mut keys = self.watched_keys();
        keys.extend(others);
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
            // Not while the course is locked: the collector locks both in the other order.
            let counted = live.state().counted.clone();
            let counted = |key: &BucketKey| counted.get(key).copied().unwrap_or_default();
            let is_new = watch.course().see(live.clock.now_us(), looked, counted);
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

#[cfg(test)]
mod tests;
