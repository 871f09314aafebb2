use super::{Class, Entry, Record};
use crate::contract::{Breach, Judgement};
use tollgate_core::audit::Span;

fn entry(start_us: u64, end_us: u64, class: Class) -> Entry {
    Entry { span: Span { start_us, end_us }, latency_us: 1, status: 200, target: 0, class }
}

fn denial(breaches: Vec<Breach>, denied_by: Vec<String>) -> Judgement {
    Judgement { class: Class::Denied, breaches, denied_by }
}

fn record(classes: &[Class]) -> Record {
    let entries = classes.iter().zip(0..).map(|(&class, i)| entry(i, i + 10, class)).collect();
    Record { entries, ..Record::default() }
}

#[test]
fn whatever_was_let_through_counts_as_admitted_whoever_signed_it() {
    let record = record(&[Class::Admitted, Class::AdmittedUnsigned, Class::Failed, Class::Denied]);
    assert_eq!(record.admitted(), [Span { start_us: 0, end_us: 10 }, Span { start_us: 1, end_us: 11 }]);
}

#[test]
fn what_the_limiter_did_not_sign_may_be_charged_at_any_later_time() {
    let unsigned = [Class::AdmittedUnsigned, Class::DeniedUnsigned, Class::Failed, Class::Silent];
    for class in unsigned {
        assert_eq!(record(&[class]).charged(), [Span { start_us: 0, end_us: u64::MAX }], "{class:?}");
        assert_eq!(record(&[class]).denied(), [], "{class:?}");
    }
    assert_eq!(record(&[Class::Admitted]).charged(), [Span { start_us: 0, end_us: 10 }]);
    assert_eq!(record(&[Class::Denied]).charged(), []);
}

#[test]
fn a_rule_broken_a_thousand_times_is_one_line_with_the_first_example() {
    let mut whole = Record::default();
    for worker in 0..2 {
        let mut record = Record::default();
        for i in 0..500 {
            let breaches = vec![Breach { rule: "a rule", seen: format!("{worker}/{i}") }];
            record.answered(entry(0, 1, Class::Denied), denial(breaches, Vec::new()));
        }
        whole.append(record);
    }
    assert_eq!(whole.entries.len(), 1000);
    assert_eq!(whole.broken.len(), 1);
    assert_eq!((whole.broken["a rule"].count, whole.broken["a rule"].example.as_str()), (1000, "0/0"));
}

#[test]
fn names_of_rules_that_denied_are_bounded_in_number_and_length() {
    let mut whole = Record::default();
    for worker in 0..2 {
        let mut record = Record::default();
        for i in 0..150 {
            let names = vec![format!("{worker}/{i}"), "é".repeat(500)];
            record.answered(entry(0, 1, Class::Denied), denial(Vec::new(), names));
        }
        whole.append(record);
    }
    assert!(whole.denied_by.len() <= 101);
    assert_eq!(whole.denied_by[&"é".repeat(200)], 300);
    assert_eq!(whole.denied_by.values().sum::<u64>(), 600, "none is lost");
}
