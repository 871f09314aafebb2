use super::*;
use tollgate_core::{
    limit::{Limit, Unit},
    rules::{Domain, Pattern},
};

#[test]
fn where_nobody_asks_for_the_page_what_is_gone_does_not_pile_up() {
    let decisions = Decisions::default();
    let limit = || Limit::new(1, Unit::Minute, None).unwrap();
    for number in 0..10 {
        let descriptors = vec![Pattern::with_limit(&format!("key-{number}"), None, limit())];
        let edge = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
        decisions.counters_for_rules(&Matcher::new(vec![edge]));
    }
    assert_eq!(decisions.shown().leaving.len(), 1, "of the rules just before");
}
