use super::*;
use tollgate_core::{
    limit::{Limit, Unit},
    rules::{Domain, Pattern},
};

#[test]
fn limits_that_are_gone_do_not_pile_up_if_nobody_scrapes_the_page() {
    let decisions = Decisions::default();
    let limit = || Limit::new(1, Unit::Minute, None).unwrap();
    for number in 0..10 {
        let descriptors = vec![Pattern::with_limit(&format!("key-{number}"), None, limit())];
        let edge = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
        decisions.counters_for_rules(&Matcher::new(vec![edge]));
    }
    assert_eq!(decisions.shown().leaving.len(), 1, "of the rules just before");
}
