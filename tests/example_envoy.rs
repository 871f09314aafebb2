//! `examples/envoy.yaml` runs unchanged with the shipped limits, and limits requests with a key and without one.

use std::collections::BTreeMap;

use lab::{
    binaries::{self, Part},
    envoy::{Config, Envoy},
    http::{self, Answer},
    tollgate::{Serve, Tollgate},
};
use tokio::task::JoinSet;

struct Edge {
    envoy: Envoy,
    _tollgate: Tollgate,
}

async fn edge() -> Option<Edge> {
    if !lab::real::available(&[Part::Envoy]) {
        return None;
    }
    // Long, so that a busy machine shows the limit and not its own speed.
    let limits = binaries::checkout().join("examples/limits.yaml");
    let tollgate = Tollgate::start(&Serve::new(limits)).await.expect("Tollgate starts");
    let config = Config::example(tollgate.grpc()).expect("the example has the ports it names");
    let config = config.replace("timeout: 0.1s", "timeout: 5s").expect("it has one timeout");
    let envoy = Envoy::start(&config).await.expect("Envoy takes the example as it is");
    Some(Edge { envoy, _tollgate: tollgate })
}

impl Edge {
    async fn at_once(&self, headers: &'static [(&'static str, &'static str)]) -> Vec<Answer> {
        let addr = self.envoy.listen();
        let mut requests = JoinSet::new();
        for _ in 0..80 {
            requests.spawn(async move { http::get(addr, "/", headers).await.expect("an answer") });
        }
        requests.join_all().await
    }
}

fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    answers.iter().fold(BTreeMap::new(), |mut statuses, answer| {
        *statuses.entry(answer.status.as_u16()).or_default() += 1;
        statuses
    })
}

#[tokio::test]
async fn a_key_is_limited_and_so_is_a_client_without_one() {
    let Some(edge) = edge().await else { return };
    // The bursts of examples/limits.yaml are 20 for a key and 10 for an address.
    for (headers, burst) in [(&[("x-api-key", "me")][..], 20), (&[][..], 10)] {
        let answers = edge.at_once(headers).await;
        let statuses = statuses(&answers);
        assert!(statuses.keys().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
        let passed = statuses.get(&200).copied().unwrap_or_default();
        assert!((burst..70).contains(&passed), "{passed} of 80 passed, and the burst is {burst}");
        let denied = answers.iter().find(|answer| answer.status.as_u16() == 429).expect("one is denied");
        for name in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            assert!(denied.headers.contains_key(name), "a denial without {name}");
        }
    }
}
