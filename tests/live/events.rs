//! What happened, at `/events`.

use std::fs;

use serde_json::Value;

use crate::{LIMITS, Service, support};

fn lines(page: &str) -> Vec<Value> {
    page.lines().map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().expect("a kind")).collect()
}

#[tokio::test]
async fn denials_are_told_when_they_begin_and_when_they_have_ended() {
    let mut service = Service::plain("denials", &[]).await;
    service.ask_times("api_key", "secret-value", 13).await;
    let began = lines(&service.until("/events", "denials_began").await);
    assert_eq!(kinds(&began), ["denials_began"]);
    assert_eq!((&began[0]["domain"], &began[0]["rule"]), (&"edge".into(), &"api_key".into()));
    let id = began[0]["id"].as_u64().expect("a number");
    assert_eq!(service.page(&format!("/events?after={id}")).await, "", "nothing is told twice");

    let ended = lines(&service.until(&format!("/events?after={id}"), "denials_ended").await);
    assert_eq!(kinds(&ended), ["denials_ended"]);
    assert_eq!((&ended[0]["denied"], &ended[0]["name"]), (&3.into(), &began[0]["name"]));
    assert!(ended[0]["id"].as_u64() > Some(id));
}

#[tokio::test]
async fn a_changed_configuration_is_told_with_its_errors() {
    let file = support::file("live-config.yaml", LIMITS);
    let service = Service::start(&file, None, &[]).await;
    assert_eq!(service.page("/events").await, "");
    fs::write(&file, LIMITS.replace("unit: second", "unit: eon")).expect("can be written");
    let refused = lines(&service.until("/events", "config_refused").await);
    let errors = refused[0]["errors"].as_array().expect("errors");
    assert!(errors[0].as_str().is_some_and(|error| error.contains("eon")), "{errors:?}");
    fs::write(&file, LIMITS.replace("burst: 50", "burst: 60")).expect("can be written");
    let taken = lines(&service.until("/events", "config_taken").await);
    assert_eq!(kinds(&taken), ["config_refused", "config_taken"]);
    assert_eq!((&taken[1]["limits"], &taken[1]["domains"]), (&3.into(), &1.into()));
    assert_eq!(taken[1]["version"].as_str().map(str::len), Some(12));
}

#[tokio::test]
async fn a_cursor_that_is_too_old_is_told_of_a_gap() {
    let mut service = Service::plain("gap", &[]).await;
    service.ask_times("api_key", "a", 11).await;
    service.until("/events", "denials_began").await;
    let events = lines(&service.page("/events?after=17").await);
    assert_eq!(kinds(&events), ["gap", "denials_began"]);
    assert_eq!(events[0]["missed"], Value::Null, "of another process");
    assert_eq!(events[0]["id"].as_u64().map(|id| id + 1), events[1]["id"].as_u64());
    assert!(service.page("/events?after=x").await.contains("whole number"));
}

#[tokio::test]
async fn a_store_that_goes_and_comes_back_is_told() {
    let Some(mut redis) = support::redis().await else { return };
    let file = support::file("live-store.yaml", LIMITS);
    let service = Service::start(&file, Some(redis.url()), &[]).await;
    service.until("/ready", "OK").await;
    // An event is told of what the store was like a second ago.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    redis.kill();
    service.until("/events", "store_lost").await;
    redis.restart().await.expect("starts again");
    let events = lines(&service.until("/events", "store_back").await);
    assert!(kinds(&events).starts_with(&["store_lost", "store_back"]), "{events:?}");
}
