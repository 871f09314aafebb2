//! Each example does what its comments say.

mod support;

use std::time::Duration;

use lab::{
    binaries,
    tollgate::{Serve, Tollgate},
};
use tollgate::{
    clock,
    pb::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse, rate_limit_descriptor::Entry,
        rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

struct Example {
    domain: &'static str,
    client: RateLimitServiceClient<Channel>,
    _process: Tollgate,
}

/// The entries as `key=value`, and the hits.
type Asked<'a> = (&'a [&'a str], Option<u64>);

async fn example(name: &'static str) -> Example {
    let file = binaries::checkout().join(format!("examples/{name}.yaml"));
    let process = Tollgate::start(&Serve::new(file)).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
    let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    Example { domain: name, client, _process: process }
}

impl Example {
    async fn ask_all(&mut self, asked: &[Asked<'_>]) -> RateLimitResponse {
        let entry = |pair: &&str| {
            let (key, value) = pair.split_once('=').expect("key=value");
            Entry { key: key.to_owned().into(), value: value.to_owned().into() }
        };
        let descriptor = |(entries, hits): &Asked<'_>| RateLimitDescriptor {
            entries: entries.iter().map(entry).collect(),
            hits_addend: *hits,
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: self.domain.to_owned(),
            descriptors: asked.iter().map(descriptor).collect(),
            hits_addend: 0,
        };
        self.client.should_rate_limit(request).await.expect("an answer").into_inner()
    }

    async fn ask(&mut self, entries: &[&str]) -> RateLimitResponse {
        self.ask_all(&[(entries, None)]).await
    }

    /// The number of requests that pass, of this number sent at once.
    async fn passing(&mut self, entries: &[&str], of: usize) -> usize {
        let mut passing = 0;
        for _ in 0..of {
            passing += usize::from(self.ask(entries).await.overall_code() == Code::Ok);
        }
        passing
    }
}

fn header(response: &RateLimitResponse, name: &str) -> Option<String> {
    let header = response.response_headers_to_add.iter().find(|header| header.key == name.as_bytes())?;
    Some(String::from_utf8(header.value.to_vec()).expect("ASCII"))
}

#[tokio::test]
async fn burst_admits_its_burst_at_once_and_a_multiplied_unit_refills_slowly() {
    let mut burst = example("burst").await;
    let passing = burst.passing(&["user=u"], 80).await;
    assert!((50..60).contains(&passing), "{passing} of 50 and what came back meanwhile");
    assert_eq!(burst.passing(&["report=r"], 3).await, 1);
    let denied = burst.ask(&["report=r"]).await;
    let reset = denied.statuses[0].duration_until_reset.expect("a wait").seconds;
    assert!((118..=120).contains(&reset), "a token every two minutes: {reset}");
}

#[tokio::test]
async fn quota_denies_by_the_limit_that_is_used_up_first_and_charges_both_or_none() {
    let mut quota = example("quota").await;
    assert_eq!(quota.passing(&["api_key=k"], 15).await, 10);
    let denied = quota.ask(&["api_key=k"]).await;
    assert_eq!(header(&denied, "ratelimit-limit").as_deref(), Some("10"), "the burst of the rate speaks");
    let others = quota.ask(&["api_key=other"]).await;
    assert_eq!(header(&others, "ratelimit-remaining").as_deref(), Some("9"));
}

#[tokio::test]
async fn tiers_come_from_the_members_file_or_from_an_entry() {
    let mut tiers = example("tiers").await;
    let limit =
        async |tiers: &mut Example, entries: &[&str]| header(&tiers.ask(entries).await, "ratelimit-limit");
    assert_eq!(limit(&mut tiers, &["api_key=stranger"]).await.as_deref(), Some("10"));
    assert_eq!(limit(&mut tiers, &["api_key=alice-key"]).await.as_deref(), Some("200"));
    assert_eq!(limit(&mut tiers, &["api_key=test"]).await.as_deref(), Some("200"), "by its digest");
    assert_eq!(limit(&mut tiers, &["plan=paid", "api_key=x"]).await.as_deref(), Some("200"));
    assert_eq!(limit(&mut tiers, &["plan=gold", "api_key=x"]).await.as_deref(), Some("10"));
    assert_eq!(tiers.passing(&["plan=paid", "api_key=y"], 60).await, 60);
    assert_eq!(tiers.passing(&["plan=free", "api_key=y"], 60).await, 10);
}

#[tokio::test]
async fn login_admits_ten_in_every_five_minutes() {
    let mut login = example("login").await;
    assert_eq!(login.passing(&["path=/login", "remote_address=10.0.0.1"], 20).await, 10);
    let denied = login.ask(&["path=/login", "remote_address=10.0.0.1"]).await;
    let reset = denied.statuses[0].duration_until_reset.expect("a wait").seconds;
    assert!((295..=300).contains(&reset), "until the first one leaves: {reset}");
    assert_eq!(login.passing(&["path=/", "remote_address=10.0.0.1"], 10).await, 10);
}

#[tokio::test]
async fn wildcards_share_one_bucket_and_the_bare_key_has_one_for_each_value() {
    let mut wildcards = example("wildcards").await;
    let first = wildcards.ask_all(&[(&["path=/img/a.png"], Some(60))]).await;
    let second = wildcards.ask(&["path=/img/b.png"]).await;
    assert_eq!(first.statuses[0].limit_remaining, 40);
    // One token comes back every 10 ms. In a bucket of its own, 99 would be left.
    let remaining = second.statuses[0].limit_remaining;
    assert!((39..99).contains(&remaining), "{remaining}");
    let other = wildcards.ask(&["path=/a"]).await;
    assert_eq!(other.statuses[0].limit_remaining, 4);
}

#[tokio::test]
async fn shadow_denies_nothing_and_quotas_deny_together() {
    // Its quotas count in windows of days and months.
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let mut shadow = example("shadow").await;
    assert_eq!(shadow.passing(&["user=u"], 20).await, 20);
    let both: [Asked<'_>; 2] = [(&["prepaid=p"], None), (&["monthly=m"], None)];
    let mut passing = 0;
    for _ in 0..6 {
        passing += usize::from(shadow.ask_all(&both).await.overall_code() == Code::Ok);
    }
    assert_eq!(passing, 3, "two while both have room, one more by the other");
}

#[tokio::test]
async fn post_paid_charges_what_does_not_fit_and_then_denies_the_peek() {
    let mut post_paid = example("post-paid").await;
    let peek: Asked<'_> = (&["model_user=u"], Some(0));
    let bill: Asked<'_> = (&["model_user=u"], Some(1_500));
    assert_eq!(post_paid.ask_all(&[peek]).await.overall_code(), Code::Ok);
    assert_eq!(post_paid.ask_all(&[bill]).await.overall_code(), Code::OverLimit);
    let denied = post_paid.ask_all(&[peek]).await;
    assert_eq!(denied.overall_code(), Code::OverLimit);
    let reset = denied.statuses[0].duration_until_reset.expect("a wait").seconds;
    assert!((29..=31).contains(&reset), "500 are owed, at 1,000 a minute: {reset}");
}

#[tokio::test]
async fn outage_answers_as_each_limit_says() {
    let file = binaries::checkout().join("examples/outage.yaml");
    // Nothing listens on port 1.
    let serve = Serve::new(file).store("redis://127.0.0.1:1").args(&["--replicas", "2"]);
    let process = Tollgate::start(&serve).await.expect("starts");
    let channel = Channel::from_shared(format!("http://{}", process.grpc())).expect("an address");
    let client = RateLimitServiceClient::new(channel.connect().await.expect("connects"));
    let mut outage = Example { domain: "outage", client, _process: process };
    let passing = outage.passing(&["user=u"], 20).await;
    assert!((5..=6).contains(&passing), "half of ten is this replica's share: {passing}");
    assert_eq!(outage.passing(&["search=s"], 30).await, 30);
    let answer =
        outage.ask(&["search=s"]).await.dynamic_metadata.expect("a fallback answer says that it is one");
    let source = answer.fields["source"].kind.as_ref();
    assert_eq!(source, Some(&prost_types::value::Kind::StringValue("allow".to_owned())));
    let denied = outage.ask(&["password=p"]).await;
    assert_eq!(denied.overall_code(), Code::OverLimit);
    let body = String::from_utf8(denied.raw_body.to_vec()).expect("UTF-8");
    assert!(body.contains("cannot be checked at the moment"), "{body}");
    let entry = Entry { key: "partner".into(), value: "p".into() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request =
        RateLimitRequest { domain: "outage".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    let error = outage.client.should_rate_limit(request).await.expect_err("no answer");
    assert_eq!(error.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn drop_in_matches_as_the_reference_does() {
    lab::midnight::not_within(Duration::from_secs(60)).await;
    let mut drop_in = example("drop-in").await;
    let limit = |response: &RateLimitResponse| {
        response.statuses[0].current_limit.as_ref().map(|limit| limit.requests_per_unit)
    };
    assert_eq!(limit(&drop_in.ask(&["tenant=acme"]).await), Some(300));
    assert_eq!(limit(&drop_in.ask(&["tenant=acme", "op=import"]).await), Some(40));
    assert_eq!(limit(&drop_in.ask(&["tenant=acme", "op=delete"]).await), None, "the parent is no fallback");
    assert_eq!(limit(&drop_in.ask(&["tenant=other"]).await), Some(30));
    let midnight = 86_400 - i64::try_from(clock::unix_us() / 1_000_000 % 86_400).expect("within a day");
    let used = drop_in.ask_all(&[(&["tenant=acme"], Some(299))]).await;
    let reset = used.statuses[0].duration_until_reset.expect("a wait").seconds;
    assert!((midnight - 60..=midnight).contains(&reset), "a day ends at midnight in UTC, as there: {reset}");
    let staff = drop_in.ask(&["staff=s"]).await;
    assert_eq!((limit(&staff), staff.statuses[0].limit_remaining), (None, u32::MAX));
    let replaced = drop_in.ask_all(&[(&["tenant=acme"], None), (&["campaign=c"], None)]).await;
    assert_eq!(limit(&replaced), None, "the campaign stands in for it");
    assert!(replaced.statuses[1].current_limit.is_some());
}
