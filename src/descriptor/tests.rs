use super::{BucketKey, Entry, Hits};
use crate::limit::{Limit, Unit};

fn key(domain: &str, entries: &[(&str, &str)], limit: &Limit) -> BucketKey {
    let entries = entries.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    BucketKey::new(domain.as_bytes(), entries, limit)
}

fn limit(requests_per_unit: u32, unit: Unit, burst: u32) -> Limit {
    Limit::new(requests_per_unit, unit, Some(burst)).unwrap()
}

fn hex(key: BucketKey) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_names_the_same_bucket_in_every_version() {
    let ten = limit(10, Unit::Second, 10);
    let minute = limit(60, Unit::Minute, 5);
    let named = [
        key("edge", &[("api_key", "alice")], &ten),
        key("edge", &[("api_key", "")], &ten),
        key("shop", &[("plan", "gold"), ("op", "export")], &minute),
    ];
    assert_eq!(
        named.map(hex),
        [
            "1dac2ba7fb9609efb666de8b3f42e55f",
            "8b2e0d23cbba894ef10f7d418d0e36a6",
            "56e39fa1231210c66fad2912e1e74f3f",
        ]
    );
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
fn a_new_burst_keeps_the_bucket_and_a_new_rate_or_unit_does_not() {
    let entries = [("api_key", "alice")];
    let before = key("edge", &entries, &limit(60, Unit::Minute, 60));
    assert_eq!(before, key("edge", &entries, &limit(60, Unit::Minute, 5)));
    assert_ne!(before, key("edge", &entries, &limit(61, Unit::Minute, 60)));
    assert_ne!(before, key("edge", &entries, &limit(1, Unit::Second, 60)), "same rate, another unit");
}

#[test]
fn hits_of_the_descriptor_come_before_those_of_the_request() {
    assert_eq!(Hits::new(None, 0, false), Hits::Take(1));
    assert_eq!(Hits::new(None, 7, false), Hits::Take(7));
    assert_eq!(Hits::new(Some(3), 7, false), Hits::Take(3));
    assert_eq!(Hits::new(Some(0), 7, false), Hits::Peek);
    assert_eq!(Hits::new(Some(u64::MAX), 0, false), Hits::Take(u64::MAX));
    assert_eq!(Hits::new(Some(5), 0, true), Hits::GiveBack(5));
    assert_eq!(Hits::new(None, 0, true), Hits::GiveBack(1));
}
