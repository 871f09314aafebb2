use prost::Message as _;
use prost_types::{Any, ListValue, Struct, Value, value::Kind};

use super::*;
use crate::pb::{
    discovery::DiscoveryResponse,
    rules::{RateLimitDescriptor, RateLimitPolicy, RateLimitReplace},
};

fn read(response: &DiscoveryResponse) -> Answer {
    Answer::read(&response.encode_to_vec().into()).unwrap()
}

fn any(config: &RateLimitConfig) -> Any {
    Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() }
}

fn resource(config: &RateLimitConfig) -> Resource {
    Resource { type_url: TYPE_URL.into(), value: config.encode_to_vec().into() }
}

fn config(descriptors: Vec<RateLimitDescriptor>) -> RateLimitConfig {
    RateLimitConfig { name: "n".to_owned(), domain: "d".to_owned(), descriptors }
}

fn nested(levels: usize) -> RateLimitDescriptor {
    let leaf = RateLimitDescriptor { key: "k".to_owned(), ..Default::default() };
    (1..levels)
        .fold(leaf.clone(), |below, _| RateLimitDescriptor { descriptors: vec![below], ..leaf.clone() })
}

#[test]
fn an_answer_is_read_as_prost_would_decode_it() {
    let sent = config(vec![nested(3)]);
    let response = DiscoveryResponse {
        version_info: "5".to_owned(),
        nonce: "nonce".to_owned(),
        type_url: TYPE_URL.to_owned(),
        resources: vec![any(&sent), any(&sent)],
    };
    let answer = read(&response);
    assert_eq!((answer.version.as_str(), answer.nonce.as_str()), ("5", "nonce"));
    assert_eq!((answer.type_url.as_str(), answer.resources.len()), (TYPE_URL, 2));
    assert_eq!(answer.resources[1].decode(&mut 1_000).unwrap(), sent);
    assert!(read(&DiscoveryResponse::default()).resources.is_empty());
}

#[test]
fn bytes_that_are_no_answer_are_malformed() {
    for bytes in [&b"\x0a"[..], b"\x0a\x05ab", b"\xff", b"\x0a\x01\xff", b"\x12\x02\x0a\x09", b"GET / HTTP"] {
        assert!(Answer::read(&bytes.to_vec().into()).is_err(), "{bytes:?}");
    }
}

#[test]
fn every_message_in_a_resource_counts() {
    let policy =
        RateLimitPolicy { replaces: vec![RateLimitReplace::default(); 2], ..RateLimitPolicy::default() };
    let list = Kind::ListValue(ListValue { values: vec![Value::default(); 3] });
    let fields = [("x".to_owned(), Value { kind: Some(list) })];
    let descriptor = RateLimitDescriptor {
        rate_limit: Some(policy),
        metadata: Some(Struct { fields: fields.into_iter().collect() }),
        descriptors: vec![RateLimitDescriptor::default()],
        ..RateLimitDescriptor::default()
    };
    // The config, two descriptors, a policy with two replaces, and metadata: map, entry, value, list, three values.
    let resource = resource(&config(vec![descriptor]));
    let mut left = 13;
    assert!(resource.decode(&mut left).is_ok());
    assert_eq!(left, 0);
    assert!(matches!(resource.decode(&mut 12), Err(ResourceError::TooMany)));
}

#[test]
fn two_bytes_each_make_no_gigabytes() {
    let value: Bytes = [0x1a, 0x00].repeat(MAX_MESSAGES).into();
    let resource = Resource { type_url: TYPE_URL.into(), value };
    let mut left = MAX_MESSAGES;
    assert!(matches!(resource.decode(&mut left), Err(ResourceError::TooMany)));

    let resources: Bytes = [0x12, 0x00].repeat(MAX_MESSAGES + 1_000).into();
    assert_eq!(Answer::read(&resources).unwrap().resources.len(), MAX_MESSAGES + 1);
}

#[test]
fn levels_are_bounded_as_in_files_however_deep_a_message_is() {
    assert!(resource(&config(vec![nested(64)])).decode(&mut 1_000).is_ok());
    assert!(matches!(resource(&config(vec![nested(65)])).decode(&mut 1_000), Err(ResourceError::TooDeep)));
    // A length and a tag for each level, from the inside.
    let mut bytes = Vec::new();
    for _ in 0..5_000 {
        let mut outer = vec![0x22];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        bytes = [outer, bytes].concat();
    }
    let value = [vec![0x1a], bytes].concat().into();
    let deep = Resource { type_url: TYPE_URL.into(), value };
    assert!(deep.decode(&mut 1_000_000).is_err());
}

#[test]
fn what_is_no_rate_limit_config_is_refused_with_words() {
    let other = Resource { type_url: "type.googleapis.com/envoy.Cluster".into(), value: Bytes::new() };
    assert_eq!(
        other.decode(&mut 10).unwrap_err().to_string(),
        "this is no RateLimitConfig but type.googleapis.com/envoy.Cluster"
    );
    for garbage in [&b"\x0a\xff"[..], b"\x0a\x02\xff\xfe", b"\x18\x01", b"\x1a\x02\x18\x01"] {
        let garbage = Resource { type_url: TYPE_URL.into(), value: garbage.to_vec().into() };
        assert!(matches!(garbage.decode(&mut 10), Err(ResourceError::Undecodable(_))), "{garbage:?}");
    }
}
