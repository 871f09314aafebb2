//! What a rule with `overdraft: auto` admits if its requests are a mixture.

use super::decided;
use crate::store::memory::MemoryStore;
use tollgate_core::{
    applied::QuotaMode,
    decision::Verdict,
    descriptor::{Descriptor, Hits, KeyForm, Request},
    limit::{LimitSpec, Overdraft, Unit},
    matcher::Matcher,
    rules::{Domain, Pattern},
};

const START_US: u64 = 1_800_000_000_000_000;

/// Ten a second, ten at once.
fn matcher() -> Matcher {
    let spec = LimitSpec { overdraft: Overdraft::Auto, ..LimitSpec::new(10, Unit::Second) };
    let descriptors = vec![Pattern::with_limit("user", None, spec.check().unwrap())];
    Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, ..Domain::default() }])
}

/// The hits that are admitted of these, which are asked in turn every tenth of a second for 20 seconds. 210 fit.
fn admitted(asked: &[(Hits, u64)]) -> u64 {
    let (matcher, store, mode) = (matcher(), MemoryStore::new(), QuotaMode::AsConfigured);
    let mut admitted = 0;
    for tenth in 0..=200 {
        for (hits, cost) in asked {
            let descriptors = [Descriptor::new([(&b"user"[..], &b"a"[..])], *hits)].into_iter().collect();
            let request = Request { domain: b"edge", descriptors };
            let outcome = decided(&matcher, &store, &request, mode, START_US + tenth * 100_000);
            matcher
                .domain(b"edge")
                .unwrap()
                .apply(&request, mode, KeyForm::Whole)
                .unwrap()
                .note_billing(mode);
            admitted += if outcome.verdict == Some(Verdict::Allow) { *cost } else { 0 };
        }
    }
    admitted
}

#[test]
fn a_rule_that_one_route_asks_without_hits_and_another_with_5_admits_what_fits() {
    let mixture = admitted(&[(Hits::One, 1), (Hits::Take(5), 5)]);
    assert!((205..=210).contains(&mixture), "{mixture} of 210");
    let stated = admitted(&[(Hits::Take(3), 3), (Hits::Take(5), 5)]);
    assert!((205..=210).contains(&stated), "{stated} of 210");
    // What looks and is charged afterwards is held to the same rate: it waits until what it owes is back.
    let post_paid = admitted(&[(Hits::Peek, 0), (Hits::Take(5), 5)]);
    assert!(
        post_paid < 20,
        "{post_paid}: denied charges are charged, and asked again every tenth of a second"
    );
}
