use super::{BucketKey, Entry, Hits, KeyForm};
use crate::limit::{Algorithm, Limit, LimitSpec, Overdraft, Period, Unit, Windows};

fn key(domain: &str, entries: &[(&str, &str)], limit: &Limit) -> BucketKey {
    let entries = entries.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    BucketKey::new(domain.as_bytes(), entries, limit, None)
}

fn limit(requests_per_unit: u32, unit: Unit, burst: u32) -> Limit {
    Limit::new(requests_per_unit, unit, Some(burst)).unwrap()
}

fn hex(key: BucketKey) -> String {
    key.digest().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_names_the_same_bucket_in_every_version() {
    let ten = limit(10, Unit::Second, 10);
    let minute = limit(60, Unit::Minute, 5);
    let log = LimitSpec { algorithm: Algorithm::SlidingWindowLog, ..LimitSpec::new(9, Unit::Hour) };
    let window = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(9, Unit::Day) };
    let (log, window) = (log.check().unwrap(), window.check().unwrap());
    let entry = Entry { key: b"api_key", value: b"alice" };
    let named = [
        key("edge", &[("api_key", "alice")], &ten),
        key("edge", &[("api_key", "")], &ten),
        key("shop", &[("plan", "gold"), ("op", "export")], &minute),
        key("shop", &[("plan", "gold")], &log),
        key("shop", &[("plan", "gold")], &window),
        BucketKey::new(b"edge", std::iter::once(entry), &ten, Some("short")),
    ];
    assert_eq!(
        named.map(hex),
        [
            "ff90281b7cf5ba78a23ad7ec3af413da",
            "4c9d8a2a411b2f7bf42a72be6f5739d6",
            "b278fb47ca56cd9671c912f9610ff9db",
            "8ae0fcf582ddbbbc4a9a5cc7615df3c9",
            "472aee1f7bb862fc29b4bf8643ed2d95",
            "e71d23757d0ab71c6ea220c5fd96f438",
        ]
    );
}

#[test]
fn a_tagged_key_names_the_same_bucket_in_every_version() {
    let ten = limit(10, Unit::Second, 10);
    let log = LimitSpec { algorithm: Algorithm::SlidingWindowLog, ..LimitSpec::new(9, Unit::Hour) };
    let calendar = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(9, Unit::Month) };
    let calendar = LimitSpec { windows: Windows::CalendarMonth, ..calendar };
    let (log, calendar) = (log.check().unwrap(), calendar.check().unwrap());
    let entries = [Entry { key: b"plan", value: b"gold" }, Entry { key: b"op", value: b"export" }];
    let tagged = |limit: &Limit, name: Option<&str>| {
        let key = KeyForm::Tagged.key(b"shop", entries.into_iter(), limit, name);
        format!("{} {:08x}", hex(key), key.tagged_limit().unwrap())
    };
    let keys = [tagged(&ten, None), tagged(&ten, Some("short")), tagged(&log, None), tagged(&calendar, None)];
    assert_eq!(
        keys,
        [
            "12b75d07c419d495cca6fb28de8c77e5 61a1ed83",
            "12b75d07c419d495cca6fb28de8c77e5 1dc72af5",
            "12b75d07c419d495cca6fb28de8c77e5 fc41c029",
            "12b75d07c419d495cca6fb28de8c77e5 55c9a67b",
        ]
    );
}

#[test]
fn the_limits_of_one_descriptor_share_a_tag_and_no_bucket() {
    let limits = [limit(10, Unit::Second, 10), limit(10, Unit::Minute, 10)];
    let entry = |value| std::iter::once(Entry { key: b"user", value });
    let key = |value, limit, name| KeyForm::Tagged.key(b"edge", entry(value), limit, name);
    let alice = [key(b"alice", &limits[0], None), key(b"alice", &limits[1], None)];
    let named = key(b"alice", &limits[0], Some(""));
    assert!(alice.iter().chain([&named]).all(|key| key.digest() == alice[0].digest()));
    assert!(alice[0] != alice[1] && alice[0] != named && alice[1] != named);
    let bob = key(b"bob", &limits[0], None);
    assert_ne!(bob.digest(), alice[0].digest());
    assert_eq!(bob.tagged_limit(), alice[0].tagged_limit());
}

