//! Several replicas on one Redis.

use std::time::Duration;

use redis::{Commands as _, Connection};
use serde_json::{Value, json};

use crate::{
    LIMITS, Service,
    stream::{Stream, row},
    support,
};

fn shown(admin: &mut Connection) -> Vec<String> {
    let mut keys: Vec<String> = admin.keys("tg:{live}*").expect("keys");
    keys.sort();
    keys
}

#[tokio::test]
async fn any_replica_shows_the_sum_of_all_and_each_ones_part() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let file = support::file("live-replicas.yaml", LIMITS);
    let mut one = Service::start(&file, Some(redis.url()), &[]).await;
    let mut other = Service::start(&file, Some(redis.url()), &[]).await;
    for service in [&one, &other] {
        service.until("/ready", "OK").await;
    }
    one.ask_times("api_key", "a", 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(shown(&mut connection), Vec::<String>::new(), "nobody watches");

    let path = "/live?domain=edge&rule=api_key&entries=api_key%3Da";
    let mut stream = Stream::open(one.process.admin(), path).await;
    let message =
        stream.until(|message| message["replicas"].as_array().is_some_and(|all| all.len() == 2)).await;
    let name = message["replicas"][1]["name"].as_str().expect("a name").to_owned();
    assert_eq!(message["replicas"][0]["is_this"], true);
    assert_eq!(message["replicas"][1]["rules_version"], message["replicas"][0]["rules_version"]);
    // The other replica counts a key only once it has heard that somebody watches it.
    for _ in 0..5 {
        stream.message().await.expect("a message");
    }
    other.ask_times("api_key", "a", 11).await;
    let (mut sum, mut part) = ([0; 2], [0; 2]);
    let message = stream
        .until(|message| {
            let keys = row(message, "api_key");
            let parts = keys["parts"].as_array().expect("parts");
            let of_other = parts.iter().find(|part| part["replica"] == name.as_str()).unwrap_or(&Value::Null);
            for (at, field) in ["admitted", "denied"].into_iter().enumerate() {
                sum[at] += keys[field].as_u64().expect("a count");
                part[at] += of_other[field].as_u64().unwrap_or_default();
            }
            sum[0] + sum[1] >= 11
        })
        .await;
    assert_eq!((sum, part), ([9, 2], [9, 2]), "{message:#}");
    assert_eq!(row(&message, "api_key")["keys_over"], 1);
    let message = stream.until(|message| message["top"]["keys"][0]["decisions"] == 12).await;
    assert_eq!(message["top"]["keys"].as_array().map(Vec::len), Some(1), "one key has one name: {message:#}");
    let message = stream.until(|message| message["key"]["limits"][0]["admitted"] == 9).await;
    assert_eq!(message["key"]["limits"][0]["level"], 0);
    let of_other = |event: &Value| event["kind"] == "denials_began" && event["replica"] == name.as_str();
    let mut again = Stream::open(one.process.admin(), "/live").await;
    let first = again.message().await.expect("a first message");
    assert!(first["events"].as_array().is_some_and(|events| events.iter().any(of_other)), "{first:#}");

    drop((stream, again));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(shown(&mut connection), ["tg:{live}:secret"], "nobody watches any more");
}

#[tokio::test]
async fn what_makes_no_sense_in_redis_is_left_out() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let file = support::file("live-nonsense.yaml", LIMITS);
    let mut service = Service::start(&file, Some(redis.url()), &[]).await;
    service.until("/ready", "OK").await;
    let mut stream = Stream::open(service.process.admin(), "/live?domain=edge&rule=api_key").await;
    stream.message().await.expect("a message");
    let far = u64::MAX / 4;
    let huge = json!({ "v": 1, "name": "beef", "second": far, "rows": [["edge", "api_key", [far, far, far, far]], 7],
        "left": "x", "tops": [{ "domain": "edge", "rule": "api_key", "keys": [{ "name": 5 }, "x"] }], "events": 9 });
    for (name, text) in
        [("beef", huge.to_string()), ("dead", "[[[[".to_owned()), ("f00d", "x".repeat(1 << 20))]
    {
        let ends = 4_000 + tollgate::clock::unix_us() / 1_000;
        let () =
            connection.set("tg:{live}:names", format!("{name} {ends}\n{name}\nno line at all")).expect("set");
        let () = connection.set(format!("tg:{{live}}:{name}"), text).expect("set");
        for _ in 0..2 {
            stream.message().await.expect("the stream goes on");
        }
    }
    service.ask_times("api_key", "a", 11).await;
    stream.until(|message| row(message, "api_key")["denied"] == 1).await;
    assert!(service.page("/metrics").await.contains("tollgate_panics_total{task=\"live\"} 0\n"));
}
