use super::{Decisions, NotUnderstood, decisions_in};

const TEXT: &str = r#"# HELP tollgate_decisions_total Decisions by verdict and source
# TYPE tollgate_decisions_total counter
tollgate_decisions_total{source="store",verdict="allow"} 10
tollgate_decisions_total{rule="a, \"b\" }",source="cache",verdict="deny"} 7 1700000000
tollgate_decisions_total{source="lease",verdict="allow"} 5
tollgate_decisions_total{verdict="allow",source="local"} 2.0
tollgate_decisions_total{source="open"} 1
tollgate_decisions_total_created{source="local"} 1.7e9
tollgate_flights_total 99
"#;

#[test]
fn what_neither_the_store_nor_a_lease_nor_the_denial_cache_answered_is_a_fallback_answer() {
    assert_eq!(
        decisions_in(TEXT).unwrap(),
        Decisions { store_made: 22, from_leases: 5, fallback_answers: 3 }
    );
    assert_eq!(decisions_in("").unwrap(), Decisions::default());
    assert_eq!(
        decisions_in("tollgate_decisions_total 4").unwrap(),
        Decisions { fallback_answers: 4, ..Decisions::default() }
    );
}

#[test]
fn a_figure_that_is_not_understood_is_not_left_out_silently() {
    let text = "x 1\ntollgate_decisions_total{source=\"local\"} 1e3\n";
    assert!(matches!(decisions_in(text), Err(NotUnderstood { line: 2 })));
    assert!(matches!(
        decisions_in("tollgate_decisions_total{source=\"local\"}"),
        Err(NotUnderstood { line: 1 })
    ));
}

#[test]
fn growth_is_what_counts_and_a_restart_starts_from_zero() {
    let before = Decisions { store_made: 10, from_leases: 6, fallback_answers: 3 };
    let after = Decisions { store_made: 15, from_leases: 8, fallback_answers: 3 };
    assert_eq!(after.since(before), Decisions { store_made: 5, from_leases: 2, fallback_answers: 0 });
    let restarted = Decisions { store_made: 4, from_leases: 2, fallback_answers: 1 };
    assert_eq!(restarted.since(before), restarted);
}
