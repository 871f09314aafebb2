use super::*;
use tollgate_core::{
    billing::Sign,
    limit::{Limit, LimitSpec, Overdraft, Unit},
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

#[test]
fn a_reload_does_not_forget_which_rules_are_charged_after_the_response() {
    let spec = LimitSpec { overdraft: Overdraft::Auto, ..LimitSpec::new(1, Unit::Minute) };
    let rules = |keys: &[&str]| {
        let rule = |key: &&str| Pattern::with_limit(key, None, spec.check().unwrap());
        let descriptors = keys.iter().map(rule).collect();
        Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, ..Domain::default() }])
    };
    let publisher = Publisher::new(rules(&["a", "b"]), Contract::default(), Arc::new(Metrics::new()));
    let post_paid = |matcher: &Matcher| -> Vec<bool> {
        matcher.limits().iter().map(|limit| limit.billing.as_ref().unwrap().is_post_paid()).collect()
    };
    publisher.matcher().limits()[0].billing.as_ref().unwrap().note(Sign::Peek);
    assert_eq!(post_paid(&publisher.matcher()), [true, false]);
    publisher.publish(rules(&["new", "a", "b"]));
    assert_eq!(post_paid(&publisher.matcher()), [false, true, false]);
}
