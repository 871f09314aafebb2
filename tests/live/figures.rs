//! The figures of the seconds, against those of `/metrics`.

use serde_json::{Value, json};

use crate::{
    Service,
    stream::{Stream, row},
};

/// Adds up a figure of a rule over the messages.
fn add(sums: &mut [u64; 3], message: &Value, rule: &str) {
    for (sum, field) in sums.iter_mut().zip(["admitted", "denied", "would_deny"]) {
        *sum += row(message, rule)[field].as_u64().expect("a count");
    }
}

#[tokio::test]
async fn the_seconds_add_up_to_what_the_metrics_count() {
    let mut service = Service::plain("figures", &[]).await;
    let mut stream = Stream::open(service.process.admin(), "/live").await;
    assert!(stream.head.contains("text/event-stream") && stream.head.contains("no-store"), "{}", stream.head);
    let first = stream.message().await.expect("a first message");
    assert_eq!(row(&first, "api_key")["limits"][0]["burst"], 10);
    let (mut keys, mut shadows) = ([0; 3], [0; 3]);
    add(&mut keys, &first, "api_key");
    add(&mut shadows, &first, "shadow");
    for client in ["a", "b", "c"] {
        service.ask_times("api_key", client, 13).await;
    }
    service.ask_times("shadow", "a", 4).await;
    let last = stream
        .until(|message| {
            add(&mut keys, message, "api_key");
            add(&mut shadows, message, "shadow");
            keys.iter().sum::<u64>() >= 39 && shadows.iter().sum::<u64>() >= 4
        })
        .await;
    assert_eq!((keys, shadows), ([30, 9, 0], [1, 0, 3]));
    let page = service.page("/metrics").await;
    let total = |verdict: &str, count: u64| {
        format!(
            "tollgate_decisions_total{{domain=\"edge\",rule=\"api_key\",source=\"store\",verdict=\"{verdict}\"}} {count}\n"
        )
    };
    for line in [total("allow", 30), total("deny", 9)] {
        assert!(page.contains(&line), "{line}{page}");
    }
    let keys = row(&last, "api_key");
    assert_eq!((&keys["keys_over"], &keys["share"]), (&json!(3), &json!(1.0)), "{keys:#}");
    assert!(keys["last_denial_ms"].as_u64() > Some(1_700_000_000_000));
    assert_eq!(row(&last, "idle")["share"], Value::Null);
    assert_eq!(last["limiter"]["store"]["kind"], "memory");
    assert_eq!(last["limiter"]["connections"], 1);
    assert_eq!(last["limiter"]["rules"]["limits"], 3);
}

#[tokio::test]
async fn a_denial_shows_within_two_seconds() {
    let mut service = Service::plain("soon", &[]).await;
    let mut stream = Stream::open(service.process.admin(), "/live").await;
    stream.message().await.expect("a first message");
    service.ask_times("api_key", "a", 11).await;
    let asked = tollgate::clock::monotonic();
    stream.until(|message| row(message, "api_key")["denied"] == 1).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_reader_that_opens_the_page_sees_what_was_before() {
    let mut service = Service::plain("past", &[]).await;
    service.ask_times("api_key", "a", 12).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let mut stream = Stream::open(service.process.admin(), "/live").await;
    let first = stream.message().await.expect("a first message");
    let history = &row(&first, "api_key")["history"];
    let sum = |field: &str| {
        history[field].as_array().expect("numbers").iter().filter_map(Value::as_u64).sum::<u64>()
    };
    assert_eq!((sum("admitted"), sum("denied")), (10, 2), "{history}");
    let second = stream.message().await.expect("a second message");
    assert_eq!(row(&second, "api_key").get("history"), None);
    let mut returned = Stream::open(service.process.admin(), "/live?history=0").await;
    let first = returned.message().await.expect("a first message");
    assert_eq!(row(&first, "api_key").get("history"), None);
}

#[tokio::test]
async fn the_top_keys_of_a_rule_are_those_that_ask_most() {
    let mut service = Service::plain("top", &[]).await;
    for (client, times) in [("few", 2), ("most", 14), ("some", 5)] {
        service.ask_times("api_key", client, times).await;
    }
    let mut stream = Stream::open(service.process.admin(), "/live?domain=edge&rule=api_key").await;
    let message = stream.until(|message| message["top"]["keys"][2]["decisions"] == 2).await;
    let keys = message["top"]["keys"].as_array().expect("keys");
    let told: Vec<_> = keys.iter().map(|key| (&key["decisions"], &key["denied"], &key["state"])).collect();
    let wanted = [(14, 4, "over"), (5, 0, "ok"), (2, 0, "ok")]
        .map(|(all, denied, state)| (json!(all), json!(denied), json!(state)));
    assert!(
        told.iter().zip(&wanted).all(|(told, (all, denied, state))| *told == (all, denied, state)),
        "{told:?}"
    );
    assert_eq!((&keys[0]["values"], &message["top"]["left_out_at_most"]), (&Value::Null, &json!(0)));
    assert!(keys[0]["name"].as_str().is_some_and(|name| name.starts_with("c-")));
    let unknown =
        Stream::open(service.process.admin(), "/live?domain=edge&rule=unknown").await.message().await;
    assert_eq!(unknown.expect("a message")["top"], Value::Null);
}

#[tokio::test]
async fn values_show_only_if_a_flag_says_so_and_are_cut() {
    let long = "<script>".repeat(7_000);
    for (name, flags, shows) in [("hidden", &[][..], false), ("shown", &["--show-values"][..], true)] {
        let mut service = Service::plain(name, flags).await;
        for value in ["\u{202e}evil\"", &long] {
            service.ask_times("api_key", value, 11).await;
        }
        let mut stream = Stream::open(service.process.admin(), "/live?domain=edge&rule=api_key").await;
        let message = stream
            .until(|message| message["top"]["keys"].as_array().is_some_and(|keys| keys.len() == 2))
            .await;
        assert_eq!(message["show_values"], shows);
        let events = service.until("/events", "denials_began").await;
        for text in [message.to_string(), events] {
            assert_eq!(text.contains("evil") || text.contains("<script>"), shows, "{text}");
            assert!(text.len() < 20_000, "{}", text.len());
        }
        let values: Vec<&str> =
            (0..2).filter_map(|at| message["top"]["keys"][at]["values"].as_str()).collect();
        assert_eq!(values.len(), if shows { 2 } else { 0 });
        assert!(values.iter().all(|value| value.starts_with("api_key=") && value.len() <= 203), "{values:?}");
    }
}
