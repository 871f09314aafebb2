//! Levels from a real Redis, which is only read.

use std::time::Duration;

use redis::{Connection, cmd};
use tollgate::store::{Backend, memory::MemoryStore};
use tollgate_core::{
    decision::{Demand, Take, Takes},
    descriptor::{BucketKey, Hits},
    limit::{AfterStoreLoss, Algorithm, Limit, LimitSpec, Overdraft, Period, Unit},
};

use super::{assert_shows, explain, explain_json, support};

/// Everything that Redis holds, with the times of expiry.
fn all(connection: &mut Connection) -> Vec<(String, Vec<u8>, i64)> {
    let mut keys: Vec<String> = cmd("KEYS").arg("*").query(connection).expect("keys");
    keys.sort();
    let all = keys.into_iter().map(|key| {
        let value = cmd("DUMP").arg(&key).query(connection).expect("a value");
        let expiry = cmd("EXPIRETIME").arg(&key).query(connection).expect("an expiry");
        (key, value, expiry)
    });
    all.collect()
}

#[tokio::test]
async fn live_levels_are_those_of_redis_and_nothing_is_written() {
    let Some(redis) = support::redis().await else { return };
    let (mut connection, url) = (support::connection(&redis), redis.url());
    let live = |hits| explain_json("live", &["--store", &url, "route=login", "api_key=a", "--hits", hits]);
    let (status, json) = live("5");
    assert_eq!((status, &json["descriptors"][0]["limits"][0]["level"]), (Some(0), &5.into()));
    assert_eq!(all(&mut connection), [], "nothing is written to an empty Redis either");

    let bucket = json["descriptors"][0]["limits"][0]["bucket"].as_str().expect("a key").to_owned();
    let limit = Limit::new(5, Unit::Hour, None).expect("sound");
    let entries = [(&b"route"[..], &b"login"[..]), (b"api_key", b"a")].map(Into::into);
    let key = BucketKey::new(b"edge", entries.into_iter(), &limit, None);
    let take = Take { key, demand: Demand::new(Hits::Take(3), &limit) };
    let store = support::open(&redis, Duration::from_secs(2)).await;
    store.take(Takes::from_elem(take, 1)).await.expect("an answer");
    drop(store);
    let exists: bool = cmd("EXISTS").arg(&bucket).query(&mut connection).expect("an answer");
    assert!(exists, "redis-cli finds the bucket under the key that is shown");

    let before = all(&mut connection);
    for (hits, expected) in [("0", 0), ("2", 0), ("3", 1)] {
        let (status, json) = live(hits);
        let limit = &json["descriptors"][0]["limits"][0];
        assert_eq!((status, &limit["level"]), (Some(expected), &2.into()), "{json}");
        assert_eq!(json["store"], url.as_str());
    }
    assert_eq!(all(&mut connection), before);
    let (_, text) = explain("live", &["--store", &url, "route=login", "api_key=a"]);
    assert_shows(
        &text,
        &["2 left now, the hits fit", "would be allowed, by the buckets in redis://", "charging nothing"],
    );

    let () = cmd("SET").arg(&bucket).arg("nonsense").query(&mut connection).expect("is set");
    let (_, json) = live("1");
    assert_eq!(
        (&json["malformed_buckets"], &json["descriptors"][0]["limits"][0]["level"]),
        (&1.into(), &5.into())
    );
}

/// The rights that docs/redis.md gives to the user of the service are enough.
#[tokio::test]
async fn explain_needs_no_more_rights_than_the_service() {
    let Some(redis) = support::redis().await else { return };
    let page = include_str!("../../docs/redis.md");
    let rule =
        page.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("the page has the rule");
    let () = cmd("ACL")
        .arg("SETUSER")
        .arg(rule.split(' ').collect::<Vec<_>>())
        .query(&mut support::connection(&redis))
        .expect("a user");
    let url = redis.url().replace("redis://", "redis://tollgate:password@");
    let (status, json) = explain_json("rights", &["--store", &url, "route=login", "api_key=a"]);
    assert_eq!((status, &json["descriptors"][0]["limits"][0]["level"]), (Some(0), &5.into()));
    assert!(!json.to_string().contains("password"), "{json}");
}

/// A copy of what was looked at answers as Redis does.
#[tokio::test]
async fn a_take_from_the_copy_is_answered_as_redis_answers_it() {
    let Some(redis) = support::redis().await else { return };
    let Backend::Redis(backend) = Backend::parse(&redis.url()).expect("a URL") else { panic!("Redis") };
    let store = support::open(&redis, Duration::from_secs(2)).await;
    let period = Period { unit: Unit::Year, multiplier: 1 };
    let mut limits = Vec::new();
    for algorithm in Algorithm::ALL {
        for after_store_loss in AfterStoreLoss::ALL {
            for overdraft in Overdraft::ALL {
                let spec = LimitSpec { algorithm, after_store_loss, overdraft, ..LimitSpec::new(7, period) };
                // Some combinations are refused: a log cannot be overdrawn.
                limits.extend(spec.check());
            }
        }
    }
    assert!(limits.len() > 6, "{limits:?}");
    for (number, limit) in (1..).zip(&limits) {
        for hits in [
            Hits::Take(2),
            Hits::GiveBack(1),
            Hits::Take(3),
            Hits::Peek,
            Hits::Take(1),
            Hits::Take(4),
            Hits::Take(2),
        ] {
            let key = BucketKey::from_bytes([number; 16]);
            let take = Take { key, demand: Demand::new(hits, limit) };
            let looked = backend.look(&[take]).await.expect("is read");
            let copy = MemoryStore::copy_of(looked.now_us, looked.epoch_us, looked.states);
            let copied = copy.take_at(&[take], looked.now_us).expect("has room");
            let taken = store.take(Takes::from_elem(take, 1)).await.expect("an answer");
            assert_eq!(copied.verdict, taken.verdict, "{limit:?} {hits:?}: {copied:?} {taken:?}");
            if looked.epoch_us != looked.now_us && limit.after_store_loss() == AfterStoreLoss::Full {
                assert_eq!(copied.found, taken.found, "{limit:?} {hits:?}");
            }
        }
    }
}
