//! Limits change while requests are served: no request is dropped, and a bad file changes nothing.

use std::{path::PathBuf, time::Duration};

use lab::tollgate::{Serve, Tollgate};
use tokio::time::sleep;
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

/// The time within which a change is promised to be in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

type Client = RateLimitServiceClient<Channel>;

struct File(PathBuf);

impl File {
    fn write(&self, requests_per_day: u32, burst: u32) {
        let limit = format!("{{ unit: day, requests_per_unit: {requests_per_day}, burst: {burst} }}");
        self.text(&format!("domain: edge\ndescriptors:\n- key: user\n  rate_limit: {limit}\n"));
    }

    /// Replaces the file atomically: readers see the old file or the new one.
    fn text(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).expect("can be written");
        std::fs::rename(new, &self.0).expect("can be renamed");
    }
}

async fn start(test: &str) -> (File, Tollgate, Client) {
    let file = File(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("reload-{test}.yaml")));
    file.write(10, 10);
    let tollgate = Tollgate::start(&Serve::new(&file.0).args(&["--runtimes", "2"])).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("a URL");
    let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    (file, tollgate, client)
}

async fn ask(client: &mut Client, user: &str, hits: u32) -> RateLimitResponse {
    let entry = Entry { key: "user".into(), value: user.to_owned().into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: hits };
    client.should_rate_limit(request).await.expect("no request is dropped").into_inner()
}

fn current_limit(response: &RateLimitResponse) -> u32 {
    response.statuses[0].current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit)
}

fn remaining(response: &RateLimitResponse) -> u32 {
    response.statuses[0].limit_remaining
}

/// Sends requests until the limit is this one.
async fn until_limit(client: &mut Client, requests_per_day: u32) {
    let changed = clock::monotonic();
    let mut number = 0;
    while current_limit(&ask(client, &format!("other-{number}"), 1).await) != requests_per_day {
        assert!(changed.elapsed() < IN_FORCE_WITHIN, "the new limit is not in force");
        number += 1;
        sleep(Duration::from_millis(1)).await;
    }
}

async fn metric(tollgate: &Tollgate, series: &str) -> Option<u64> {
    let text = lab::http::get(tollgate.admin(), "/metrics", &[]).await.expect("answers").text();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn a_new_limit_is_in_force_within_two_seconds_and_no_request_is_dropped() {
    let (file, tollgate, mut client) = start("new-limit").await;
    until_limit(&mut client, 10).await;
    file.write(20, 20);
    until_limit(&mut client, 20).await;
    assert_eq!(metric(&tollgate, "tollgate_config_reloads_total{result=\"taken\"}").await, Some(1));
}

#[tokio::test]
async fn a_bucket_keeps_its_level_and_a_new_burst_acts_at_once() {
    let (file, _tollgate, mut client) = start("new-burst").await;
    assert_eq!(remaining(&ask(&mut client, "alice", 7).await), 3);
    file.text(
        "domain: edge
descriptors:
- key: user
  rate_limit: { unit: day, requests_per_unit: 10, burst: 8 }
- key: marker
  rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 99 }
",
    );
    let changed = clock::monotonic();
    // Seven of eight tokens are taken. A peek charges nothing.
    loop {
        let level = remaining(&ask_for_nothing(&mut client, "alice").await);
        if level == 1 {
            break;
        }
        assert_eq!(level, 3, "the level that it had");
        assert!(changed.elapsed() < IN_FORCE_WITHIN, "the new burst does not act");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ask(&mut client, "alice", 2).await.overall_code(), Code::OverLimit);
}

#[tokio::test]
async fn a_new_rate_hands_out_no_fresh_bucket_and_the_wait_that_it_means_is_told() {
    let (file, tollgate, mut client) = start("new-rate").await;
    assert_eq!(remaining(&ask(&mut client, "alice", 10).await), 0);
    file.write(100, 10);
    until_limit(&mut client, 100).await;
    let denied = ask(&mut client, "alice", 1).await;
    assert_eq!((denied.overall_code(), current_limit(&denied)), (Code::OverLimit, 100));
    // The bucket owes a day, and ten of 100 a day come back in 2.4 hours.
    let wait = denied.statuses[0].duration_until_reset.expect("a wait");
    assert!((77_760..=78_630).contains(&wait.seconds), "{wait:?}");
    let log = tollgate.log_text();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("takes less time to fill")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("WARN") && told[0].contains("denied for 22 hours"), "{}", told[0]);
    // Twice the burst at the same rate makes no key wait longer than before.
    file.write(100, 20);
    until_in_force(&tollgate, 2).await;
    assert_eq!(tollgate.log_text().matches("takes less time to fill").count(), 1);
}

