use super::*;

fn health() -> Arc<StoreHealth> {
    Arc::new(StoreHealth::new("redis://cache:6379".to_owned()))
}

fn says(health: &StoreHealth) -> String {
    health.contact().to_string()
}

#[test]
fn the_store_is_met_once_all_have_met_it_and_then_there_or_degraded() {
    let health = health();
    let (one, two) = (LineHealth::new(&health), LineHealth::new(&health));
    assert_eq!(says(&health), "no contact with the store yet");
    one.is_unreachable("connection refused");
    assert_eq!(
        says(&health),
        "no contact with the store yet: cannot reach redis://cache:6379: connection refused"
    );
    one.is_up();
    one.is_up();
    assert!(matches!(health.contact(), Contact::NotYet { met: 1, of: 2, .. }), "{}", says(&health));
    two.is_up();
    assert_eq!(health.contact(), Contact::All);
    for line in [&one, &two] {
        line.is_unreachable("reset");
        line.is_unreachable("gone");
    }
    assert_eq!(
        says(&health),
        "degraded: 0 of 2 connections to the store are up: cannot reach redis://cache:6379: gone"
    );
    two.is_up();
    drop(one);
    assert_eq!(health.contact(), Contact::All);
}

#[test]
fn memory_is_there_at_once() {
    assert_eq!(says(&StoreHealth::always()), "OK");
}

#[test]
fn a_store_that_was_never_of_use_is_not_met_and_says_why() {
    let health = health();
    let line = LineHealth::new(&health);
    line.is_denied(&Complaint::new(Refusal::Sentinel));
    assert!(matches!(health.contact(), Contact::Unusable { .. }));
    let said = says(&health);
    assert!(said.starts_with("redis://cache:6379 cannot be used: sentinel: this is a Sentinel"), "{said}");
    // Full since the start, though connected.
    line.is_refused(&Complaint::new(Refusal::Oom));
    assert!(matches!(health.contact(), Contact::Unusable { .. }));
    assert!(says(&health).starts_with("OOM: its memory is full"), "{}", says(&health));
    line.is_up();
    assert_eq!(health.contact(), Contact::All);
}

#[test]
fn what_is_refused_later_degrades_until_it_is_granted_again() {
    let health = health();
    let (one, two) = (LineHealth::new(&health), LineHealth::new(&health));
    one.is_up();
    two.is_up();
    one.is_refused(&Complaint::new(Refusal::Oom));
    one.is_refused(&Complaint::rights(&["set"]));
    assert!(one.refuses() && !two.refuses());
    let said = says(&health);
    assert!(said.starts_with("degraded: the store refuses calls: NOPERM: its user may not run set"));
    // Denied at the next connection: it stays met.
    one.is_denied(&Complaint::new(Refusal::Replica));
    assert!(matches!(health.contact(), Contact::Degraded { up: 1, of: 2, .. }), "{}", says(&health));
    assert!(!one.refuses());
    one.is_up();
    assert_eq!(health.contact(), Contact::All);
    let counted: Vec<_> = health.refusals().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("NOPERM", 1), ("OOM", 1), ("replica", 1)]);
}
