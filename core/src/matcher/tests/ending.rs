//! What operators are told about a descriptor without a rule.

use super::*;

/// Rules in which `user` is limited except for admin, `route` leads to a method, and `tier_*` to a user.
fn shop() -> Matcher {
    let methods = ["GET", "POST"].map(|method| pattern("method", method, Some(1), vec![]));
    matcher(vec![
        pattern("user", "", Some(1), vec![]),
        pattern("user", "admin", None, vec![]),
        pattern("route", "/login", None, methods.to_vec()),
        pattern("tier_*", "", None, vec![pattern("user", "*", Some(1), vec![])]),
    ])
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn entries<'a>(pairs: Pairs<'a>) -> impl Iterator<Item = Entry<'a>> + Clone {
    pairs.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() })
}

#[test]
fn it_tells_the_level_and_what_stands_there() {
    let matcher = shop();
    let shop = matcher.domain(b"shop").unwrap();
    let cases: [(Pairs<'_>, &str); 7] = [
        (&[], "it has no entries"),
        (&[("users", "u")], "level 1: the rules have other keys there: route, tier_*, user"),
        (&[("route", "/")], "level 1: the rules have this key with other values: /login"),
        (&[("route", "/login")], "level 1: it ends there, and the rules go on with the keys method"),
        (
            &[("route", "/login"), ("method", "PUT")],
            "level 2: the rules have this key with other values: GET, POST",
        ),
        (&[("user", "u"), ("method", "GET")], "level 2: the rules end before it"),
        (&[("user", "admin")], "level 1: it ends there, at an entry without a rate_limit, which exempts it"),
    ];
    for (pairs, said) in cases {
        assert!(shop.find(entries(pairs)).is_none(), "{pairs:?} has a rule");
        assert_eq!(shop.ending(entries(pairs)).to_string(), said, "{pairs:?}");
    }
}

#[test]
fn a_level_of_thousands_is_told_by_a_few_of_them() {
    let all = (0..2_000).map(|number| pattern("user", &format!("{number:0100}"), Some(1), vec![]));
    let matcher = matcher(all.collect());
    let ending = matcher.domain(b"shop").unwrap().ending(entries(&[("user", "x")])).to_string();
    assert!(ending.ends_with(" and 1994 more") && ending.len() < 600, "{ending}");
}

#[test]
fn what_is_exempt_is_another_thing_than_what_no_rule_is_for() {
    let matcher = shop();
    let shop = matcher.domain(b"shop").unwrap();
    let found = |pairs| match shop.look_up(entries(pairs)) {
        Found::Rule(_) => "rule",
        Found::Exemption => "exemption",
        Found::Nothing => "nothing",
    };
    assert_eq!(found(&[("user", "u")]), "rule");
    assert_eq!(found(&[("user", "admin")]), "exemption");
    // There are rules below it, so descriptors were not meant to end here.
    assert_eq!(found(&[("route", "/login")]), "nothing");
    assert_eq!(found(&[("user", "admin"), ("user", "admin")]), "nothing");
    assert_eq!(found(&[]), "nothing");
}

#[test]
fn a_shape_is_the_keys_of_a_rule_or_an_exemption_whatever_the_values() {
    let matcher = shop();
    let shop = matcher.domain(b"shop").unwrap();
    let has = |keys: &[&str]| shop.have_shape(keys.iter().map(|key| key.as_bytes()));
    for known in [&["user"][..], &["route", "method"], &["tier_", "user"], &["tier_gold", "user"]] {
        assert!(has(known), "{known:?}");
    }
    for unknown in [
        &[][..],
        &["route"],
        &["method"],
        &["method", "route"],
        &["routemethod"],
        &["tier_gold"],
        &["tie", "user"],
        &["tier_gold", "user", "user"],
        &["user", "user"],
    ] {
        assert!(!has(unknown), "{unknown:?}");
    }
}
