use prost_types::Duration;
use serde_json::json;
use tonic::Code;

use super::*;
use crate::{
    pb::{HeaderValue, RateLimitResponse, rate_limit_response},
    protocol::{reply::Reply, rls::MAX_DESCRIPTORS},
};

#[test]
fn a_request_is_read_in_either_spelling_of_its_names() {
    let camel = json!({
        "domain": "edge",
        "hitsAddend": "3",
        "descriptors": [
            { "entries": [{ "key": "user", "value": "ann" }, { "key": "day" }] },
            {
                "entries": [{ "key": "a", "value": null }],
                "limit": { "requestsPerUnit": 10, "unit": "HOUR", "unitMultiplier": 2 },
                "hitsAddend": "18446744073709551615",
                "isNegativeHits": true,
            },
        ],
    });
    let camel = camel.to_string();
    let snake = camel
        .replace("hitsAddend", "hits_addend")
        .replace("requestsPerUnit", "requests_per_unit")
        .replace("unitMultiplier", "unit_multiplier")
        .replace("isNegativeHits", "is_negative_hits")
        .replace("\"HOUR\"", "3")
        .replace("10", "1e1");
    let read = request(camel.as_bytes()).unwrap();
    assert_eq!(request(snake.as_bytes()).unwrap(), read);

    let entry = |key: &str, value: &str| Entry { key: key.to_owned().into(), value: value.to_owned().into() };
    let limit = RateLimitOverride { requests_per_unit: 10, unit: 3, unit_multiplier: Some(2) };
    let descriptors = vec![
        RateLimitDescriptor {
            entries: vec![entry("user", "ann"), entry("day", "")],
            ..RateLimitDescriptor::default()
        },
        RateLimitDescriptor {
            entries: vec![entry("a", "")],
            limit: Some(limit),
            hits_addend: Some(u64::MAX),
            is_negative_hits: true,
        },
    ];
    assert_eq!(read, RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 3 });
}

#[test]
fn a_request_that_makes_no_sense_is_refused_by_its_place() {
    for (body, says) in [
        ("", "EOF while parsing"),
        ("[]", "an object is wanted here"),
        (r#"{"domian": "a"}"#, "domian: no such field"),
        (r#"{"domain": 7}"#, "domain: a text is wanted here"),
        (r#"{"hitsAddend": -1}"#, "hitsAddend: a whole number"),
        (r#"{"hitsAddend": 1.5}"#, "hitsAddend: a whole number"),
        (r#"{"hitsAddend": 4294967296}"#, "hitsAddend: a whole number"),
        (r#"{"descriptors": {}}"#, "descriptors: a list"),
        (r#"{"descriptors": [{}, {"entries": [{"kee": ""}]}]}"#, "descriptors[1].entries[0].kee: no such"),
        (r#"{"descriptors": [{"limit": {"unit": "FORTNIGHT"}}]}"#, "descriptors[0].limit.unit: a unit is"),
        (r#"{"descriptors": [{"isNegativeHits": "yes"}]}"#, "descriptors[0].isNegativeHits: true or false"),
    ] {
        let status = request(body.as_bytes()).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{body}");
        assert!(status.message().contains(says), "{body}: {}", status.message());
    }
    let many = json!({ "descriptors": vec![json!({}); MAX_DESCRIPTORS + 1] }).to_string();
    assert!(request(many.as_bytes()).unwrap_err().message().contains("descriptors"));
    let deep = "[".repeat(100_000);
    assert!(request(deep.as_bytes()).unwrap_err().message().contains("recursion"));
}

#[test]
fn an_answer_leaves_out_defaults_as_the_reference_does() {
    let denied = rate_limit_response::DescriptorStatus {
        code: 2,
        current_limit: Some(rate_limit_response::RateLimit {
            requests_per_unit: 10,
            unit: 7,
            ..rate_limit_response::RateLimit::default()
        }),
        duration_until_reset: Some(Duration { seconds: 5, nanos: 0 }),
        ..rate_limit_response::DescriptorStatus::default()
    };
    let unmatched =
        rate_limit_response::DescriptorStatus { code: 1, ..rate_limit_response::DescriptorStatus::default() };
    let response = RateLimitResponse {
        overall_code: 2,
        statuses: vec![denied, unmatched],
        response_headers_to_add: vec![HeaderValue {
            key: "retry-after".into(),
            value: "5".into(),
            raw_value: bytes::Bytes::new(),
        }],
        raw_body: "no".into(),
        ..RateLimitResponse::default()
    };
    let answer = answer(&Reply::from(response)).unwrap();
    assert_eq!(answer.code, rate_limit_response::Code::OverLimit);
    let expected = json!({
        "overallCode": "OVER_LIMIT",
        "statuses": [
            {
                "code": "OVER_LIMIT",
                "currentLimit": { "requestsPerUnit": 10, "unit": "WEEK" },
                "durationUntilReset": "5s",
            },
            { "code": "OK" },
        ],
        "responseHeadersToAdd": [{ "key": "retry-after", "value": "5" }],
        "rawBody": "bm8=",
    });
    assert_eq!(answer.body, expected.to_string());
}
