//! docs/limits.md has the keys of the schema, in the schema's own words.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{cli::schema::SCHEMA, protocol::rls};
use tollgate_core::applied::MAX_BUCKETS;

const START: &str = "<!-- keys: made from schema/limits.schema.json, and held to it by a test -->\n";
const END: &str = "<!-- end of keys -->";

/// Where keys stand, and the way to them in the schema.
const PLACES: [(&str, &str); 8] = [
    ("At the top", "/properties"),
    ("In `members`", "/properties/members/properties"),
    ("In a descriptor", "/$defs/descriptor/properties"),
    ("In a limit", "/$defs/limit/properties"),
    ("In an entry of `authz`", "/$defs/authzEntry/properties"),
    ("In `match` of an entry of `authz`", "/$defs/requestMatch/properties"),
    ("In an item of `rate_limits` of an entry of `authz`", "/$defs/actionList/properties"),
    ("Actions", "/$defs/action/properties"),
];

fn resolved<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    let target = node.get("$ref").and_then(Value::as_str);
    target.map_or(node, |target| schema.pointer(&target[1..]).expect("the target is there"))
}

fn kind(schema: &Value, node: &Value) -> String {
    let node = resolved(schema, node);
    if let Some(words) = node.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if let Some(one) = node.pointer("/anyOf/0") {
        return kind(schema, one);
    }
    let types = node.get("type").expect("a type");
    let first = types.as_str().or_else(|| types.pointer("/0")?.as_str()).expect("a type");
    match first {
        "string" => "text",
        "integer" => "number",
        "array" => "list",
        "object" => "map",
        other => other,
    }
    .to_owned()
}

fn table() -> String {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut page = String::new();
    for (title, place) in PLACES {
        page.push_str(&format!("\n**{title}**\n\n| key | type | default | meaning |\n|---|---|---|---|\n"));
        let keys = schema.pointer(place).and_then(Value::as_object).expect("a place");
        for (name, node) in keys {
            let target = resolved(&schema, node);
            let default = node.get("default").or_else(|| target.get("default"));
            let default = default.map_or(String::new(), |default| default.to_string().replace('"', "`"));
            let meaning = node.get("description").or_else(|| target.get("description"));
            let meaning = meaning.and_then(Value::as_str).expect("every key says what it means");
            page.push_str(&format!("| `{name}` | {} | {default} | {meaning} |\n", kind(&schema, node)));
        }
    }
    page.push('\n');
    page
}

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    fs::read_to_string(file).unwrap()
}

/// As the page writes numbers: 65,536.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

#[test]
fn the_page_of_the_grammar_says_how_much_a_request_may_hold() {
    let page = page();
    for bound in [
        format!("more than {} descriptors", grouped(rls::MAX_DESCRIPTORS)),
        format!("more than {} fields", grouped(rls::MAX_FIELDS)),
        format!("more than {} limits", grouped(MAX_BUCKETS)),
    ] {
        let is_row = |line: &&str| line.starts_with("| refused") && line.contains(&bound);
        assert!(page.lines().any(|line| is_row(&line)), "no row of the page says {bound}");
    }
}

#[test]
fn the_page_of_the_grammar_lists_the_keys_of_the_schema() {
    let page = page();
    let (_, rest) = page.split_once(START).expect("the start of the keys");
    let (keys, _) = rest.split_once(END).expect("the end of the keys");
    let expected = table();
    assert!(keys == expected, "put this between the marks:\n{expected}");
}
