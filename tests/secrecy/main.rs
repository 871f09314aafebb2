//! Secrets stay secret: values of requests and the store's password are in no key, log, page or error.
//!
//! Each secret is a word that occurs nowhere else, so it is enough to look for it. All of them are sent in every way in
//! which they really arrive, through everything that can go wrong, with the most detailed log.

mod service;
#[path = "../support/mod.rs"]
mod support;

use redis::{Connection, cmd};
use service::{Metadata, Service, descriptor};
use support::exposed::{Exposed, shows};
use tollgate::pb::rate_limit_response::Code as Overall;

// Short enough to fit whole into the 16 bytes that name a bucket.
const VALUE: &str = "canary-key";
const UNMATCHED: &str = "canary-stray";
const DOMAIN: &str = "canary-home";
const PASSWORD: &str = "canary-pass";
const MEMBER: &str = "canary-paid";
const OVERRIDDEN: &str = "canary-own";
const MALFORMED: &str = "canary-junk";
/// The domain and the keys are no secrets: they come from Envoy's configuration, and a warning names those without a
/// rule.
const CANARIES: [&str; 6] = [VALUE, UNMATCHED, PASSWORD, MEMBER, OVERRIDDEN, MALFORMED];

const LIMITS: &str = "
domain: edge
tiers:
  free: [{ unit: day, algorithm: token_bucket, requests_per_unit: 1 }]
  paid: [{ unit: day, algorithm: token_bucket, requests_per_unit: 2 }]
members: { file: MEMBERS, key: member, default: free }
descriptors:
- { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
- { key: member, tier: from_members }
";

// === Redis ===

/// Sets the password of the user that Tollgate logs in as.
fn let_in_with(password: &str, admin: &mut Connection) {
    let user = ["SETUSER", "tollgate", "on", "resetpass", &format!(">{password}"), "~*", "+@all"];
    let () = cmd("ACL").arg(&user).query(admin).expect("a user");
}

/// The number of buckets.
fn note_redis(exposed: &mut Exposed, admin: &mut Connection) -> usize {
    // Otherwise DUMP would show long values compressed.
    let () = cmd("CONFIG").arg(&["SET", "rdbcompression", "no"]).query(admin).expect("is set");
    let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(admin).expect("keys");
    for key in &keys {
        let value: Vec<u8> = cmd("DUMP").arg(key).query(admin).unwrap_or_default();
        exposed.note(format_args!("the value of {}", key.escape_ascii()), value);
        exposed.note("a key", key.clone());
    }
    keys.iter().filter(|key| !matches!(&key[..], b"tg:replicas" | b"tg:epoch" | b"tg:{live}:secret")).count()
}

// === the promises ===

#[tokio::test]
async fn no_value_of_a_request_and_no_password_shows_in_any_key_log_page_or_error() {
    tells_no_secret("quiet", Metadata::OnlyFallbackAnswers).await;
}

#[tokio::test]
async fn where_answers_repeat_the_request_nothing_else_shows_more() {
    tells_no_secret("loud", Metadata::Asked).await;
}

async fn tells_no_secret(name: &str, metadata: Metadata) {
    let Some(mut redis) = support::redis().await else { return };
    let mut admin = support::connection(&redis);
    let members = support::file(&format!("secrecy-{name}-members.yaml"), &format!("paid: [{MEMBER}]\n"));
    let text = LIMITS.replace("MEMBERS", &format!("secrecy-{name}-members.yaml"));
    let limits = support::file(&format!("secrecy-{name}.yaml"), &text);
    let store = format!("redis://tollgate:{PASSWORD}@{}", redis.addr());
    let mut service = Service::start(&limits, store, metadata).await;
    service.until("/ready", "cannot be used").await;
    service.note_pages("with a password that is wrong").await;

    let_in_with(PASSWORD, &mut admin);
    service.until("/ready", "OK").await;
    service.ask_everything().await;
    let denied = service.ask("edge", vec![descriptor("api_key", VALUE)]).await;
    assert_eq!(denied.expect("an answer"), Overall::OverLimit);
    service.note_pages("in good days").await;
    let asked_for = [VALUE, MEMBER, OVERRIDDEN];
    assert_eq!(note_redis(&mut service.exposed, &mut admin), asked_for.len(), "buckets in Redis");

    let_in_with("another", &mut admin);
    let () = cmd("CLIENT").arg(&["KILL", "USER", "tollgate"]).query(&mut admin).expect("kills");
    service.until("/ready", "cannot be used").await;
    service.ask_everything().await;
    service.note_pages("with a password that was changed").await;

    service.refuse_files((&limits, &text), &members).await;
    redis.kill();
    service.until("/ready", "refused").await;
    service.ask_everything().await;
    service.note_pages("without Redis").await;
    service.end().await.assert_free_of(&CANARIES);
}

#[test]
fn a_secret_is_found_in_plain_as_numbers_in_hex_and_in_base64() {
    // The last three are its base64 after zero, one and two bytes of zero.
    for text in [
        "key=canary-key.",
        "[0, 99, 97, 110, 97, 114, 121, 45, 107, 101, 121]",
        "0x63616e6172792d6b6579",
        "Y2FuYXJ5LWtleQ",
        "AGNhbmFyeS1rZXk=",
        "AABjYW5hcnkta2V5",
    ] {
        assert!(shows(text.as_bytes(), "canary-key"), "{text}");
        assert!(!shows(text.as_bytes(), "canary-xey"), "{text}");
    }
}

#[tokio::test]
async fn a_value_shows_in_the_metrics_where_the_rule_asks_for_it() {
    let limits = "
domain: edge
descriptors:
- { key: api_key, detailed_metric: true, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 1 } }
";
    let limits = support::file("secrecy-detailed.yaml", limits);
    let mut service = Service::start(&limits, "memory".to_owned(), Metadata::OnlyFallbackAnswers).await;
    service.ask("edge", vec![descriptor("api_key", VALUE)]).await.expect("an answer");
    let page = service.page("/metrics").await;
    assert!(shows(page.as_bytes(), VALUE), "{page}");
}
