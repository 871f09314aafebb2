//! Audits what clients saw as `tollgate prove` does: over every interval, for too much and for too little.

use super::{
    Broken,
    disturbance::Effects,
    world::{Request, World},
};
use tollgate::fallback::Source;
use tollgate_core::{
    audit::{Allowance, Remoteness, Span, WorstInterval, too_little, too_much},
    decision::Verdict,
    descriptor::Hits,
    limit::Limit,
};

/// One entry for each hit of one bucket.
#[derive(Debug, Default)]
struct Spans {
    /// Admitted by the store or by a fallback answer.
    admitted: Vec<Span>,
    /// Admitted by the store, with an answer that the client received.
    store_admitted: Vec<Span>,
    /// Charged by the store, even if the client received no answer.
    charged: Vec<Span>,
    /// Requests for one hit of this bucket alone, denied by the store or from memory.
    denied: Vec<Span>,
}

impl World<'_> {
    /// Audits the hot buckets, except those with refunds.
    pub(super) fn audit(&self) -> Result<(), Broken> {
        let effects = Effects::new(&self.plan.disturbances);
        for bucket in (0..self.plan.hot).filter(|bucket| !self.plan.buckets[*bucket].refunds) {
            let bucket_plan = &self.plan.buckets[bucket];
            let (small, [of_store, of_shares]) = self.bounds(bucket, &effects);
            let spans = self.spans(bucket);
            let found = |promise, detail| Err(Broken::new(promise, bucket, detail));
            if let Some(worst) = too_much(&spans.store_admitted, &of_store).filter(WorstInterval::is_too_much)
            {
                return found("clients never see too much", format!("{worst:?}"));
            }
            let with_fallback_answers = of_store.and(of_shares);
            if let Some(worst) =
                too_much(&spans.admitted, &with_fallback_answers).filter(WorstInterval::is_too_much)
            {
                return found("with fallback answers never more than twice", format!("{worst:?}"));
            }
            // A disturbed store makes denials that are right, and that only the store's own account can judge.
            let may_be_missing =
                bucket_plan.is_guarded() && (effects.losses > 0 || self.plan.epoch_us.is_none());
            let is_judged = !effects.is_set_back && !may_be_missing;
            let denials = small.map(|small| too_little(&spans.charged, &spans.denied, &small));
            if let Some(worst) = denials.and_then(|denials| denials.worst).filter(|_| is_judged) {
                return found("clients never see too little", format!("{worst:?}"));
            }
        }
        Ok(())
    }

    /// The least that the limits in force allow, if they allow anything; the most that they allow the store, given its
    /// disturbances; and the most that they allow all local buckets together.
    fn bounds(&self, bucket: usize, effects: &Effects) -> (Option<Allowance>, [Allowance; 2]) {
        let bucket_plan = &self.plan.buckets[bucket];
        let limits = Extremes::new(self.plan.limits_in_force(bucket_plan));
        let allowance = |(requests, burst)| {
            let limit = Limit::new(requests, bucket_plan.limits[0].period(), Some(burst)).ok()?;
            Some(Allowance::for_limit(&limit, Remoteness::OtherClock))
        };
        let Some(large) = allowance((limits.quickest, limits.largest)) else {
            let none = Limit::new(0, bucket_plan.limits[0].period(), None).expect("sound");
            return (None, [Allowance::for_limit(&none, Remoteness::OtherClock); 2]);
        };
        // A lost bucket counts as full, or as used up under the smaller burst when the larger one is asked for.
        let each_loss = if bucket_plan.is_guarded() { limits.raised } else { limits.largest };
        let lost = effects.losses * i128::from(each_loss);
        let of_store = large.and_hits(lost).and_refill_of_us(effects.forward_us);
        // A restarted replica has a share of the burst again.
        let restarts: i128 = self.replicas.iter().map(|replica| replica.restarts).sum();
        let replicas = u32::try_from(self.replicas.len()).expect("a few");
        let of_shares = large.and_hits(restarts * i128::from(limits.largest.div_ceil(replicas)));
        (limits.least.and_then(allowance), [of_store, of_shares])
    }

    fn spans(&self, bucket: usize) -> Spans {
        let mut spans = Spans::default();
        for request in &self.requests {
            let of_bucket = request.wishes.iter().filter(|wish| wish.bucket == bucket);
            let hits: u64 =
                of_bucket.map(|wish| if let Hits::Take(hits) = wish.hits { hits } else { 0 }).sum();
            let told = request.answered.map(|(_, told)| told);
            let is_told = |verdict| told.is_some_and(|(told, _)| told == verdict);
            let is_fallback_answer = told.is_some_and(|(_, source)| source.is_fallback_answer());
            let allowed = is_told(Verdict::Allow);
            let (heard, done) = (span_until_answer(request), span_until_all_is_done(request));
            let is_charged = request.executed.is_some_and(|(_, verdict)| verdict == Verdict::Allow);
            for _ in 0..hits {
                let lists = [
                    (allowed, &mut spans.admitted, heard),
                    (allowed && !is_fallback_answer, &mut spans.store_admitted, heard),
                    (is_charged, &mut spans.charged, done),
                ];
                lists.into_iter().filter(|(is_in, ..)| *is_in).for_each(|(_, list, span)| list.push(span));
            }
            let is_alone = hits == 1 && request.wishes.len() == 1;
            if is_alone && !is_charged && !is_fallback_answer && is_told(Verdict::Deny) {
                spans.denied.push(heard);
            }
        }
        spans
    }

    /// Whether each request was allowed, in the order of the requests.
    pub(super) fn allowed(&self) -> Vec<bool> {
        let told = self.requests.iter().map(|request| request.answered);
        told.map(|told| told.is_some_and(|(_, (verdict, _))| verdict == Verdict::Allow)).collect()
    }

    /// How often a breaker tripped, and how many batches probed, in processes that lived to the end.
    pub(super) fn watched(&self) -> (usize, usize) {
        let watches = self.runtimes.iter().map(|runtime| &runtime.watch);
        watches.fold((0, 0), |(trips, probes), watch| (trips + watch.trips, probes + watch.probes))
    }

    /// The source of each answer.
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> {
        self.requests.iter().filter_map(|request| request.answered).map(|(_, (_, source))| source)
    }
}

