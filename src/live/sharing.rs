//! What the replicas that share a Redis tell each other: their seconds, what their readers want, and the secret behind the
//! names of keys.

use std::sync::{Arc, PoisonError, Weak, atomic::Ordering};

use super::{Live, State, replicas::Wanted};
use crate::{logging::names::Names, store::redis::board::Board};

impl Live {
    /// Shows the last second to the other replicas, if a reader of any replica wants it.
    pub(super) fn put_up(&self, board: &Board, state: &mut State) {
        if let Some(secret) = board.secret() {
            self.names.set(secret);
        }
        let texts = board.wanted();
        let wanted = Wanted::all(&texts);
        if wanted.keys != state.wanted.keys {
            self.count_watched_and(&wanted.keys);
        }
        state.wanted = wanted;
        let second = (!texts.is_empty()).then(|| self.shown_to_others(state, &state.wanted));
        let has_readers = self.readers.load(Ordering::Relaxed) > 0;
        board.put(second, has_readers.then(|| self.wants().text()));
    }

    /// What the readers of this process want of the others.
    fn wants(&self) -> Wanted {
        let mut tops = self.tops.lock().unwrap_or_else(PoisonError::into_inner);
        tops.retain(|top| top.strong_count() > 0);
        let rules = tops.iter().filter_map(Weak::upgrade).map(|rule| (*rule).clone()).collect();
        Wanted { rules, keys: self.watched_keys() }
    }

    /// Asks the other replicas for the top keys of a rule, for as long as this is held.
    pub fn want_top(&self, domain: &str, rule: &str) -> Arc<(String, String)> {
        let wanted = Arc::new((domain.to_owned(), rule.to_owned()));
        self.tops.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&wanted));
        wanted
    }

    /// What gives keys their names. The secret that the replicas share is asked for from here on, also without a reader.
    pub fn names(&self) -> Arc<Names> {
        if let Some(redis) = &self.sources.redis {
            redis.board.ask_for_secret();
        }
        Arc::clone(&self.names)
    }

    /// Waits a moment for the secret that gives keys the same names in all replicas.
    pub async fn share_names(&self) {
        let Some(redis) = &self.sources.redis else { return };
        if let Some(secret) = redis.board.shared_secret().await {
            self.names.set(secret);
        }
    }
}

impl State {
    /// Adds up what was counted under watched keys, here and by the other replicas.
    pub(super) fn count(&mut self) {
        self.own_counted.clear();
        for watched in self.notes.iter().flat_map(|notes| &notes.watched) {
            *self.own_counted.entry(watched.key).or_default() += watched.admitted;
        }
        self.counted.clone_from(&self.own_counted);
        for (key, hits) in self.others.by_name.values().flat_map(|other| &other.watched) {
            let sum = self.counted.entry(*key).or_default();
            *sum = sum.saturating_add(*hits);
        }
    }
}
