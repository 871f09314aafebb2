//! What happens to masters.

use rand::RngExt;

use super::{super::audit::Taken, World};
use tollgate_core::descriptor::BucketKey;

impl World<'_> {
    pub(super) fn move_slot(&mut self) {
        let slot = self.rng.random_range(0..self.owners.len());
        // One that came back within the time of a give-back would be as a clock that steps forward and back.
        if std::mem::replace(&mut self.has_moved[slot], true) {
            return;
        }
        let (from, to) = (self.owners[slot], self.rng.random_range(0..self.shards.len()));
        let (old_us, new_us) = (self.clock_us(from), self.clock_us(to));
        let keys: Vec<BucketKey> = self.shards[from].buckets.keys().copied().collect();
        for key in keys.into_iter().filter(|key| usize::from(self.plan.slot(key)) == slot) {
            let state = self.shards[from].buckets.remove(&key);
            self.shards[to].buckets.extend(state.map(|state| (key, state)));
        }
        self.elapsed[slot] = self.elapsed[slot].passes(old_us, new_us);
        self.owners[slot] = to;
        // A replica of either has received this.
        self.shards[from].changes.clear();
        self.shards[to].changes.clear();
    }

    /// A replica takes over, with a clock of its own, and without what it had not received.
    pub(super) fn fail_over(&mut self, behind_ns: u64) {
        let number = self.rng.random_range(0..self.shards.len());
        let old_us = self.clock_us(number);
        let since_ns = self.now_ns.saturating_sub(behind_ns);
        let shard = &mut self.shards[number];
        let mut lost_since_ns = self.now_ns;
        while let Some((at_ns, key, before)) = shard.changes.pop_if(|change| change.0 >= since_ns) {
            lost_since_ns = at_ns;
            match before {
                Some(state) => shard.buckets.insert(key, state),
                None => shard.buckets.remove(&key),
            };
        }
        shard.changes.clear();
        shard.connection += 1;
        shard.ahead_us += self.rng.random_range(0..100_000);
        let new_us = self.clock_us(number);
        for slot in (0..self.owners.len()).filter(|slot| self.owners[*slot] == number) {
            self.elapsed[slot] = self.elapsed[slot].passes(old_us, new_us);
        }
        let (plan, owners) = (self.plan, &self.owners);
        let is_lost = |taken: &Taken| {
            let slot = plan.slot(&plan.buckets[taken.bucket].key);
            owners[usize::from(slot)] == number && taken.at_ns >= lost_since_ns
        };
        self.taken.iter_mut().filter(|taken| is_lost(taken)).for_each(|taken| taken.is_lost = true);
        self.failovers += 1;
    }
}
