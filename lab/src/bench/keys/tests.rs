use super::*;

fn counts(keys: Keys, of: usize) -> Vec<u32> {
    let mut counts = vec![0; of];
    for ask in Asks::new(keys, Mix::Allowed, 7, Some(MANY_DRAWS as u64)) {
        counts[ask.key as usize] += 1;
    }
    counts
}

#[test]
fn under_zipf_the_nth_key_comes_one_nth_as_often_as_the_first() {
    let counts = counts(Keys::Zipf(100_000), 100_000);
    for n in [2, 5, 10, 50] {
        let ratio = f64::from(counts[0]) / f64::from(counts[n - 1]);
        assert!((ratio / n as f64 - 1.0).abs() < 0.1, "key {n}: {ratio}");
    }
}

#[test]
fn uniform_keys_come_equally_often_and_none_is_left_out() {
    let counts = counts(Keys::Uniform(1_000), 1_000);
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least > 400 && *most < 1_900, "{least} to {most} of {MANY_DRAWS} draws");
}

#[test]
fn each_key_comes_once_before_any_comes_twice() {
    let keys: Vec<u32> = Asks::new(Keys::Each(3), Mix::Once, 0, Some(5)).map(|ask| ask.key).collect();
    assert_eq!(keys, [0, 1, 2, 0, 1]);
}

#[test]
fn half_denied_is_every_other_request_over_the_same_keys() {
    let asks: Vec<Demand> = Asks::new(Keys::Each(2), Mix::Half, 0, Some(4)).collect();
    let demand = |key, rule| Demand { key, rule, second: None };
    let (open, once) = (Rule::Open(0), Rule::Once);
    assert_eq!(asks, [demand(0, open), demand(0, once), demand(1, open), demand(1, once)]);
}

#[test]
fn a_pair_is_of_two_different_keys_and_those_at_their_limit_have_a_rule_of_their_own() {
    let asks: Vec<Demand> = Asks::new(Keys::Uniform(30), Mix::Pairs, 1, Some(10_000)).collect();
    let limited = asks.iter().filter(|ask| ask.is_limited()).count();
    // All but those with both keys among the other twenty: 1 - 20·19 / (30·29).
    assert!((5_300..5_960).contains(&limited), "{limited}");
    for ask in asks {
        let (key, rule) = ask.second.unwrap();
        assert_ne!(ask.key, key);
        assert_eq!((ask.rule == Rule::Ten, rule == Rule::Ten), (ask.key < 10, key < 10));
    }
}

#[test]
fn the_same_seed_asks_for_the_same_keys_and_another_one_does_not() {
    let first =
        |seed| -> Vec<Demand> { Asks::new(Keys::Zipf(1_000_000), Mix::Allowed, seed, Some(100)).collect() };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn what_is_printed_is_what_is_read() {
    for keys in [Keys::One, Keys::Uniform(1_000), Keys::Zipf(1_000_000), Keys::Each(9)] {
        assert_eq!(keys.to_string().parse(), Ok(keys));
    }
    for (mix, _) in Mix::ALL {
        assert_eq!(mix.to_string().parse(), Ok(mix));
    }
    for wrong in ["uniform:0", "zipf:1000001", "some:3", "zipf:x"] {
        assert!(wrong.parse::<Keys>().is_err(), "{wrong}");
    }
}
