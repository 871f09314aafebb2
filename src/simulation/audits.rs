//! What clients saw, audited as `tollgate prove` does: over every interval, for too much and for too little.

use super::{
    Broken,
    world::{Request, World},
};
use crate::{
    decision::{Source, Verdict},
    descriptor::Hits,
    prove::audit::{Allowance, Remoteness, Span, too_little, too_much},
};

/// One entry for each hit.
#[derive(Debug, Default)]
struct Spans {
    admitted: Vec<Span>,
    /// And those that were charged though their clients never heard of it.
    charged: Vec<Span>,
    /// Requests for one hit of this bucket alone.
    denied: Vec<Span>,
}

impl World<'_> {
    /// The hot buckets, but for those that were given something back.
    pub(super) fn audit(&self) -> Result<(), Broken> {
        for bucket in (0..self.plan.hot).filter(|bucket| !self.plan.buckets[*bucket].refunds) {
            let spans = self.spans(bucket);
            let allowance = Allowance::of(&self.plan.buckets[bucket].limit, Remoteness::OtherClock);
            if let Some(worst) = too_much(&spans.admitted, &allowance).filter(|worst| worst.is_too_much()) {
                return Err(Broken::new("clients never see too much", bucket, format!("{worst:?}")));
            }
            if let Some(worst) = too_little(&spans.charged, &spans.denied, &allowance).worst {
                return Err(Broken::new("clients never see too little", bucket, format!("{worst:?}")));
            }
        }
        Ok(())
    }

    fn spans(&self, bucket: usize) -> Spans {
        let mut spans = Spans::default();
        for request in &self.requests {
            let of_bucket = request.wishes.iter().filter(|wish| wish.bucket == bucket);
            let hits: u64 =
                of_bucket.map(|wish| if let Hits::Take(hits) = wish.hits { hits } else { 0 }).sum();
            let verdict = request.answered.and_then(|(_, answer)| answer).map(|(verdict, _)| verdict);
            let (allowed, span) = (Some(Verdict::Allow), span(request));
            if request.executed.is_some_and(|(_, verdict)| verdict == Verdict::Allow) {
                for _ in 0..hits {
                    spans.charged.push(span);
                    if verdict == allowed {
                        spans.admitted.push(span);
                    }
                }
            } else if hits == 1 && request.wishes.len() == 1 && verdict == Some(Verdict::Deny) {
                spans.denied.push(span);
            }
        }
        spans
    }

    /// Which requests were allowed, in the order in which they were asked.
    pub(super) fn allowed(&self) -> Vec<bool> {
        let verdicts = self.requests.iter().map(|request| request.answered.and_then(|(_, answer)| answer));
        verdicts.map(|answer| answer.is_some_and(|(verdict, _)| verdict == Verdict::Allow)).collect()
    }

    /// Answers, and how many of them memory gave.
    pub(super) fn decisions(&self) -> (usize, usize) {
        let answers = self.requests.iter().filter_map(|request| request.answered);
        let sources = answers.filter_map(|(_, answer)| answer).map(|(_, source)| source);
        sources.fold((0, 0), |(all, memo), source| (all + 1, memo + usize::from(source == Source::Memo)))
    }
}

/// From asking to the answer, or to the execution where that came later than the answer, or there was none.
fn span(request: &Request) -> Span {
    let answered_ns = request.answered.map_or(request.asked_ns, |(at_ns, _)| at_ns);
    let executed_ns = request.executed.map_or(request.asked_ns, |(at_ns, _)| at_ns);
    Span { start_us: request.asked_ns / 1_000, end_us: answered_ns.max(executed_ns).div_ceil(1_000) }
}
