//! The whole service on a Redis Cluster.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use lab::{
    http, ports,
    redis::Cluster,
    tollgate::{Serve, Tollgate},
};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::transport::Channel;

use crate::{
    cluster,
    support::{self, authority::Authority},
};

const LIMITS: &str = "\
domain: edge
descriptors:
- key: user
  rate_limits:
  - { unit: day, requests_per_unit: 5, algorithm: token_bucket, on_store_failure: error }
  - { unit: year, requests_per_unit: 1000, on_store_failure: error }
- { key: all, rate_limit: { unit: year, algorithm: token_bucket, requests_per_unit: 777, on_store_failure: error } }
";

async fn start(store: &str, args: &[&str]) -> Tollgate {
    lab::midnight::not_within(Duration::from_secs(60)).await;
    // Written once, since another test may read it at the same time.
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let limits = FILE.get_or_init(|| support::file("cluster.yaml", LIMITS));
    let serve =
        Serve::new(limits).store(store).args(&["--runtimes", "2", "--store-deadline", "5s"]).args(args);
    Tollgate::start(&serve).await.expect("Tollgate starts")
}

async fn ready(tollgate: &Tollgate) -> (u16, String) {
    let answer = http::get(tollgate.admin(), "/ready", &[]).await.expect("an answer");
    (answer.status.as_u16(), answer.text())
}

async fn until_ready_says(tollgate: &Tollgate, status: u16, words: &str) {
    let mut last = (0, String::new());
    for _ in 0..1_000 {
        last = ready(tollgate).await;
        if last.0 == status && last.1.contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("/ready never says {status} {words:?}: {last:?}");
}

#[derive(Clone)]
struct Client(RateLimitServiceClient<Channel>);

impl Client {
    async fn new(tollgate: &Tollgate) -> Client {
        let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
        Client(RateLimitServiceClient::new(channel.connect().await.expect("connects")))
    }

    async fn ask(&mut self, key: &str, value: &str) -> Code {
        let entry = Entry { key: key.to_owned().into(), value: value.to_owned().into() };
        let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let request =
            RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 1 };
        self.0.should_rate_limit(request).await.expect("an answer").into_inner().overall_code()
    }
}

/// The commands that a user needs in a Redis Cluster according to docs/redis.md.
fn documented() -> Vec<&'static str> {
    let page = include_str!("../../docs/redis.md");
    let line = page.lines().find(|line| line.contains("+cluster|slots")).expect("the rule");
    line.split(' ').filter(|word| word.starts_with(['~', '+'])).collect()
}

fn set_user(cluster: &Cluster, rights: &[&str]) {
    let mut rule = vec!["ACL", "SETUSER", "tollgate", "reset", "on", ">s3cret"];
    rule.extend(rights);
    cluster.tell_all(&rule).expect("a user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_requests_of_each_of_sixty_keys_are_decided_exactly() {
    let Some(cluster) = cluster(3, 0).await else { return };
    set_user(&cluster, &documented());
    let tollgate = start(&cluster.url_as("tollgate:s3cret@"), &[]).await;
    until_ready_says(&tollgate, 200, "OK").await;
    let client = Client::new(&tollgate).await;
    let mut tasks = Vec::new();
    for user in 0..60 {
        let mut client = client.clone();
        tasks.push(tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..7 {
                admitted += u32::from(client.ask("user", &user.to_string()).await == Code::Ok);
            }
            admitted
        }));
    }
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), 5);
    }
    let replicas = async || {
        let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
        page.lines().any(|line| line == "tollgate_replicas 1")
    };
    while !replicas().await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_replicas_admit_exactly_the_burst() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let mut tasks = Vec::new();
    let mut processes = Vec::new();
    for _ in 0..3 {
        let tollgate = start(&cluster.url(), &["--denial-cache", "off"]).await;
        until_ready_says(&tollgate, 200, "OK").await;
        let client = Client::new(&tollgate).await;
        for _ in 0..8 {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..60 {
                    admitted += u32::from(client.ask("all", "one").await == Code::Ok);
                }
                admitted
            }));
        }
        processes.push(tollgate);
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.expect("no panic");
    }
    assert_eq!((3 * 8 * 60, admitted), (1_440, 777));
}

/// A node that is asked by TLS names the ports for TLS.
#[tokio::test]
async fn a_cluster_is_reached_by_tls() {
    if !lab::real::available(&[lab::binaries::Part::Redis]) {
        return;
    }
    let authority = Authority::new("cluster");
    let (certificate, redis_key) = authority.files("cluster-redis");
    let (certificate, redis_key) = (certificate.display().to_string(), redis_key.display().to_string());
    let port = ports::free().expect("a free port").to_string();
    let args = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &redis_key];
    let others = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no", "--tls-cluster", "yes"];
    let args: Vec<&str> = args.into_iter().chain(others).collect();
    let cluster = Cluster::start_with(1, 0, &args).await.expect("a Cluster of one master starts");
    let ca = authority.file("cluster-ca").display().to_string();
    let tollgate = start(&format!("rediss+cluster://127.0.0.1:{port}"), &["--store-ca", &ca]).await;
    until_ready_says(&tollgate, 200, "OK").await;
    let mut client = Client::new(&tollgate).await;
    assert_eq!(client.ask("user", "alice").await, Code::Ok);
    drop(cluster);
}

#[tokio::test]
async fn a_node_that_is_given_as_another_kind_is_told_with_what_to_write() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let node = start(&cluster.nodes[0].url(), &[]).await;
    until_ready_says(&node, 503, "write redis+cluster://").await;
    drop(node);
    let one = support::redis().await.expect("Redis starts");
    let alone = start(&one.url().replace("redis://", "redis+cluster://"), &[]).await;
    until_ready_says(&alone, 503, "write redis:// in place of redis+cluster://").await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let Some(cluster) = cluster(3, 0).await else { return };
    let without = |right: &str| documented().into_iter().filter(|word| *word != right).collect::<Vec<_>>();
    set_user(&cluster, &without("+cluster|slots"));
    let tollgate = start(&cluster.url_as("tollgate:s3cret@"), &[]).await;
    until_ready_says(&tollgate, 503, "add +cluster|slots to").await;
    set_user(&cluster, &documented());
    until_ready_says(&tollgate, 200, "OK").await;
}
