//! The recipes of docs/recipes.md, each through a real Envoy, as examples/recipes configures it.

mod application;
mod charges;
mod concurrency;
mod rules;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use application::Application;
use lab::{
    binaries::{self, Part},
    envoy::{Config, Envoy},
    http::{self, Answer},
    ports,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

/// A node with all recipes, Tollgate with their limits and a Redis, and an application.
struct Recipes {
    envoy: Envoy,
    tcp: SocketAddr,
    application: Application,
    tollgate: Tollgate,
    _redis: Redis,
}

/// None, with a message, if there is no Envoy or no Redis and that is allowed.
async fn recipes(edits: &[(&str, &str)]) -> Option<Recipes> {
    recipes_with(binaries::checkout().join("examples/recipes/limits.yaml"), edits).await
}

async fn recipes_with(limits: PathBuf, edits: &[(&str, &str)]) -> Option<Recipes> {
    if !lab::real::available(&[Part::Envoy, Part::Redis]) {
        return None;
    }
    let redis = Redis::start().await.expect("Redis starts");
    let serve = Serve::new(limits).store(redis.url()).args(&["--jitter", "0", "--store-deadline", "5s"]);
    let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
    let application = Application::start().await;
    let tcp = SocketAddr::from(([127, 0, 0, 1], ports::free().expect("a free port")));
    let config = Config::recipes(tollgate.grpc(), application.addr(), tcp).expect("the example");
    // Long, so that a busy machine lets nothing pass for want of an answer.
    let generous = config.text().replace("timeout: 0.2s", "timeout: 5s").replace("0.1s", "5s");
    let config = config.clone().replace(config.text(), &generous).expect("the whole text");
    let config = edits.iter().try_fold(config, |config, (text, put)| config.replace(text, put));
    let envoy = Envoy::start(&config.expect("each text stands there once")).await.expect("Envoy starts");
    Some(Recipes { envoy, tcp, application, tollgate, _redis: redis })
}

impl Recipes {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(self.envoy.listen(), path, headers).await.expect("an answer")
    }

    /// The whole tokens that are left, as the answer says.
    async fn left(&self, path: &str, headers: &[(&str, &str)]) -> u64 {
        let answer = self.get(path, headers).await;
        answer.header("ratelimit-remaining").and_then(|text| text.parse().ok()).expect("it was decided")
    }

    /// Waits until Tollgate has decided that many requests, those on stream done too.
    async fn until_decided(&self, requests: u64) {
        for _ in 0..500 {
            let page = http::get(self.tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
            let counts = page.lines().filter_map(|line| {
                line.strip_prefix("tollgate_requests_total{door=\"rls\",")?
                    .split(' ')
                    .next_back()?
                    .parse::<u64>()
                    .ok()
            });
            if counts.sum::<u64>() >= requests {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fewer than {requests} requests were decided");
    }
}
