//! For random mixtures of everything, the limiter reports the same as the model.

mod traffic;

use std::{collections::VecDeque, ptr};

use proptest::{prelude::proptest, prop_assert_eq, test_runner::TestCaseError};

use super::{
    decided,
    model::{Figures, Model, Told},
};
use crate::{
    limiter::{Decision, Outcome},
    store::memory::MemoryStore,
};
use tollgate_core::{
    decision::Verdict,
    descriptor::{Hits, KeyForm, Request},
    matcher::Matcher,
};
use traffic::{Asked, KEYS, Rules, Step, VALUES};

const START_US: u64 = 1_800_000_000_000_000;
const DOMAIN: &[u8] = b"edge";

proptest! {
    #[test]
    fn what_is_told_and_what_is_charged_is_what_the_model_says(
        rules in traffic::rules_twice(),
        requests in traffic::requests(),
    ) {
        let matchers = rules.each_ref().map(Rules::matcher);
        let mut sides = Sides::new(&rules, &matchers);
        for (step, replica, request) in requests {
            sides.pass(step);
            sides.ask(replica, &request)?;
            // Nothing else has changed.
            sides.look(replica, &everything())?;
            sides.look(1 - replica, &everything())?;
        }
    }
}

/// A peek at every bucket that the rules make.
fn everything() -> Vec<Asked> {
    let values = |key| (0..VALUES).map(move |value| Asked { key, value, hits: Hits::Peek, limit: None });
    (0..KEYS).flat_map(values).collect()
}

/// The limiter and the model, side by side.
struct Sides<'r> {
    /// One for each replica.
    rules: &'r [Rules; 2],
    matchers: &'r [Matcher; 2],
    store: MemoryStore,
    model: Model,
    now_us: u64,
    /// The waits that the last request was told.
    told_us: Vec<u64>,
    /// For each replica and key, whether each of its last demands that show it was a peek.
    peeks: [[VecDeque<bool>; KEYS]; 2],
}

impl<'r> Sides<'r> {
    fn new(rules: &'r [Rules; 2], matchers: &'r [Matcher; 2]) -> Sides<'r> {
        let (store, model) = (MemoryStore::new(), Model::default());
        Sides {
            rules,
            matchers,
            store,
            model,
            now_us: START_US,
            told_us: Vec::new(),
            peeks: Default::default(),
        }
    }

    fn pass(&mut self, step: Step) {
        self.now_us = step.after(self.now_us, &self.told_us);
    }

    fn ask(&mut self, replica: usize, request: &[Asked]) -> Result<(), TestCaseError> {
        self.look(replica, request)?;
        let quota_mode = self.rules[replica].quota_mode;
        let rules = self.matchers[replica].domain(DOMAIN).unwrap();
        rules.apply(&message(request), quota_mode, KeyForm::Whole).unwrap().note_billing(quota_mode);
        for asked in request {
            let Some(is_peek) = self.rules[replica].shows(asked) else { continue };
            let last = &mut self.peeks[replica][asked.key];
            last.push_front(is_peek);
            last.truncate(64);
        }
        Ok(())
    }

    /// Asks, and leaves no trace of how.
    fn look(&mut self, replica: usize, request: &[Asked]) -> Result<(), TestCaseError> {
        let post_paid = self.peeks[replica].each_ref().map(|last| {
            let peeks = last.iter().filter(|is_peek| **is_peek).count();
            peeks > 0 && 2 * peeks >= last.len() - peeks
        });
        let members = self.rules[replica].members(request, post_paid);
        let outcome = self.outcome(replica, request);
        let told = told(&outcome);
        let expected = self.model.ask(&members, self.now_us, self.rules[replica].a_stranger_fits(request));
        prop_assert_eq!(&told, &expected, "{:#?} at {}", members, self.now_us);
        self.told_us.extend(outcome.decisions.iter().map(|decision| decision.reset_us));
        Ok(())
    }

    fn outcome(&self, replica: usize, request: &[Asked]) -> Outcome<'r> {
        let (matcher, quota_mode) = (&self.matchers[replica], self.rules[replica].quota_mode);
        decided(matcher, &self.store, &message(request), quota_mode, self.now_us)
    }
}

fn message(request: &[Asked]) -> Request<'static> {
    Request { domain: DOMAIN, descriptors: request.iter().map(Asked::descriptor).collect() }
}

fn told(outcome: &Outcome<'_>) -> Told {
    let figures = outcome.decisions.iter().map(|decision| Figures {
        descriptor: decision.descriptor,
        fits: decision.verdict == Verdict::Allow,
        over: decision.is_over(),
        remaining: i128::from(decision.remaining),
        reset_us: i128::from(decision.reset_us),
        never_fits: decision.never_fits,
    });
    let index = |sought: &Decision<'_>| {
        outcome.decisions.iter().position(|decision| ptr::eq(decision, sought)).unwrap()
    };
    Told {
        verdict: outcome.verdict.unwrap(),
        figures: figures.collect(),
        speaker: outcome.speaker().map(index),
        per_descriptor: outcome.speakers_of_descriptors().map(index).collect(),
    }
}
