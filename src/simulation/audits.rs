//! What clients saw, audited as `tollgate prove` does: over every interval, for too much and for too little.

use super::{
    Broken,
    upheaval::Toll,
    world::{Request, World},
};
use crate::{
    decision::{Source, Verdict},
    descriptor::Hits,
    limit::Limit,
    prove::audit::{Allowance, Remoteness, Span, WorstInterval, too_little, too_much},
};

/// One entry for each hit.
#[derive(Debug, Default)]
struct Spans {
    /// By whoever it was.
    admitted: Vec<Span>,
    /// By the store, and heard of.
    store_admitted: Vec<Span>,
    /// And those that were charged though their clients never heard of it.
    charged: Vec<Span>,
    /// Requests for one hit of this bucket alone, denied by the store or on its behalf.
    denied: Vec<Span>,
}

impl World<'_> {
    /// The hot buckets, but for those that were given something back.
    pub(super) fn audit(&self) -> Result<(), Broken> {
        let toll = Toll::of(&self.plan.upheavals);
        for bucket in (0..self.plan.hot).filter(|bucket| !self.plan.buckets[*bucket].refunds) {
            let of = &self.plan.buckets[bucket];
            let [small, of_store, of_shares] = self.bounds(bucket, &toll);
            let spans = self.spans(bucket);
            let found = |promise, detail| Err(Broken::new(promise, bucket, detail));
            if let Some(worst) = too_much(&spans.store_admitted, &of_store).filter(WorstInterval::is_too_much)
            {
                return found("clients never see too much", format!("{worst:?}"));
            }
            let with_guesses = of_store.and(of_shares);
            if let Some(worst) = too_much(&spans.admitted, &with_guesses).filter(WorstInterval::is_too_much) {
                return found("with guesses never more than twice", format!("{worst:?}"));
            }
            // What befell the store makes denials that are right, and that only the store's own account can judge.
            let may_be_missing = of.is_guarded() && (toll.losses > 0 || self.plan.epoch_us.is_none());
            let is_judged = !toll.is_set_back && !may_be_missing;
            let denials = too_little(&spans.charged, &spans.denied, &small);
            if let Some(worst) = denials.worst.filter(|_| is_judged) {
                return found("clients never see too little", format!("{worst:?}"));
            }
        }
        Ok(())
    }

    /// What the limit allows at least; what it allows the store at most, given what befell that; and what it allows
    /// all local buckets together.
    fn bounds(&self, bucket: usize, toll: &Toll) -> [Allowance; 3] {
        let of = &self.plan.buckets[bucket];
        let allowance = |limit: &Limit| Allowance::of(limit, Remoteness::OtherClock);
        let is_reloaded = self.replicas.iter().any(|replica| replica.is_reloaded);
        let (first, second) = (&of.limits[0], &of.limits[usize::from(is_reloaded)]);
        let (small, large) = if first.burst() < second.burst() { (first, second) } else { (second, first) };
        // One that is lost counts as full, or as used up by the smaller burst when the larger one is asked for.
        let raised = if of.is_guarded() && is_reloaded { of.raised() } else { 0 };
        let each_loss = if of.is_guarded() { raised } else { large.burst() };
        let lost = toll.losses * i128::from(each_loss);
        let of_store = allowance(large).and_hits(lost).and_refill_of_us(toll.forward_us);
        // A replica that begins anew has a share of the burst again.
        let restarts: i128 = self.replicas.iter().map(|replica| replica.restarts).sum();
        let share = i128::from(large.burst()) / i128::try_from(self.replicas.len()).expect("a few");
        let of_shares = allowance(large).and_hits(restarts * share);
        [allowance(small), of_store, of_shares]
    }

    fn spans(&self, bucket: usize) -> Spans {
        let mut spans = Spans::default();
        for request in &self.requests {
            let of_bucket = request.wishes.iter().filter(|wish| wish.bucket == bucket);
            let hits: u64 =
                of_bucket.map(|wish| if let Hits::Take(hits) = wish.hits { hits } else { 0 }).sum();
            let told = request.answered.map(|(_, told)| told);
            let is_told = |verdict| told.is_some_and(|(told, _)| told == verdict);
            let is_guess = told.is_some_and(|(_, source)| source.is_guess());
            let allowed = is_told(Verdict::Allow);
            let (heard, done) = (span_until_answer(request), span_until_all_is_done(request));
            let is_charged = request.executed.is_some_and(|(_, verdict)| verdict == Verdict::Allow);
            for _ in 0..hits {
                let lists = [
                    (allowed, &mut spans.admitted, heard),
                    (allowed && !is_guess, &mut spans.store_admitted, heard),
                    (is_charged, &mut spans.charged, done),
                ];
                lists.into_iter().filter(|(is_in, ..)| *is_in).for_each(|(_, list, span)| list.push(span));
            }
            let is_alone = hits == 1 && request.wishes.len() == 1;
            if is_alone && !is_charged && !is_guess && is_told(Verdict::Deny) {
                spans.denied.push(heard);
            }
        }
        spans
    }

    /// Which requests were allowed, in the order in which they were asked.
    pub(super) fn allowed(&self) -> Vec<bool> {
        let told = self.requests.iter().map(|request| request.answered);
        told.map(|told| told.is_some_and(|(_, (verdict, _))| verdict == Verdict::Allow)).collect()
    }

    /// How often a breaker tripped, and how many flights probed; of processes that lived to the end.
    pub(super) fn watched(&self) -> (usize, usize) {
        let watches = self.runtimes.iter().map(|runtime| &runtime.watch);
        watches.fold((0, 0), |(trips, probes), watch| (trips + watch.trips, probes + watch.probes))
    }

    /// Who gave the answers.
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> {
        self.requests.iter().filter_map(|request| request.answered).map(|(_, (_, source))| source)
    }
}

fn span_until_answer(request: &Request) -> Span {
    let answered_ns = request.answered.map_or(request.asked_ns, |(at_ns, _)| at_ns);
    Span { start_us: request.asked_ns / 1_000, end_us: answered_ns.div_ceil(1_000) }
}

/// The store may execute it later than it is answered, and also if it never is.
fn span_until_all_is_done(request: &Request) -> Span {
    let executed_us = request.executed.map_or(0, |(at_ns, _)| at_ns.div_ceil(1_000));
    let until_answer = span_until_answer(request);
    Span { end_us: until_answer.end_us.max(executed_us), ..until_answer }
}
