//! What is no YAML is told where it is, in words, with the usual cause.

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use super::{errors, load_text};

/// Of a file whose fourth line is this, from its third column; what is told, from the column on.
#[track_caller]
fn assert_told(line: &str, expected: &str) {
    let told = errors(&format!("domain: d\ndescriptors:\n- key: a\n  {line}\n"));
    assert_eq!(told, format!("a.yaml:4:{expected}"), "{line}");
}

#[test]
fn a_text_that_begins_with_what_means_something_is_told_to_be_quoted() {
    let tag = "not valid YAML: tags are not supported; quote a text that begins with `!`";
    let alias = "not valid YAML: quote a text that begins with `*`; as it stands it is an alias";
    let unknown =
        "not valid YAML: no anchor of that name comes before this alias; quote a text that begins with `*`";
    let block = "not valid YAML: `|` and `>` begin a text on the next lines; quote a text that begins with one of them";
    assert_told("value: *", &format!("10: {alias}"));
    assert_told("value: { b: * }", &format!("15: {alias}"));
    assert_told("value: *.example.com", &format!("10: {unknown}"));
    assert_told(
        "value: &",
        "10: not valid YAML: quote a text that begins with `&`; as it stands it names an anchor",
    );
    assert_told("value: %b", "10: not valid YAML: `%` cannot start a text; quote it");
    assert_told("value: @b", "10: not valid YAML: `@` cannot start a text; quote it");
    assert_told("value: !b c", &format!("13: {tag}"));
    assert_told("value: !b [c]", &format!("13: {tag}"));
    assert_told("value: !b!c d", &format!("10: {tag}"));
    assert_told("value: !<b", &format!("10: {tag}"));
    assert_told("value: |b", &format!("10: {block}"));
    assert_told("value: >b", &format!("10: {block}"));
    assert_told(
        "value: |0\n   b",
        "10: not valid YAML: the number after `|` or `>` must be from 1 to 9; leave it out",
    );
    assert_told(
        "value: - b",
        "10: not valid YAML: a list cannot begin here; begin it on the next line, or quote a text that \
             begins with `- `",
    );
    assert_told(
        "value: [-[b]",
        "11: not valid YAML: a text cannot begin with `-` and one of `,[]{}`; quote it",
    );
    assert_told(
        "value: , b",
        "10: not valid YAML: a value is missing before the `,`; quote a text that begins with it",
    );
    assert_told(
        "value: ]b",
        "10: not valid YAML: the `]` has no opening bracket; quote a text that \
        begins with it",
    );
}

#[test]
fn quotes_and_brackets_that_do_not_fit_are_told_where_they_open_or_where_they_end() {
    let escape = "not valid YAML: this text in double quotes has a `\\` that begins no escape (such as \\n, \\x41); \
                  use single quotes, or write \\\\";
    for text in [r#""\d""#, r#""\x1""#, r#""\ud800""#, r#""\udc00""#, r#""\ud800A""#] {
        assert_told(&format!("value: {text}"), &format!("10: {escape}"));
    }
    assert_told("value: \"b", "10: not valid YAML: the quote that opens here is never closed");
    assert_told(
        "value: 'b\n---\n'",
        "10: not valid YAML: the quote that opens here is not closed before a line that begins with `---` or `...`",
    );
    assert_told(
        "value: 'it's'",
        "14: not valid YAML: the text in quotes ends before this; put all of it in quotes, and write '' for a ' in it",
    );
    assert_told(
        "value: \"b\" c",
        "14: not valid YAML: the text in quotes ends before this; put all of it in quotes, and write \\\" for a \" in it",
    );
    assert_told("value: {b: 1]", "10: not valid YAML: the `{` is closed by `]`");
    assert_told("value: [b", "10: not valid YAML: the `[` is never closed");
    assert_told(
        "value: {b: c d: e}",
        "17: not valid YAML: a `,` or the closing `}` was expected here; quote a text that holds `: `",
    );
    assert_told("value: [b {c: d}]", "13: not valid YAML: a `,` or the closing `]` was expected here");
    assert_eq!(
        errors("domain: d\ndescriptors: [ a\n  key: b ]\n"),
        "a.yaml:3:6: not valid YAML: a `key: value` is not allowed here; is a `[` or `{` before it not \
             closed?"
    );
    assert_told(
        "value: [b, - c]",
        "14: not valid YAML: `- ` is not allowed within `[` or `{`: is one before it not closed? commas \
             separate items, and a text that begins with `- ` is quoted",
    );
    assert_told("value: [b,# c\n  ]", "13: not valid YAML: a comment needs a space before its `#`");
    assert_told(
        "value: {b: c} d",
        "17: not valid YAML: what comes before this on its line is complete; quote the whole text, or \
             begin a new line",
    );
}

#[test]
fn a_key_without_its_colon_or_its_place_is_told() {
    let mapping = "not valid YAML: a `key: value` is not allowed here; check the indentation, and that \
        the key on the line before has its `: `, or quote a text that holds `: `";
    assert_told("value: b: c", &format!("11: {mapping}"));
    assert_told(" value: b", &format!("9: {mapping}"));
    assert_told(
        "value:b\n  tier: c",
        "3: not valid YAML: a `key: value` was expected here; is the `:` missing, or the space after it?",
    );
    assert_told(
        "value b",
        "3: not valid YAML: a `key: value` was expected here; is the `:` missing, or the space after it?",
    );
    let indentation = "the indentation does not fit the lines around it";
    assert_eq!(
        errors("domain: d\ndescriptors:\n  - key: a\n - key: b\n"),
        format!("a.yaml:4:2: not valid YAML: {indentation}")
    );
    assert_eq!(
        errors("domain: d\ndescriptors:\n- key: a\n value: b\n"),
        format!("a.yaml:4:2: not valid YAML: {indentation}")
    );
}

