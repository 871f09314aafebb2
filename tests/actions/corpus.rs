//! Reads the corpus, and converts it to the types of the engine.

use serde_json::{Value, json};
use tollgate_core::actions::{
    Action, ActionSpec, AmountSpec, HeaderMatchSpec, HeaderTest, HitsAddend, HitsSpec, MetadataSource,
    QueryMatchSpec, QueryTest, RateLimit, TextMatchSpec,
};

/// All lists, as Envoy reads them.
pub(crate) fn read() -> Vec<Value> {
    let mut lists: Vec<Value> =
        serde_json::from_str(include_str!("corpus.json")).expect("the corpus is a list");
    // Unless a list is marked as bare, its first entry is its number, so that a failure names the list.
    for (number, list) in lists.iter_mut().enumerate() {
        if list.as_object_mut().expect("a list of actions").remove("bare").is_none() {
            let entry = json!({ "generic_key": { "descriptor_key": "list", "descriptor_value": number.to_string() } });
            list["actions"].as_array_mut().expect("actions").insert(0, entry);
        }
    }
    lists
}

pub(crate) fn checked(list: &Value) -> RateLimit {
    let actions = array(list, "actions").iter().map(|action| {
        let spec = action_spec(action);
        Action::new(spec).unwrap_or_else(|error| panic!("{action}: {error}"))
    });
    let hits = list.get("hits_addend").map(|hits| HitsAddend::new(hits_spec(hits)).expect("sound hits"));
    RateLimit::new(actions.collect(), hits).expect("a sound list")
}

fn action_spec(action: &Value) -> ActionSpec {
    let (kind, fields) = action.as_object().and_then(|action| action.iter().next()).expect("one action");
    match kind.as_str() {
        "generic_key" => ActionSpec::GenericKey {
            descriptor_key: optional(fields, "descriptor_key"),
            descriptor_value: text(fields, "descriptor_value"),
            default_value: text(fields, "default_value"),
        },
        "request_headers" => ActionSpec::RequestHeaders {
            header_name: text(fields, "header_name"),
            descriptor_key: text(fields, "descriptor_key"),
            skip_if_absent: flag(fields, "skip_if_absent"),
        },
        "remote_address" => ActionSpec::RemoteAddress,
        "masked_remote_address" => ActionSpec::MaskedRemoteAddress {
            v4_prefix_mask_len: length(fields, "v4_prefix_mask_len"),
            v6_prefix_mask_len: length(fields, "v6_prefix_mask_len"),
        },
        "header_value_match" => ActionSpec::HeaderValueMatch {
            descriptor_key: optional(fields, "descriptor_key"),
            descriptor_value: text(fields, "descriptor_value"),
            default_value: text(fields, "default_value"),
            expect_match: fields["expect_match"] != false,
            headers: array(fields, "headers").iter().map(header_match).collect(),
        },
        "query_parameter_value_match" => ActionSpec::QueryParameterValueMatch {
            descriptor_key: optional(fields, "descriptor_key"),
            descriptor_value: text(fields, "descriptor_value"),
            default_value: text(fields, "default_value"),
            expect_match: fields["expect_match"] != false,
            query_parameters: array(fields, "query_parameters").iter().map(query_match).collect(),
        },
        "query_parameters" => ActionSpec::QueryParameters {
            query_parameter_name: text(fields, "query_parameter_name"),
            descriptor_key: text(fields, "descriptor_key"),
            skip_if_absent: flag(fields, "skip_if_absent"),
        },
        "metadata" => ActionSpec::Metadata {
            descriptor_key: text(fields, "descriptor_key"),
            namespace: text(&fields["metadata_key"], "key"),
            path: array(&fields["metadata_key"], "path").iter().map(|part| text(part, "key")).collect(),
            default_value: text(fields, "default_value"),
            source: match fields["source"].as_str() {
                Some("ROUTE_ENTRY") => MetadataSource::Route,
                _ => MetadataSource::Dynamic,
            },
            skip_if_absent: flag(fields, "skip_if_absent"),
        },
        other => panic!("the corpus has an action {other}"),
    }
}

fn hits_spec(hits: &Value) -> HitsSpec {
    let amount = match hits["number"].as_u64() {
        Some(number) => AmountSpec::Number(number),
        None => AmountSpec::Format(text(hits, "format")),
    };
    HitsSpec { amount, is_negative_hits: flag(hits, "is_negative_hits") }
}

fn header_match(fields: &Value) -> HeaderMatchSpec {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).expect("a number as text");
    let test = if let Some(range) = fields.get("range_match") {
        HeaderTest::Range { start: number(&range["start"]), end: number(&range["end"]) }
    } else if let Some(matcher) = fields.get("string_match") {
        HeaderTest::Text(text_match(matcher))
    } else if let Some(matcher) = older(fields) {
        matcher
    } else {
        HeaderTest::Present(fields["present_match"] != false)
    };
    HeaderMatchSpec {
        name: text(fields, "name"),
        test,
        invert_match: flag(fields, "invert_match"),
        treat_missing_header_as_empty: flag(fields, "treat_missing_header_as_empty"),
    }
}

/// The fields that are older than `string_match`, which Envoy still accepts.
fn older(fields: &Value) -> Option<HeaderTest> {
    let given = |name: &str| fields.get(name).map(|_| text(fields, name));
    let ignore_case = false;
    let prefix = || given("prefix_match").map(|text| TextMatchSpec::Prefix { text, ignore_case });
    let suffix = || given("suffix_match").map(|text| TextMatchSpec::Suffix { text, ignore_case });
    let contains = || given("contains_match").map(|text| TextMatchSpec::Contains { text, ignore_case });
    let regex = || fields.get("safe_regex_match").map(|regex| TextMatchSpec::Regex(text(regex, "regex")));
    let exact = given("exact_match").map(HeaderTest::ExactMatch);
    exact.or_else(|| prefix().or_else(suffix).or_else(contains).or_else(regex).map(HeaderTest::Text))
}

fn query_match(fields: &Value) -> QueryMatchSpec {
    let test = match fields.get("string_match") {
        Some(matcher) => QueryTest::Text(text_match(matcher)),
        None => QueryTest::Present(fields["present_match"] != false),
    };
    QueryMatchSpec { name: text(fields, "name"), test }
}

fn text_match(fields: &Value) -> TextMatchSpec {
    let ignore_case = flag(fields, "ignore_case");
    let given = |name: &str| fields.get(name).map(|_| text(fields, name));
    if let Some(text) = given("exact") {
        TextMatchSpec::Exact { text, ignore_case }
    } else if let Some(text) = given("prefix") {
        TextMatchSpec::Prefix { text, ignore_case }
    } else if let Some(text) = given("suffix") {
        TextMatchSpec::Suffix { text, ignore_case }
    } else if let Some(text) = given("contains") {
        TextMatchSpec::Contains { text, ignore_case }
    } else {
        TextMatchSpec::Regex(text(&fields["safe_regex"], "regex"))
    }
}

fn text(fields: &Value, name: &str) -> String {
    optional(fields, name).unwrap_or_default()
}

fn optional(fields: &Value, name: &str) -> Option<String> {
    fields[name].as_str().map(str::to_owned)
}

fn flag(fields: &Value, name: &str) -> bool {
    fields[name] == true
}

fn length(fields: &Value, name: &str) -> Option<u32> {
    fields[name].as_u64().and_then(|length| u32::try_from(length).ok())
}

fn array<'v>(fields: &'v Value, name: &str) -> &'v [Value] {
    fields[name].as_array().expect("a list")
}
