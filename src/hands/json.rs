//! A report as one JSON object, whose keys are an interface, and back.

use std::num::NonZeroU64;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{BucketReport, Order, Report};
use tollgate_core::act::{Act, Level, Shown};

/// What was asked of the admin port.
#[derive(Debug)]
pub struct Asked {
    /// What to do.
    pub order: Order,
    /// The request whose buckets are meant, as the JSON of a `RateLimitRequest`.
    pub request: Bytes,
}

/// The body is no order.
#[derive(Debug, Error)]
pub enum NoOrder {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error(
        "the body is a RateLimitRequest as JSON, {{\"domain\":…,\"descriptors\":[{{\"entries\":[{{\"key\":…,\"value\":…}}]}}]}}, \
         and may have \"limit\", a label or the key of a bucket"
    )]
    Object,
    /// A grant says how much, and nothing else does.
    #[error("{0}")]
    Hits(&'static str),
}

/// Reads an order for the act of this name: a `RateLimitRequest` as JSON that may also have `limit`, and for a grant has
/// `hits`.
pub fn order(name: &str, body: &[u8]) -> Result<Asked, NoOrder> {
    let Value::Object(mut fields) = serde_json::from_slice(body)? else { return Err(NoOrder::Object) };
    let limit = match fields.remove("limit") {
        None | Some(Value::Null) => None,
        Some(Value::String(limit)) => Some(limit),
        Some(_) => return Err(NoOrder::Object),
    };
    let hits = fields.remove("hits").filter(|hits| !hits.is_null());
    let act = match (name, hits) {
        ("grant", hits) => {
            let hits = hits.and_then(|hits| NonZeroU64::new(hits.as_u64()?));
            Act::Grant(hits.ok_or(NoOrder::Hits("a grant needs \"hits\", a whole number above 0"))?)
        }
        (_, Some(_)) => return Err(NoOrder::Hits("only a grant has \"hits\"")),
        ("reset", None) => Act::Reset,
        (_, None) => Act::Peek,
    };
    Ok(Asked { order: Order { act, limit }, request: Value::Object(fields).to_string().into() })
}

/// Writes what [`order`] reads, for a request of these entries; each descriptor is a list of keys and values.
pub fn write_order(order: &Order, domain: &str, descriptors: &[Vec<(&str, &str)>]) -> String {
    let descriptors: Vec<Value> = descriptors
        .iter()
        .map(|entries| {
            let entries: Vec<Value> =
                entries.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            json!({ "entries": entries })
        })
        .collect();
    let mut fields = Map::new();
    fields.insert("domain".to_owned(), domain.into());
    fields.insert("descriptors".to_owned(), descriptors.into());
    if let Some(limit) = &order.limit {
        fields.insert("limit".to_owned(), limit.as_str().into());
    }
    if let Act::Grant(hits) = order.act {
        fields.insert("hits".to_owned(), hits.get().into());
    }
    Value::Object(fields).to_string()
}

