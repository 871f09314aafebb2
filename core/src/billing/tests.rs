use std::{collections::VecDeque, thread};

use proptest::{prelude::prop, prop_assert_eq, proptest, sample::select};

use super::{Billing, Sign};

fn after(signs: &[Sign]) -> bool {
    let billing = Billing::default();
    signs.iter().for_each(|sign| billing.note(*sign));
    billing.is_post_paid()
}

proptest! {
    #[test]
    fn it_is_post_paid_by_the_last_64_demands_alone(
        // Runs, since by chance alone few histories come near the edge.
        runs in prop::collection::vec((select(vec![Sign::Peek, Sign::Charge]), 1..60_usize), 0..12),
    ) {
        let (billing, mut last) = (Billing::default(), VecDeque::new());
        for (sign, times) in runs {
            for _ in 0..times {
                billing.note(sign);
                last.push_back(sign);
                if last.len() > 64 {
                    last.pop_front();
                }
                let peeks = last.iter().filter(|sign| **sign == Sign::Peek).count();
                prop_assert_eq!(billing.is_post_paid(), peeks > 0 && 2 * peeks >= last.len() - peeks);
            }
        }
    }
}

#[test]
fn what_was_never_looked_at_first_is_pre_paid() {
    assert!(!after(&[]));
    assert!(!after(&[Sign::Charge; 100]));
    assert!(after(&[Sign::Peek]));
    assert!(after(&[Sign::Charge, Sign::Charge, Sign::Peek]));
    assert!(!after(&[Sign::Charge, Sign::Charge, Sign::Charge, Sign::Peek]));
}

#[test]
fn a_peek_now_and_then_makes_no_rule_post_paid() {
    let billing = Billing::default();
    for number in 0..10_000 {
        billing.note(if number % 4 == 3 { Sign::Peek } else { Sign::Charge });
        assert!(!billing.is_post_paid(), "after {number}");
    }
}

#[test]
fn threads_that_note_at_once_lose_nothing() {
    let billing = Billing::default();
    thread::scope(|scope| {
        for sign in [Sign::Peek, Sign::Charge, Sign::Charge, Sign::Charge] {
            let billing = &billing;
            scope.spawn(move || (0..10_000).for_each(|_| billing.note(sign)));
        }
    });
    // 64 of one kind: each word has been shifted by every one of them.
    (0..64).for_each(|_| billing.note(Sign::Peek));
    assert_eq!(billing.counts(), [64, 0]);
    (0..64).for_each(|_| billing.note(Sign::Charge));
    assert_eq!(billing.counts(), [0, 64]);
}

#[test]
fn rules_that_replace_others_know_how_those_were_asked() {
    let (before, after) = (Billing::default(), Billing::default());
    before.note(Sign::Peek);
    after.note(Sign::Charge);
    after.copy(&before);
    assert_eq!(after.counts(), [1, 0]);
    assert!(!after.is_unknown() && Billing::default().is_unknown());
}