#[test]
fn what_the_beginning_of_the_file_does_to_the_rest_is_told() {
    let told = |text: &str| errors(text).replace("a.yaml:2:1: not valid YAML: ", "");
    assert_eq!(
        told("  domain: d\ndescriptors:\n- key: a\n"),
        "the first line of the file is indented, and this one is not; begin all keys of the file in one column"
    );
    assert_eq!(
        told("{{ if .Values.limits }}\ndomain: d\n"),
        "what comes before this is complete; is the file a template that was not rendered?"
    );
    assert_eq!(
        told("{ domain: d }\ndescriptors: []\n"),
        "what comes before this is complete, and one file holds one map; check the indentation and the \
             brackets before it"
    );
    assert_eq!(
        told("%YAML 1.1\ndomain: d\n"),
        "a line `---` must come between the lines that begin with `%` and the rest"
    );
    let directive =
        "a line that begins with `%` is a directive, and this one is wrong; leave it out, or quote the text";
    assert_eq!(told("domain: d\n%YAML 1.1\n"), directive);
    assert_eq!(told("%YAML 1.1\n%YAML 1.1\n---\ndomain: d\n"), directive);
}

#[test]
fn a_tab_is_told_on_the_line_on_which_it_stands() {
    let tab = "not valid YAML: a tab cannot indent a line, nor begin one within `[` or `{`; use spaces";
    for (text, place) in [
        ("domain: d\ndescriptors:\n- key: k\n\tvalue: v\n", "4:1"),
        ("domain: d\n\tdescriptors:\n", "2:1"),
        ("domain: d\ndescriptors:\n\t- key: a\n", "3:1"),
        ("domain: d\ndescriptors:\n- key: a\n  rate_limit:\n  \tunit: day\n", "5:3"),
        ("domain: d\ndescriptors:\n- key: a\n  rate_limit:\n    unit: day\n\n    # b\n  \tname: c\n", "8:3"),
        ("domain: d\ndescriptors:\n- key: a\n  value: |\n\tb\n", "5:1"),
        ("domain: d\ndescriptors: [\n\t{ key: a } ]\n", "3:1"),
        ("domain: d\ndescriptors: [ { key: a\n\t} ]\n", "3:1"),
    ] {
        assert_eq!(errors(text), format!("a.yaml:{place}: {tab}"), "{text:?}");
    }
    assert_eq!(
        errors("domain: d\ndescriptors:\n- \t- key: a\n"),
        "a.yaml:3:3: not valid YAML: a tab follows the `-`; use spaces"
    );
}

#[test]
fn a_character_that_cannot_be_seen_is_called_by_its_number() {
    assert_told(
        "value: 'a\u{1}b'",
        "12: not valid YAML: the control character \\u{1} is not allowed in YAML; remove it, or write it \
             as \"\\x01\" in double quotes",
    );
    assert_told(
        "value: a\0b",
        "11: not valid YAML: a NUL byte is not allowed in YAML; is this UTF-16 without its byte order \
             mark? save it as UTF-8",
    );
    assert_eq!(
        errors("domain: d\n\u{feff}descriptors: []\n"),
        "a.yaml:2:1: not valid YAML: a byte order mark is inside the file; remove it"
    );
}

const BASES: [&str; 3] = [
    "domain: d\ndescriptors:\n- key: a\n  value: 'b'\n  rate_limit: { unit: second, requests_per_unit: 5 }\n- key: \"c\"\n",
    "%YAML 1.1\n---\ndomain: &x d\ntext: |\n  foo\n  bar\nmore: >-\n  x\n...\n",
    "a: [1, 2, {b: c}]\n? x\n: y\nq: \"\\u0041\"\nz: !!str w\n",
];
const BITS: [&str; 32] = [
    "\t",
    " ",
    "\n",
    ":",
    ": ",
    "- ",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "*",
    "&",
    "!",
    "%",
    "|",
    ">",
    "? ",
    ",",
    " #",
    "\\",
    "---\n",
    "...\n",
    "\u{feff}",
    "!<",
    "!a!b",
    "%TAG ! x\n",
    "\\ud800",
    "|0\n",
    "\u{1}",
    "\r",
];

#[test]
fn whatever_is_damaged_is_told_in_words_of_ours() {
    let mut random = SmallRng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut text: Vec<char> = BASES.choose(&mut random).unwrap().chars().collect();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..text.len());
            if random.random_ratio(1, 3) {
                text.remove(at);
            } else {
                let bit: Vec<char> = BITS.choose(&mut random).unwrap().chars().collect();
                text.splice(at..at, bit);
            }
        }
        let text: String = text.into_iter().collect();
        let Err(told) = crate::config::yaml::parse(&text) else { continue };
        refused += 1;
        let told = told.message;
        let letters: Vec<char> = told.chars().collect();
        let is_name = letters.windows(2).any(|pair| pair[0].is_lowercase() && pair[1].is_uppercase());
        assert!(!is_name && !told.starts_with("this cannot stand here"), "{text:?}: {told}");
    }
    assert!(refused > 10_000, "{refused}");
    assert!(load_text(BASES[0]).is_ok());
}