/// The text is no report.
#[derive(Debug, Error)]
#[error("this is no report of Tollgate: {0}")]
pub struct NoReport(&'static str);

/// `{"act","domain","now_us","buckets":[{"limit","bucket","level_before","level",…}]}` and a newline.
pub fn write(report: &Report) -> String {
    let Report { act, domain, now_us, buckets } = report;
    let buckets: Vec<Value> = buckets.iter().map(bucket).collect();
    let object = json!({ "act": act, "domain": domain, "now_us": now_us, "buckets": buckets });
    format!("{object}\n")
}

fn bucket(report: &BucketReport) -> Value {
    let BucketReport { descriptor, limit, numbers, burst, enforcement, bucket, shown } = report;
    json!({
        "descriptor": descriptor,
        "limit": limit,
        "numbers": numbers,
        "burst": burst,
        "enforcement": enforcement,
        "bucket": bucket,
        "level_before": number(shown.before),
        "level": number(shown.after),
        "remaining": shown.after.remaining(),
        "next_us": shown.next_us,
        "full_at_us": shown.full_at_us,
        "reserved": shown.is_reserved,
    })
}

fn number(level: Level) -> Value {
    level.to_string().parse().unwrap_or_default()
}

/// Reads what [`write`] has written. Unknown keys, which a later version may have added, do not matter.
pub fn read(text: &[u8]) -> Result<Report, NoReport> {
    let report: Value = serde_json::from_slice(text).map_err(|_broken| NoReport("it is not JSON"))?;
    let buckets = report["buckets"].as_array().ok_or(NoReport("it has no buckets"))?;
    let buckets = buckets.iter().map(read_bucket).collect::<Result<_, _>>()?;
    let (act, domain) = (text_of(&report["act"])?, text_of(&report["domain"])?);
    Ok(Report { act, domain, now_us: whole(&report["now_us"])?, buckets })
}

fn read_bucket(value: &Value) -> Result<BucketReport, NoReport> {
    let optional = |value: &Value| (!value.is_null()).then(|| whole(value)).transpose();
    let shown = Shown {
        before: level(&value["level_before"])?,
        after: level(&value["level"])?,
        next_us: optional(&value["next_us"])?,
        full_at_us: optional(&value["full_at_us"])?,
        // An earlier version does not say.
        is_reserved: value["reserved"].as_bool().unwrap_or_default(),
    };
    Ok(BucketReport {
        descriptor: whole(&value["descriptor"])?,
        limit: text_of(&value["limit"])?,
        numbers: text_of(&value["numbers"])?,
        burst: whole(&value["burst"])?,
        enforcement: text_of(&value["enforcement"])?,
        bucket: text_of(&value["bucket"])?,
        shown,
    })
}

fn text_of(value: &Value) -> Result<String, NoReport> {
    value.as_str().map(str::to_owned).ok_or(NoReport("a text is missing"))
}

fn whole<N: TryFrom<u64>>(value: &Value) -> Result<N, NoReport> {
    let number = value.as_u64().and_then(|number| N::try_from(number).ok());
    number.ok_or(NoReport("a whole number is missing"))
}

fn level(value: &Value) -> Result<Level, NoReport> {
    let text = value.is_number().then(|| value.to_string());
    text.and_then(|text| text.parse().ok()).ok_or(NoReport("a level is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let shown = |before, next_us, full_at_us| Shown {
            before: Level(before),
            after: Level(7_250),
            next_us,
            full_at_us,
            is_reserved: next_us.is_none(),
        };
        let bucket = |shown| BucketReport {
            descriptor: 1,
            limit: "a.b".to_owned(),
            numbers: "10 per minute, burst 20, token_bucket".to_owned(),
            burst: 20,
            enforcement: "enforced".to_owned(),
            bucket: "tg:x".to_owned(),
            shown,
        };
        let buckets = vec![bucket(shown(-3_005, Some(0), Some(9))), bucket(shown(0, None, None))];
        Report { act: "reset".to_owned(), domain: "edge".to_owned(), now_us: 1_800_000_000_000_000, buckets }
    }

    #[test]
    fn a_report_survives_the_way_through_json() {
        let written = write(&report());
        assert!(written.contains(r#""level":7.25,"level_before":-3.005,"#), "{written}");
        assert_eq!(read(written.as_bytes()).unwrap(), report());
    }

    #[test]
    fn an_order_survives_the_way_through_json() {
        let grant = Act::Grant(NonZeroU64::new(u64::MAX).unwrap());
        for (name, act) in [("peek", Act::Peek), ("reset", Act::Reset), ("grant", grant)] {
            for limit in [None, Some("a.b \"c\"".to_owned())] {
                let sent = Order { act, limit };
                let body = write_order(&sent, "edge", &[vec![("user", "ann\n")], vec![]]);
                let Asked { order, request } = order(name, body.as_bytes()).unwrap();
                assert_eq!(order, sent);
                let text = r#"{"descriptors":[{"entries":[{"key":"user","value":"ann\n"}]},{"entries":[]}],"domain":"edge"}"#;
                assert_eq!(request, text);
            }
        }
    }

    #[test]
    fn what_is_no_order_is_refused_with_what_to_write() {
        for (name, body, told) in [
            ("peek", "{", "the body is not JSON"),
            ("peek", "[]", r#"{"domain":…"#),
            ("peek", r#"{"limit":1}"#, r#"may have "limit""#),
            ("grant", "{}", r#"needs "hits""#),
            ("grant", r#"{"hits":0}"#, r#"needs "hits""#),
            ("grant", r#"{"hits":-1}"#, "above 0"),
            ("reset", r#"{"hits":1}"#, r#"only a grant has "hits""#),
        ] {
            let refused = order(name, body.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(told), "{name} {body}: {refused}");
        }
    }

    #[test]
    fn what_is_no_report_is_refused_and_not_guessed() {
        let sound = write(&report());
        for (from, to) in [
            ("{\"act\"", "[\"act\""),
            ("\"buckets\":[", "\"baskets\":["),
            ("7.25", "\"7\""),
            ("-3.005", "1e300"),
            ("\"burst\":20", "\"burst\":4294967296"),
            ("\"next_us\":0", "\"next_us\":-1"),
        ] {
            assert!(sound.contains(from), "{from} is not in {sound}");
            assert!(read(sound.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
