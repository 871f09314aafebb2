use super::*;
use crate::reload::Publisher;
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
    let (one, two) = (publisher.enlist(), publisher.enlist());
    for replacement in [Some(rules("b")), None] {
        let (of_one, of_two) = (one.current(), two.current());
        assert!(!Arc::ptr_eq(&of_one, &of_two), "requests of two runtimes count in one cache line");
        assert!(Arc::ptr_eq(&of_one.matcher, &of_two.matcher));
        assert!(Arc::ptr_eq(&of_one.contract, &of_two.contract));
        assert!(Arc::ptr_eq(&of_one.counters, &of_two.counters));
        assert!(Arc::ptr_eq(&of_one.strays, &of_two.strays));
        if let Some(replacement) = replacement {
            publisher.replace(replacement);
            assert!(!Arc::ptr_eq(&of_one.matcher, &one.current().matcher), "it was not replaced");
            assert!(
                Arc::ptr_eq(&of_one.strays, &one.current().strays),
                "warnings come anew with each reload"
            );
        }
    }
}