#[test]
fn months_of_the_calendar_have_other_buckets_than_30_days() {
    let aligned = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(9, Unit::Month) };
    let calendar = LimitSpec { windows: Windows::CalendarMonth, ..aligned };
    let keys = [aligned, calendar].map(|spec| key("shop", &[("plan", "gold")], &spec.check().unwrap()));
    assert_eq!(keys.map(hex), ["a5b3b1ed2833472f4d53f8738e388c76", "27d221743d7589fca1de699e71cc4b7d"]);
}

#[test]
fn parts_that_run_together_name_different_buckets() {
    let ten = limit(10, Unit::Second, 10);
    let keys = [
        key("edge", &[("a", "b_c")], &ten),
        key("edge", &[("a_b", "c")], &ten),
        key("edge", &[("a", "b"), ("c", "")], &ten),
        key("edge", &[("ab", ""), ("c", "")], &ten),
        key("edgea", &[("", "b_c")], &ten),
        key("edge", &[], &ten),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert!(keys[i + 1..].iter().all(|other| one != other), "key {i} stands twice");
    }
}

#[test]
fn no_number_is_part_of_a_key_but_the_periods_length_and_the_algorithm_are() {
    let entries = [("api_key", "alice")];
    let before = key("edge", &entries, &limit(60, Unit::Minute, 60));
    assert_eq!(before, key("edge", &entries, &limit(60, Unit::Minute, 5)));
    assert_eq!(before, key("edge", &entries, &limit(61, Unit::Minute, 60)));
    assert_eq!(before, key("edge", &entries, &Limit::new(0, Unit::Minute, None).unwrap()));
    let owing = LimitSpec { overdraft: Overdraft::Charge, ..LimitSpec::new(1, Unit::Minute) };
    assert_eq!(before, key("edge", &entries, &owing.check().unwrap()));
    assert_ne!(before, key("edge", &entries, &limit(1, Unit::Second, 60)), "same rate, another period");
    let window = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(60, Unit::Minute) };
    assert_ne!(before, key("edge", &entries, &window.check().unwrap()));
}

#[test]
fn a_period_is_its_length_however_it_is_written() {
    let key_for = |unit, multiplier| {
        let period = Period { unit, multiplier };
        key("edge", &[("api_key", "alice")], &Limit::new(7, period, None).unwrap())
    };
    assert_eq!(key_for(Unit::Minute, 60), key_for(Unit::Hour, 1));
    assert_eq!(key_for(Unit::Hour, 24), key_for(Unit::Day, 0));
    assert_eq!(key_for(Unit::Day, 7), key_for(Unit::Week, 1));
    assert_ne!(key_for(Unit::Hour, 2), key_for(Unit::Hour, 1));
}

#[test]
fn a_name_makes_a_bucket_of_its_own_beside_the_entries() {
    let ten = limit(10, Unit::Second, 10);
    let named = |entries: &[(&str, &str)], name| {
        let entries =
            entries.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
        BucketKey::new(b"edge", entries, &ten, name)
    };
    let keys = [
        named(&[("a", "b")], None),
        named(&[("a", "b")], Some("")),
        named(&[("a", "b")], Some("c")),
        named(&[("a", "b"), ("c", "")], None),
        named(&[("a", "b"), ("", "c")], None),
        named(&[], Some("a")),
        named(&[], Some("ab")),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert!(keys[i + 1..].iter().all(|other| one != other), "key {i} stands twice");
    }
}

#[test]
fn hits_of_the_descriptor_come_before_those_of_the_request() {
    assert_eq!(Hits::new(None, 0, false), Hits::One);
    assert_eq!(Hits::new(None, 7, false), Hits::Take(7));
    assert_eq!(Hits::new(Some(3), 7, false), Hits::Take(3));
    assert_eq!(Hits::new(Some(0), 7, false), Hits::Peek);
    assert_eq!(Hits::new(Some(u64::MAX), 0, false), Hits::Take(u64::MAX));
    assert_eq!(Hits::new(Some(5), 0, true), Hits::GiveBack(5));
    assert_eq!(Hits::new(None, 0, true), Hits::GiveBack(1));
}
