//! The decisions on a request that the store did not answer.

use super::{Decision, Few, Member, figures};
use crate::{
    fallback::{Asking, FALLBACK_WAIT_US, Fallback, FallbackAnswer, LimitGuess},
    store::Store,
};
use tollgate_core::{
    decision::{Source, Take, Verdict},
    descriptor::Hits,
    limit::Limit,
};

/// A take from a local bucket, which holds a share of the limit.
struct LocalMember<'a> {
    share: &'a Limit,
    whole: &'a Limit,
    take: Take,
    hits: Hits,
}

impl figures::Asked for LocalMember<'_> {
    fn limit(&self) -> &Limit {
        self.share
    }

    fn whole(&self) -> &Limit {
        self.whole
    }

    fn take(&self) -> &Take {
        &self.take
    }

    fn hits(&self) -> Hits {
        self.hits
    }
}

pub(super) fn guess(fallback: &Fallback, store: &Store, members: &[Member<'_>]) -> FallbackAnswer {
    let asking: Vec<Asking<'_>> = members
        .iter()
        .map(|member| Asking {
            limit: &member.limit.limit,
            mode: member.limit.on_store_failure,
            take: &member.take,
            hits: member.hits,
            is_known_empty: store.is_known_empty(&member.take.key),
        })
        .collect();
    fallback.guess(&asking)
}

pub(super) fn decisions<'m>(members: &[Member<'m>], guess: &FallbackAnswer) -> Few<Decision<'m>> {
    let local: Vec<LocalMember<'_>> = members.iter().zip(&guess.limits).filter_map(local_member).collect();
    let mut next_local = 0;
    let mut decision = |(member, of_limit): (&Member<'m>, &LimitGuess)| {
        let fixed = |source, verdict, reset_us| member.decision(source, verdict, 0, reset_us);
        match of_limit {
            LimitGuess::Fits(source) => fixed(*source, Verdict::Allow, FALLBACK_WAIT_US),
            LimitGuess::Unfit(source) if figures::never_fits(members, member) => {
                let wait_us = figures::never_us(&member.limit.limit);
                Decision { never_fits: true, ..fixed(*source, Verdict::Deny, wait_us) }
            }
            LimitGuess::Unfit(source) => fixed(*source, Verdict::Deny, FALLBACK_WAIT_US),
            LimitGuess::Unknown => fixed(Source::Error, Verdict::Deny, FALLBACK_WAIT_US),
            // Nobody decided, and no local bucket was asked.
            LimitGuess::Asks(_) if guess.verdict.is_none() => {
                fixed(Source::Error, Verdict::Deny, FALLBACK_WAIT_US)
            }
            LimitGuess::Asks(_) => {
                let index = next_local;
                next_local += 1;
                // Where another limit settled the verdict, the local buckets were not asked.
                let Some(answer) = &guess.answer else { return fixed(Source::Local, Verdict::Allow, 0) };
                let figures::Figures { verdict, remaining, reset_us, never_fits } =
                    figures::of(&local, answer, index);
                Decision { never_fits, ..member.decision(Source::Local, verdict, remaining, reset_us) }
            }
        }
    };
    members.iter().zip(&guess.limits).map(&mut decision).collect()
}

fn local_member<'a>((member, guess): (&'a Member<'_>, &'a LimitGuess)) -> Option<LocalMember<'a>> {
    let LimitGuess::Asks(share) = guess else { return None };
    let demand =
        tollgate_core::decision::Demand::new(member.hits, share).enforcement(member.take.demand.enforcement);
    let whole = &member.limit.limit;
    Some(LocalMember { share, whole, take: Take { key: member.take.key, demand }, hits: member.hits })
}
