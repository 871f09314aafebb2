use super::*;

fn host(port: u16) -> Place {
    Place::Host { name: "h".to_owned(), port }
}

fn slots() -> Slots {
    let target = RedisTarget::parse("redis+cluster://h:1,h:9").expect("an address");
    Slots::new(&target, &[host(1), host(9)], &Arc::new(StoreHealth::always()))
}

fn reading(ranges: &[(u16, u16, u16)]) -> Reading {
    Reading { ranges: ranges.iter().map(|(first, last, port)| (*first..=*last, host(*port))).collect() }
}

fn port(slots: &Slots, slot: u16) -> Option<u16> {
    let server = slots.server(slots.owner(slot)?).expect("is known");
    let Place::Host { port, .. } = server.place() else { panic!("a host") };
    Some(*port)
}

#[test]
fn a_slot_that_has_moved_counts_at_once_and_the_next_map_has_the_last_word() {
    let slots = slots();
    assert_eq!(slots.owner(7), None);
    slots.learn(&reading(&[(0, 8_191, 1), (8_192, 16_383, 2)]));
    assert_eq!([port(&slots, 7), port(&slots, 8_192)], [Some(1), Some(2)]);
    slots.moved(7, host(3));
    assert_eq!([port(&slots, 7), port(&slots, 8)], [Some(3), Some(1)]);
    assert_eq!(slots.candidates(0)[0], host(3), "who was named knows more");
    slots.learn(&reading(&[(0, 6, 1), (7, 16_383, 2)]));
    assert_eq!([port(&slots, 7), port(&slots, 6)], [Some(2), Some(1)]);
}

#[test]
fn a_node_keeps_its_number_while_it_serves_and_another_never_gets_it() {
    let slots = slots();
    slots.learn(&reading(&[(0, 8_191, 1), (8_192, 16_383, 2)]));
    let (one, two) = (slots.owner(0).unwrap(), slots.owner(16_383).unwrap());
    slots.learn(&reading(&[(0, 16_383, 2)]));
    assert_eq!(slots.owner(0), Some(two));
    assert!(slots.server(one).is_none(), "it serves nothing");
    slots.learn(&reading(&[(0, 8_191, 1), (8_192, 16_383, 2)]));
    assert_ne!(slots.owner(0), Some(one));
}

#[test]
fn slots_that_nobody_serves_have_no_owner_and_are_counted() {
    let slots = slots();
    slots.learn(&reading(&[(0, 9_999, 1)]));
    assert_eq!((slots.owner(10_000), slots.health.unserved()), (None, 6_384));
    slots.learn(&reading(&[(0, 16_383, 1)]));
    assert_eq!(slots.health.unserved(), 0);
}

#[test]
fn a_node_that_was_named_stays_for_a_while_and_the_number_of_nodes_is_bounded() {
    let slots = slots();
    let named = slots.named(host(5)).expect("there is room");
    slots.learn(&reading(&[(0, 16_383, 1)]));
    assert!(slots.server(named).is_some(), "it may be about to get its first slot");
    let many = (1_000..5_000).filter_map(|port| slots.named(host(port))).count();
    assert!(many < MOST_NODES && slots.ids().len() == MOST_NODES);
}
