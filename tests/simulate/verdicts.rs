//! Who is denied, when, and by which limit, on logs whose answers are known.

use super::{BY_KEY, json, limits, line, one_limit};

#[test]
fn each_request_is_admitted_or_denied_as_its_bucket_says_and_when_it_says() {
    let config = one_limit("two", "{ unit: second, requests_per_unit: 2 }");
    // Two at once; a token comes back every 500 ms.
    let log: String = [0, 0, 0, 400, 500, 900, 1_000, 1_001].into_iter().map(|at| line(at, "a")).collect();
    let log = log + &line(1_002, "b");
    let args = [&["--config", &config, "--show-values"], &BY_KEY[..]].concat();
    let told = json(&args, &log);
    assert_eq!(told["requests"], 9, "{told}");
    assert_eq!(told["denied"], 4, "0, 400, 900 and 1001: {told}");
    let limit = &told["limits"][0];
    assert_eq!((&limit["asked"], &limit["clients"], &limit["touched"]), (&9.into(), &2.into(), &1.into()));
    assert_eq!(limit["first_over"], "2026-11-28T12:00:00.000Z");
    assert_eq!(limit["last_over"], "2026-11-28T12:00:01.001Z");
    let key = &told["keys"][0];
    assert_eq!((&key["key"], &key["requests"], &key["asked"]), (&"k=a".into(), &4.into(), &8.into()));
    assert_eq!(told["keys"].as_array().unwrap().len(), 1);
    assert_eq!(told["timeline"]["requests"][0], 9);
    assert_eq!(told["timeline"]["limits"][0]["denied"][0], 4);
}

#[test]
fn fixed_windows_admit_twice_the_limit_at_their_edge_and_this_is_told() {
    let config = one_limit("edge", "{ unit: second, requests_per_unit: 10 }");
    let burst = |at: u64| (0..10).map(|_| line(at, "a")).collect::<String>();
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &(burst(950) + &burst(1_050)));
    // A tenth of a second brings one token back.
    assert_eq!(told["denied"], 9, "{told}");
    let windows = &told["fixed_windows"];
    assert_eq!((&windows["denied"], &windows["newly_admitted"]), (&0.into(), &9.into()), "{told}");
    assert_eq!(told["limits"][0]["fixed_windows"]["most_above_bound"], 9.0, "20 - (10 + 1): {told}");
    // In the middle of a window both are alike.
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &(burst(100) + &burst(100)));
    assert_eq!((&told["denied"], &told["fixed_windows"]["denied"]), (&10.into(), &10.into()), "{told}");
    assert_eq!(told["limits"][0]["fixed_windows"]["most_above_bound"], 0.0, "{told}");
}

#[test]
fn a_request_is_charged_to_all_of_its_limits_or_to_none_and_one_of_them_denies_it() {
    let config = limits(
        "several",
        "domain: d\ndescriptors:\n- key: k\n  rate_limits:\n  - { unit: second, requests_per_unit: 2, name: rate }\n  \
         - { unit: day, requests_per_unit: 3, name: quota }\n",
    );
    // The third is denied by the rate, and does not count in the quota.
    let log: String = [0, 0, 0, 1_000, 2_000].into_iter().map(|at| line(at, "a")).collect();
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &log);
    let denied = |name: &str| {
        let limits = told["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["name"] == name).unwrap()["denied"].clone()
    };
    assert_eq!((denied("rate"), denied("quota")), (1.into(), 1.into()), "{told}");
}

#[test]
fn what_no_limit_holds_for_is_admitted_and_told() {
    let config = limits(
        "unmatched",
        "domain: d\ndescriptors:\n- { key: k, value: a, rate_limit: { unit: day, requests_per_unit: 1 } }\n- { key: k, \
         value: free, rate_limit: { unlimited: true } }\n",
    );
    let log = line(0, "a") + &line(1, "x") + &line(2, "free") + "{\"start_time\":1795867200003}\n";
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &log);
    assert_eq!((&told["admitted"], &told["without_descriptor"]), (&4.into(), &1.into()), "{told}");
    let remarks = told["remarks"].to_string();
    assert!(remarks.contains("1 descriptor matches no rule"), "{remarks}");
    assert!(remarks.contains("1 descriptor is unlimited"), "{remarks}");
}

#[test]
fn shadow_limits_are_counted_and_deny_nobody() {
    let config = limits(
        "shadow",
        "domain: d\ndescriptors:\n- { key: k, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }\n",
    );
    let told = json(&[&["--config", &config], &BY_KEY[..]].concat(), &(line(0, "a") + &line(1, "a")));
    assert_eq!((&told["denied"], &told["limits"][0]["over"]), (&0.into(), &1.into()), "{told}");
}
