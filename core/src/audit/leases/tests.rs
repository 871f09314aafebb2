use super::HeldBack;
use crate::{
    audit::{Bound, Clocks, Denials, Remoteness, Span},
    limit::{Limit, LimitSpec, Unit},
};

fn span(start_us: u64, end_us: u64) -> Span {
    Span { start_us, end_us }
}

fn limit(burst: u32, lease_us: u32) -> Limit {
    LimitSpec { burst: Some(burst), lease_us, ..LimitSpec::new(1, Unit::Second) }.check().unwrap()
}

fn audited(limit: &Limit, charged: &[Span], denied: &[Span]) -> Denials {
    let asked = charged.iter().chain(denied);
    let clocks = Clocks { began_us: 0, stepped_us: 0 };
    let bound = Bound::for_limit(limit, Remoteness::SameClock, clocks);
    bound.too_little(charged, denied, &HeldBack::new(limit, asked))
}

#[test]
fn four_sevenths_of_what_was_lately_asked_for_are_held_back_and_never_all() {
    let limit = limit(40, 100_000);
    let denial = span(1_000_000, 1_000_000);
    let held = |asked: &[Span]| HeldBack::new(&limit, asked.iter()).hits(denial);
    assert_eq!(held(&[]), 0);
    // Fewer than seven are no lease.
    assert_eq!(held(&[span(900_000, 900_100); 6]), 3);
    assert_eq!(held(&[span(900_000, 900_100); 14]), 8);
    // 5½ leases and 1 ms ago is too long ago, as what comes later is.
    assert_eq!(held(&[span(448_000, 448_998); 14]), 0);
    assert_eq!(held(&[span(448_000, 449_500); 14]), 8);
    assert_eq!(held(&[span(1_000_001, 1_000_100); 14]), 0);
    // A grant leaves twelve.
    assert_eq!(held(&[span(900_000, 900_100); 1_000]), 28);
}

#[test]
fn a_denial_is_unjustified_by_one_more_than_leases_may_hold_back() {
    let limit = limit(20, 100_000);
    let denial = [span(1_000_000, 1_000_100)];
    let charged = |count: usize| vec![span(0, 10); count];
    // One request, which is denied: nothing is held back.
    assert_eq!(audited(&limit, &charged(18), &denial).unjustified, 1);
    // 20 denied requests: at most 8 of the 20. Since 0.251 s the bucket has filled by less than a token.
    let denials = vec![denial[0]; 20];
    let found = audited(&limit, &charged(12), &denials);
    assert_eq!(found, Denials { checked: 20, held_back: 20, ..Denials::default() });
    let found = audited(&limit, &charged(11), &denials);
    assert_eq!((found.unjustified, found.held_back), (20, 0));
    let worst = found.worst.unwrap();
    assert_eq!((worst.level_milli, worst.held_back_milli), (9_748, 8_000));
}

#[test]
fn what_was_spent_may_count_two_and_a_half_leases_later_and_no_later() {
    // A token each second. 20 were spent at 0, and count at 0.25 s at the latest.
    let limit = limit(20, 100_000);
    let charged = vec![span(0, 0); 20];
    assert_eq!(audited(&limit, &charged, &[span(1_200_000, 1_200_000)]).unjustified, 0);
    assert_eq!(audited(&limit, &charged, &[span(1_260_000, 1_260_000)]).unjustified, 1);
}

#[test]
fn without_a_lease_or_below_sixteen_nothing_is_held_back() {
    for limit in [limit(20, 0), limit(15, 100_000)] {
        let denials = vec![span(1_000_000, 1_000_100); 1_000];
        let charged = vec![span(0, 10); 14];
        assert_eq!(audited(&limit, &charged, &denials).held_back, 0);
    }
}
