//! The rules in force: compiled once, shared by all runtimes and all protocols, replaced while requests are served.
//!
//! A [`Publisher`] compiles rules and hands each runtime a [`CurrentRules`] of its own, from which a request takes the
//! [`CompiledRules`] by which it is decided to its end. Whatever reads a configuration ends in [`Publisher::publish`];
//! how descriptors are matched is left to the [`Matcher`].

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    clock,
    logging::subjects::Warnings,
    metrics::{LimitCounters, Metrics, Reload},
    response::Contract,
};
use tollgate_core::matcher::Matcher;

/// Rules, with everything that is prepared for them in advance. A clone shares all of it.
#[derive(Debug, Clone)]
pub struct CompiledRules {
    matcher: Arc<Matcher>,
    contract: Arc<Contract>,
    counters: Arc<LimitCounters>,
    warnings: Arc<Warnings>,
}

/// The rules of one runtime. A reload replaces them.
#[derive(Debug)]
pub struct CurrentRules(Mutex<Arc<CompiledRules>>);

/// Puts rules in force in all runtimes.
#[derive(Debug)]
pub struct Publisher {
    contract: Contract,
    metrics: Arc<Metrics>,
    published: Mutex<Published>,
}

#[derive(Debug)]
struct Published {
    rules: CompiledRules,
    /// The rules before. While they are kept here no request is the last to let go of them, which takes milliseconds
    /// for thousands of limits.
    before: Option<CompiledRules>,
    subscribers: Vec<Arc<CurrentRules>>,
    /// When these rules came into force, in microseconds since the Unix epoch.
    since_us: u64,
    refused: Option<RefusedRules>,
}

/// What is in force, for operators.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The rules.
    pub matcher: Arc<Matcher>,
    /// When they came into force, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// The last change, if it was refused.
    pub refused: Option<RefusedRules>,
}

/// A changed configuration that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRules {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// What is wrong with it: at most [`MOST_ERRORS`].
    pub errors: Arc<[String]>,
}

/// The most errors of a refused configuration that are kept to be shown. The log has all.
pub const MOST_ERRORS: usize = 20;

// === impl CompiledRules ===

impl CompiledRules {
    /// From here on `metrics` shows what is counted for these rules, and no longer what was counted for those before.
    pub fn new(matcher: Matcher, contract: &Contract, metrics: &Metrics) -> CompiledRules {
        let counters = metrics.counters_for_rules(&matcher);
        let contract = Arc::new(contract.clone().for_limits(matcher.limits()));
        CompiledRules { matcher: Arc::new(matcher), contract, counters, warnings: Arc::default() }
    }

    /// Finds the limits of a descriptor.
    pub fn matcher(&self) -> &Arc<Matcher> {
        &self.matcher
    }

    /// Writes the answers.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Counts the decisions.
    pub fn counters(&self) -> &LimitCounters {
        &self.counters
    }

    /// The warnings about requests that no rule is for. They outlive a reload, which would repeat them otherwise.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// The same rules, with the warnings that were given under `earlier` ones, which are not repeated.
    #[must_use]
    pub fn with_warnings_of(self, earlier: &CompiledRules) -> CompiledRules {
        CompiledRules { warnings: Arc::clone(&earlier.warnings), ..self }
    }
}

// === impl CurrentRules ===

impl CurrentRules {
    /// Allocates an `Arc` for this runtime alone: if all runtimes counted their requests' references in one `Arc`,
    /// every core would write the same cache line.
    pub fn new(rules: CompiledRules) -> CurrentRules {
        CurrentRules(Mutex::new(Arc::new(rules)))
    }

    /// The rules for a request that begins now.
    pub fn get(&self) -> Arc<CompiledRules> {
        Arc::clone(&self.lock())
    }

    /// Requests that have begun keep the rules that they began with.
    pub fn replace(&self, rules: CompiledRules) {
        *self.lock() = Arc::new(rules);
    }

    /// Only a replacement ever makes a request wait for it.
    fn lock(&self) -> MutexGuard<'_, Arc<CompiledRules>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Publisher ===

impl Publisher {
    /// Starts with the rules of `matcher`, which may be none yet. `contract` applies to all rules that are published later, too.
    pub fn new(matcher: Matcher, contract: Contract, metrics: Arc<Metrics>) -> Publisher {
        if matcher.domains().next().is_some() {
            metrics.count_first_load();
        }
        let rules = CompiledRules::new(matcher, &contract, &metrics);
        let published = Mutex::new(Published {
            rules,
            before: None,
            subscribers: Vec::new(),
            since_us: clock::unix_us(),
            refused: None,
        });
        Publisher { contract, metrics, published }
    }

    /// The rules for one more runtime. They follow everything that is published.
    pub fn subscribe(&self) -> Arc<CurrentRules> {
        let mut published = self.lock();
        let rules = Arc::new(CurrentRules::new(published.rules.clone()));
        published.subscribers.push(Arc::clone(&rules));
        rules
    }

    /// Decides every request that begins from here on by these rules. Buckets keep what was taken from them.
    pub fn publish(&self, matcher: Matcher) {
        let mut published = self.lock();
        matcher.keep_billing_of(published.rules.matcher());
        let rules =
            CompiledRules::new(matcher, &self.contract, &self.metrics).with_warnings_of(&published.rules);
        let before = mem::replace(&mut published.rules, rules);
        for subscriber in &published.subscribers {
            subscriber.replace(published.rules.clone());
        }
        published.before = Some(before);
        published.since_us = clock::unix_us();
    }

    /// Counts a changed configuration that is in force now.
    pub(crate) fn count_taken(&self) {
        self.metrics.count_reload(Reload::Taken);
        self.lock().refused = None;
    }

    /// Counts a changed configuration that was refused, and keeps its first errors to be shown.
    pub(crate) fn count_refused(&self, errors: impl IntoIterator<Item = String>) {
        self.metrics.count_reload(Reload::Refused);
        let errors: Arc<[String]> = errors.into_iter().take(MOST_ERRORS).collect();
        let mut published = self.lock();
        // An xDS server may send the same again after each refusal.
        if published.refused.as_ref().is_none_or(|refused| refused.errors != errors) {
            published.refused = Some(RefusedRules { at_us: clock::unix_us(), errors });
        }
    }

    /// What is in force now.
    pub fn standing(&self) -> Standing {
        let published = self.lock();
        let (matcher, refused) = (Arc::clone(published.rules.matcher()), published.refused.clone());
        Standing { matcher, since_us: published.since_us, refused }
    }

    /// The rules that were published last.
    pub(crate) fn matcher(&self) -> Arc<Matcher> {
        Arc::clone(self.lock().rules.matcher())
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