/// Bounds of limits of one period, in hits of the quickest and of the slowest of them.
#[derive(Debug)]
struct Extremes {
    quickest: u32,
    /// The largest burst, and its difference to the smallest, as the number of hits that the quickest admits in that
    /// time.
    largest: u32,
    raised: u32,
    /// The slowest, and the number of its hits that the smallest burst holds; none if a limit denies everything.
    least: Option<(u32, u32)>,
}

impl Extremes {
    fn new<'l>(limits: impl Iterator<Item = &'l Limit> + Clone) -> Extremes {
        let numbers: Vec<(u64, u64)> =
            limits.map(|limit| (limit.requests_per_unit().into(), limit.burst().into())).collect();
        let admitting = || numbers.iter().copied().filter(|(requests, _)| *requests > 0);
        let quickest = admitting().map(|(requests, _)| requests).max().unwrap_or(0);
        let slowest = numbers.iter().map(|(requests, _)| *requests).min().unwrap_or(0);
        let largest = admitting().map(|(requests, burst)| (burst * quickest).div_ceil(requests)).max();
        let smallest = numbers.iter().map(|(requests, burst)| burst * quickest / requests.max(&1)).min();
        let least = admitting().map(|(requests, burst)| burst * slowest / requests).min();
        // Fractions of a microsecond that round up at each change add up to less than a hit.
        let rounded = u64::from(quickest != slowest);
        let least = least.and_then(|least| Some((slowest, least.checked_sub(rounded)?)));
        let hits = |hits: u64| u32::try_from(hits).expect("few");
        Extremes {
            quickest: hits(quickest),
            largest: hits(largest.unwrap_or(0)),
            raised: hits(largest.unwrap_or(0) - smallest.unwrap_or(0)),
            least: least
                .filter(|(slowest, _)| *slowest > 0)
                .map(|(slowest, least)| (hits(slowest), hits(least))),
        }
    }
}

fn span_until_answer(request: &Request) -> Span {
    let answered_ns = request.answered.map_or(request.asked_ns, |(at_ns, _)| at_ns);
    Span { start_us: request.asked_ns / 1_000, end_us: answered_ns.div_ceil(1_000) }
}

/// The store may execute a request after it was answered, and even if it never was.
fn span_until_all_is_done(request: &Request) -> Span {
    let executed_us = request.executed.map_or(0, |(at_ns, _)| at_ns.div_ceil(1_000));
    let until_answer = span_until_answer(request);
    Span { end_us: until_answer.end_us.max(executed_us), ..until_answer }
}
