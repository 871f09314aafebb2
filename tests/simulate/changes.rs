//! What changes from one limits file to another.

use super::{BY_KEY, json, limits, line, one_limit};

#[test]
fn newly_denied_and_newly_admitted_are_told_by_limit_and_key() {
    let tried = limits(
        "tried",
        "domain: d\ndescriptors:\n- { key: k, rate_limit: { unit: hour, requests_per_unit: 2 } }\n- { key: k, value: vip, \
         rate_limit: { unit: hour, requests_per_unit: 9 } }\n",
    );
    let now = one_limit("now", "{ unit: hour, requests_per_unit: 4 }");
    let log = |key: &str| (0..6).map(|at| line(at, key)).collect::<String>();
    let args = [&["--config", &tried, "--against", &now, "--show-values"], &BY_KEY[..]].concat();
    let told = json(&args, &(log("a") + &log("vip")));
    let against = &told["against"];
    assert_eq!((&told["denied"], &against["denied"]), (&4.into(), &4.into()), "{told}");
    assert_eq!(against["denied_by_both"], 2, "{told}");
    let newly_denied = &against["newly_denied"];
    assert_eq!(
        (&newly_denied["requests"], &newly_denied["keys"][0]["key"]),
        (&2.into(), &"k=a".into()),
        "{told}"
    );
    assert_eq!(
        (&newly_denied["limits"][0]["path"], &newly_denied["limits"][0]["requests_per_unit"]),
        (&"k".into(), &2.into())
    );
    let newly_admitted = &against["newly_admitted"];
    assert_eq!(
        (&newly_admitted["requests"], &newly_admitted["keys"][0]["key"]),
        (&2.into(), &"k=vip".into()),
        "{told}"
    );
    assert_eq!(newly_admitted["limits"][0]["requests_per_unit"], 4, "the limit that denied it: {told}");
}

#[test]
fn a_file_against_itself_changes_nothing() {
    let args = ["--config", "examples/simulate/limits.yaml", "--against", "examples/simulate/limits.yaml"];
    let log =
        std::fs::read_to_string(lab::binaries::checkout().join("examples/simulate/access.json")).unwrap();
    let told = json(&args, &log);
    assert!(told["denied"].as_u64().unwrap() > 0);
    assert_eq!(told["against"]["denied_by_both"], told["denied"]);
    assert_eq!(
        (&told["against"]["newly_denied"]["requests"], &told["against"]["newly_admitted"]["requests"]),
        (&0.into(), &0.into())
    );
}