/// Waits until this number of changes were taken.
async fn until_in_force(tollgate: &Tollgate, changes: u64) {
    let changed = clock::monotonic();
    while metric(tollgate, "tollgate_config_reloads_total{result=\"taken\"}").await != Some(changes) {
        assert!(changed.elapsed() < IN_FORCE_WITHIN, "the change is not in force");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn ask_for_nothing(client: &mut Client, user: &str) -> RateLimitResponse {
    let entry = Entry { key: "user".into(), value: user.to_owned().into() };
    let descriptor =
        RateLimitDescriptor { entries: vec![entry], hits_addend: Some(0), ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    client.should_rate_limit(request).await.expect("no request is dropped").into_inner()
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_and_the_last_good_one_stays() {
    let (file, tollgate, mut client) = start("bad-file").await;
    file.text("domain: edge\ndescriptors:\n- key: user\n  rate_limit: { unit: fortnight, burst: x }\n");
    let written = clock::monotonic();
    while metric(&tollgate, "tollgate_config_stale").await != Some(1) {
        assert!(written.elapsed() < Duration::from_secs(5), "nobody noticed");
        assert_eq!(current_limit(&ask(&mut client, "alice", 1).await), 10);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(current_limit(&ask(&mut client, "bob", 1).await), 10);
    assert_eq!(metric(&tollgate, "tollgate_config_reloads_total{result=\"refused\"}").await, Some(1));

    file.write(30, 30);
    until_limit(&mut client, 30).await;
    assert_eq!(metric(&tollgate, "tollgate_config_stale").await, Some(0));
}

/// 2 a year, of which one is taken: a bucket has the next token in half a year, on any day of a window's year.
#[tokio::test]
async fn after_a_reload_limits_still_count_as_the_process_was_told() {
    const HALF_A_YEAR_S: i64 = 31_536_000 / 2;
    let file = File(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reload-default-algorithm.yaml"));
    let yearly = |requests| {
        let limit = format!("{{ unit: year, requests_per_unit: {requests} }}");
        format!("domain: edge\ndescriptors:\n- key: user\n  rate_limit: {limit}\n")
    };
    file.text(&yearly(1));
    let serve = Serve::new(&file.0).args(&["--default-algorithm", "token_bucket"]);
    let tollgate = Tollgate::start(&serve).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    file.text(&yearly(2));
    until_limit(&mut client, 2).await;
    let first = ask(&mut client, "fresh", 1).await;
    let reset = first.statuses[0].duration_until_reset.as_ref().expect("a wait").seconds;
    assert!((HALF_A_YEAR_S - 60..=HALF_A_YEAR_S).contains(&reset), "{reset}");
}

#[tokio::test]
async fn a_member_that_moves_to_another_tier_is_there_within_two_seconds() {
    let (file, _tollgate, mut client) = start("members").await;
    let members = File(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reload-members-list.yaml"));
    members.text("paid: []\n");
    file.text(
        "domain: edge
tiers:
  free: [{ unit: day, algorithm: token_bucket, requests_per_unit: 11 }]
  paid: [{ unit: day, algorithm: token_bucket, requests_per_unit: 22 }]
members: { file: reload-members-list.yaml, key: user, default: free }
descriptors: [{ key: user, tier: from_members }]
",
    );
    until_limit(&mut client, 11).await;
    assert_eq!(current_limit(&ask(&mut client, "alice", 1).await), 11);
    members.text("paid: [alice]\n");
    let changed = clock::monotonic();
    while current_limit(&ask(&mut client, "alice", 1).await) != 22 {
        assert!(changed.elapsed() < IN_FORCE_WITHIN, "the new members are not in force");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(current_limit(&ask(&mut client, "bob", 1).await), 11);
}

/// A file of a folder, with limits for one key.
fn limits_file(domain: &str, requests_per_day: u32) -> String {
    let limit = format!("{{ unit: day, requests_per_unit: {requests_per_day} }}");
    format!("domain: {domain}\ndescriptors:\n- key: user\n  rate_limit: {limit}\n")
}

#[tokio::test]
async fn a_file_that_is_added_to_a_folder_is_in_force_within_two_seconds_and_so_is_a_removal() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reload-folder");
    // Removes what an earlier run has left.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("can be created");
    let other = File(folder.join("other.yaml"));
    other.text(&limits_file("other", 1));
    let tollgate = Tollgate::start(&Serve::new(&folder)).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("a URL");
    let mut client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    let no_limit = ask(&mut client, "alice", 1).await;
    assert_eq!(no_limit.statuses[0].current_limit, None, "no file names the domain");

    File(folder.join("edge.yml")).text(&limits_file("edge", 7));
    let written = clock::monotonic();
    while ask(&mut client, "alice", 1).await.statuses[0].current_limit.is_none() {
        assert!(written.elapsed() < IN_FORCE_WITHIN, "the new file is not in force");
        sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(folder.join("edge.yml")).expect("it is ours");
    let removed = clock::monotonic();
    while ask(&mut client, "alice", 1).await.statuses[0].current_limit.is_some() {
        assert!(removed.elapsed() < IN_FORCE_WITHIN, "the file that is gone is in force");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reload_that_leaves_no_limit_is_in_force_and_is_warned_of() {
    let (file, tollgate, mut client) = start("no-limit").await;
    until_limit(&mut client, 10).await;
    file.text("domain: edge\n");
    let written = clock::monotonic();
    let warned = |log: &str| {
        log.lines().any(|line| line.contains("WARN") && line.contains("has no limits: every request passes"))
    };
    while !warned(&tollgate.log_text()) {
        assert!(written.elapsed() < Duration::from_secs(5), "nobody is warned: {}", tollgate.log_text());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&mut client, "alice", 1).await.statuses[0].current_limit, None);
    assert_eq!(metric(&tollgate, "tollgate_config_reloads_total{result=\"taken\"}").await, Some(1));
}
