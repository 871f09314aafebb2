//! Against a model that knows no bucket: a request is admitted iff in no interval that ends with it more than burst +
//! refill would have been.

use proptest::prelude::{Just, Strategy, prop, proptest};
use proptest::test_runner::Config;

use super::{BY_KEY, json, line, one_limit};

#[derive(Debug, Clone)]
struct Case {
    requests_per_second: u64,
    burst: u64,
    /// Milliseconds after the request before, and the client.
    requests: Vec<(u64, u8)>,
}

fn case() -> impl Strategy<Value = Case> {
    let gap = prop::sample::select(vec![0, 0, 1, 3, 50, 100, 333, 1_000]);
    (1..6_u64, 1..8_u64, prop::collection::vec((gap, 0..3_u8), 1..120)).prop_flat_map(
        |(requests_per_second, burst, requests)| Just(Case { requests_per_second, burst, requests }),
    )
}

/// The denials of each client.
fn expected(case: &Case) -> [u64; 3] {
    let (mut now, mut denied) = (0, [0; 3]);
    let mut admitted: [Vec<u64>; 3] = Default::default();
    for (gap, client) in &case.requests {
        now += gap;
        let client = usize::from(*client);
        let before = &admitted[client];
        let fits = (0..=before.len()).all(|from| {
            let (begins, count) = (before.get(from).copied().unwrap_or(now), before.len() - from + 1);
            let count = u64::try_from(count).expect("small");
            count * 1_000 <= case.burst * 1_000 + case.requests_per_second * (now - begins)
        });
        if fits { admitted[client].push(now) } else { denied[client] += 1 }
    }
    denied
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, ..Config::default() })]
    #[test]
    fn nothing_is_denied_that_fits_and_nothing_admitted_that_does_not(case in case()) {
        let Case { requests_per_second, burst, requests } = &case;
        let limit = format!("{{ unit: second, requests_per_unit: {requests_per_second}, burst: {burst} }}");
        let config = one_limit("model", &limit);
        let mut now = 0;
        let log: String = requests.iter().map(|(gap, client)| {
            now += gap;
            line(now, &client.to_string())
        }).collect();
        let told = json(&[&["--config", &config, "--show-values"], &BY_KEY[..]].concat(), &log);
        let mut denied = [0; 3];
        for key in told["keys"].as_array().expect("a list") {
            let client: usize = key["key"].as_str().and_then(|key| key.strip_prefix("k=")).expect("k=").parse().expect("0 to 2");
            denied[client] = key["requests"].as_u64().expect("a number");
        }
        assert_eq!(denied, expected(&case), "{case:?}");
    }
}
