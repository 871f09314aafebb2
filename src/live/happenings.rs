//! Finds out what happened since the last look, and tells it as events.

use std::sync::Arc;

use super::{
    events::{Events, Key, What},
    keys::Turn,
    limiter::Sources,
    rows::Rows,
};
use crate::{
    metrics::RowId,
    rules::{RefusedRules, Standing},
    store::health::Contact,
};

/// The most keys whose denials are told one by one in a second. A flood of keys would push out everything else.
const MOST_TURNS: usize = 50;

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    rules: Option<(u64, Option<RefusedRules>)>,
    /// Since when the store has been away.
    lost_us: Option<u64>,
    has_met_store: bool,
    replicas: Option<u32>,
}

impl Happenings {
    pub(super) fn tick(&mut self, sources: &Sources, now_us: u64, events: &mut Events) {
        self.look_at_rules(sources.publisher.standing(), events);
        self.look_at_store(&sources.health.contact(), now_us, events);
        let replicas = sources.redis.as_ref().and_then(|redis| (redis.replicas)());
        if let Some(replicas) = replicas {
            self.look_at_replicas(replicas.get(), now_us, events);
        }
    }

    fn look_at_rules(&mut self, standing: Standing, events: &mut Events) {
        let Standing { matcher, since_us, refused } = standing;
        let before = self.rules.replace((since_us, refused.clone()));
        let Some((since_before, refused_before)) = before else { return };
        if since_us != since_before {
            let (limits, domains) = (matcher.limits().len(), matcher.domains().count());
            events
                .add(since_us, What::ConfigTaken { version: matcher.version().to_owned(), limits, domains });
        }
        if let Some(refused) = refused.filter(|refused| Some(refused) != refused_before.as_ref()) {
            events.add(refused.at_us, What::ConfigRefused(refused.errors));
        }
    }

    fn look_at_store(&mut self, contact: &Contact, now_us: u64, events: &mut Events) {
        let was_met = self.has_met_store;
        self.has_met_store |= contact.is_made();
        let is_well = *contact == Contact::All;
        match self.lost_us {
            None if was_met && !is_well => {
                self.lost_us = Some(now_us);
                events.add(now_us, What::StoreLost(contact.to_string()));
            }
            Some(lost_us) if is_well => {
                self.lost_us = None;
                events.add(now_us, What::StoreBack { seconds: (now_us - lost_us) / 1_000_000 });
            }
            _ => {}
        }
    }

    fn look_at_replicas(&mut self, replicas: u32, now_us: u64, events: &mut Events) {
        match self.replicas.replace(replicas) {
            Some(before) if before < replicas => events.add(now_us, What::ReplicaJoined(replicas)),
            Some(before) if before > replicas => events.add(now_us, What::ReplicaLeft(replicas)),
            _ => {}
        }
    }
}

/// Tells whose denials began or ended.
pub(super) fn tell_denials(turns: Vec<Turn>, rows: &Rows, now_us: u64, events: &mut Events) {
    let (mut began, mut ended) = (0, 0);
    for (at, turn) in turns.into_iter().enumerate() {
        match turn {
            Turn::Began { .. } if at >= MOST_TURNS => began += 1,
            Turn::Ended { .. } if at >= MOST_TURNS => ended += 1,
            Turn::Began { row, key, text } => {
                if let Some(key) = named(rows, row, key, text) {
                    events.add(now_us, What::DenialsBegan(key));
                }
            }
            Turn::Ended { row, key, text, denied, seconds } => {
                if let Some(key) = named(rows, row, key, text) {
                    events.add(now_us, What::DenialsEnded { key, denied, seconds });
                }
            }
        }
    }
    if began + ended > 0 {
        events.add(now_us, What::DenialsMore { began, ended });
    }
}

/// None if the rule is gone.
fn named(rows: &Rows, row: RowId, key: u128, text: Option<Arc<str>>) -> Option<Key> {
    let (domain, rule) = rows.get(row)?.names();
    Some(Key { domain, rule, key, text })
}
