use super::*;
use tollgate_core::{
    limit::{Limit, Unit},
    rules::{Domain, Pattern},
};

fn rules(key: &str) -> Matcher {
    let rule = Pattern::with_limit(key, None, Limit::new(1, Unit::Minute, None).unwrap());
    Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors: vec![rule], ..Domain::default() }])
}

#[test]
fn runtimes_share_what_was_made_for_the_rules_and_a_reload_makes_it_once() {
    let publisher = Publisher::new(rules("a"), Contract::default(), Arc::new(Metrics::new()));
    let (one, two) = (publisher.subscribe(), publisher.subscribe());
    for replacement in [Some(rules("b")), None] {
        let (first, second) = (one.get(), two.get());
        assert!(!Arc::ptr_eq(&first, &second), "requests of two runtimes count in one cache line");
        assert!(Arc::ptr_eq(&first.matcher, &second.matcher));
        assert!(Arc::ptr_eq(&first.contract, &second.contract));
        assert!(Arc::ptr_eq(&first.counters, &second.counters));
        assert!(Arc::ptr_eq(&first.warnings, &second.warnings));
        if let Some(replacement) = replacement {
            publisher.publish(replacement);
            assert!(!Arc::ptr_eq(&first.matcher, &one.get().matcher), "it was not replaced");
            assert!(Arc::ptr_eq(&first.warnings, &one.get().warnings), "a reload repeats warnings");
        }
    }
}
