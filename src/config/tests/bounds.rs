//! Hostile files cost bounded time and memory, and get a clear answer.

use std::time::Duration;

use super::{Folder, descriptors, errors, load_text};
use crate::config::MAX_FILE_BYTES;

fn nested_descriptors(levels: usize) -> String {
    format!("domain: e\n{}{}", "descriptors: [{key: a, ".repeat(levels), "}]".repeat(levels))
}

#[test]
fn descriptors_nest_64_levels_deep_and_no_deeper() {
    let mut level = descriptors(&nested_descriptors(64));
    for _ in 1..64 {
        level = level.remove(0).descriptors;
    }
    assert_eq!(level.len(), 1);
    let too_deep = "not valid YAML: nested too deeply; 64 levels of descriptors are the maximum";
    let told = errors(&nested_descriptors(66));
    assert!(told.starts_with("a.yaml:2:") && told.ends_with(too_deep), "{told}");
}

#[test]
fn nesting_10_000_deep_is_refused_without_a_stack_of_that_depth() {
    for text in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000), "? ".repeat(10_000)] {
        let told = errors(&text);
        assert!(
            told.ends_with("not valid YAML: nested too deeply; 64 levels of descriptors are the maximum"),
            "{told}"
        );
    }
    let indented: String = (0..3_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(errors(&indented).contains("nested too deeply"));
}

#[test]
fn depth_counts_through_aliases() {
    let mut text = String::from("domain: e\nx0: &x0 [a]\n");
    for level in 1..200 {
        text.push_str(&format!("x{level}: &x{level} [*x{}]\n", level - 1));
    }
    assert_eq!(
        errors(&text),
        "a.yaml:131:14: not valid YAML: nested too deeply; 64 levels of descriptors are the maximum"
    );
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_is_walked() {
    let mut text = String::from("domain: e\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n");
    for level in 1..60 {
        let aliases = vec![format!("*x{}", level - 1); 9].join(", ");
        text.push_str(&format!("x{level}: &x{level} [{aliases}]\n"));
    }
    assert_eq!(
        errors(&text),
        "a.yaml:8:35: not valid YAML: more than 4000000 values, counting the values behind an alias at \
             each use"
    );
}

#[test]
fn an_alias_inside_its_own_anchor_is_refused() {
    assert_eq!(
        errors("domain: e\ndescriptors: &all [{key: a, descriptors: *all}]\n"),
        "a.yaml:2:42: not valid YAML: the alias is inside the anchor that it refers to"
    );
}

#[test]
fn a_file_of_16_mib_is_read_and_a_larger_one_refused() {
    let size = usize::try_from(MAX_FILE_BYTES).unwrap();
    let mut text = String::from("domain: e\n#");
    text.push_str(&"x".repeat(size - text.len()));
    assert!(load_text(&text).is_ok());
    text.push('x');
    assert_eq!(errors(&text), "a.yaml: larger than 16 MiB");
}

#[test]
fn a_hundred_thousand_rules_are_loaded() {
    let mut text = String::from("domain: e\ndescriptors:\n");
    for rule in 0..100_000 {
        text.push_str(&format!(
            "- {{key: a, value: v{rule}, rate_limit: {{unit: hour, requests_per_unit: 5}}}}\n"
        ));
    }
    assert_eq!(descriptors(&text).len(), 100_000);
}

#[test]
fn after_a_thousand_errors_of_a_file_the_rest_is_counted() {
    let mut text = String::from("domain: e\ndescriptors:\n");
    for rule in 0..1_500 {
        text.push_str(&format!("- {{key: a, valu: v{rule}}}\n"));
    }
    let files: [(&str, &[u8]); 2] = [("a.yaml", text.as_bytes()), ("b.yaml", b"domain: \n")];
    let told = Folder::new().load(&files).unwrap_err();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 1_002);
    assert_eq!(lines[1000], "a.yaml: 1999 more errors");
    assert_eq!(lines[1001], "b.yaml:1:7: domain is missing");
}

#[test]
fn of_many_errors_the_first_ones_are_told_in_whatever_order_they_are_found() {
    // Rules that stand twice are found when all files have been read.
    let mut text = String::from("domain: e\ndescriptors:\n- {key: a}\n- {key: a}\n");
    for rule in 0..5_000 {
        text.push_str(&format!("- {{key: k{rule}, valu: v}}\n"));
    }
    let told = Folder::new().load(&[("a.yaml", text.as_bytes())]).unwrap_err();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("a.yaml:4:3: e.descriptors[1]: duplicate rule `a`"), "{}", lines[0]);
    assert!(lines[1].starts_with("a.yaml:5:"), "{}", lines[1]);
    assert!(lines[999].starts_with("a.yaml:1003:"), "{}", lines[999]);
    assert_eq!((lines.len(), lines[1000]), (1_001, "a.yaml: 4001 more errors"));
}

#[test]
fn of_many_warnings_the_rest_is_counted_too() {
    let mut text =
        String::from("domain: e\ndescriptors:\n- {key: l, rate_limit: {unit: day, requests_per_unit: 1}}\n");
    for rule in 0..1_001 {
        text.push_str(&format!("- {{key: k, value: v{rule}}}\n"));
    }
    let config = Folder::new().load(&[("a.yaml", text.as_bytes())]).unwrap();
    let last = config.warnings.last().unwrap().to_string();
    assert!(last.ends_with("a.yaml: warning: 1 more warning"), "{last}");
    assert_eq!(config.warnings.iter().map(|warning| warning.problem.count()).sum::<usize>(), 1_001);
}

#[test]
fn what_a_message_repeats_of_a_file_is_one_short_line() {
    let domain = "d".repeat(100_000);
    let key = format!("{}\\n\\u202e", "k".repeat(100_000));
    let expected = format!(
        "a.yaml:2:3: {}…{}: unknown key `{}…{}\\n\\u{{202e}}`",
        "d".repeat(30),
        "d".repeat(30),
        "k".repeat(30),
        "k".repeat(28)
    );
    assert_eq!(errors(&format!("domain: {domain}\n? \"{key}\"\n: 1\n")), expected);
}

#[test]
fn long_text_behind_an_alias_is_counted_at_each_use() {
    let mut text = format!("domain: e\nx: &long {}\ndescriptors:\n", "v".repeat(500_000));
    for _ in 0..1_000 {
        text.push_str("- {key: a, value: *long}\n");
    }
    let told = errors(&text);
    assert!(
        told.ends_with(
            "not valid YAML: more than 64 MiB of text, counting the text behind an alias at \
            each use"
        ),
        "{told:.300}"
    );
}

#[test]
fn a_large_tier_that_many_use_is_counted_at_each_use() {
    let limit = |n: usize| format!("{{unit: day, requests_per_unit: {n}, name: n{n}}}");
    let limits: Vec<String> = (1..=60).map(limit).collect();
    let mut text = format!("domain: e\ntiers: {{t: [{}]}}\ndescriptors:\n", limits.join(", "));
    for number in 0..17_000 {
        text.push_str(&format!("- {{key: k{number}, tier: t}}\n"));
    }
    let told = errors(&text);
    assert!(
        told.contains("more than 1000000 limits in one domain, tiers counted at each use"),
        "{told:.300}"
    );
    assert_eq!(told.lines().count(), 1, "it is told once");
}

/// The time that this thread has computed, which does not grow while other processes keep the machine busy.
fn computed() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number comes first"))
}

#[test]
fn nothing_costs_the_square_of_a_files_size() {
    let before = computed();
    let repeated = format!("domain: e\nx: {{{}}}\n", "a: 1, ".repeat(20_000));
    let tiers: String = (0..20_000).map(|n| format!("  t{n}: [{{unlimited: true}}]\n")).collect();
    let limits: String = (1..8_000).map(|n| format!("{{unit: day, requests_per_unit: {n}}}, ")).collect();
    let stars = "*".repeat(50_000);
    let bare: String = (0..5_000).map(|n| format!("- {{key: k{n}}}\n")).collect();
    let again = "rate_limit: {unit: day, unit: day, <<: *b}, metadata: {a: 1}, ".repeat(20_000);
    let merges = "*b, ".repeat(50_000);
    for text in [
        repeated,
        format!(
            "domain: e\ndescriptors: [{{key: a, rate_limit: &b {{requests_per_unit: 1}}}}, {{{again} key: b}}]"
        ),
        format!(
            "domain: e\ndescriptors: [{{key: a, rate_limit: &b {{unit: day}}}}, {{key: b, rate_limit: {{<<: [{merges}]}}}}]"
        ),
        format!("domain: e\n{}", "descriptors: [{key: a, descriptors: [{key: b}]}]\n".repeat(10_000)),
        format!("domain: e\ntiers:\n{tiers}"),
        format!("domain: e\ndescriptors: [{{key: a, rate_limits: [{limits}]}}]"),
        format!("domain: e\ndescriptors:\n- {{key: '{stars}'}}\n{bare}"),
    ] {
        let _ = load_text(&text);
    }
    let took = computed().saturating_sub(before);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_nul_byte_is_refused_where_it_stands() {
    assert_eq!(
        errors("domain: a\0b\n"),
        "a.yaml:1:10: not valid YAML: a NUL byte is not allowed in YAML; is this UTF-16 without its byte \
             order mark? save it as UTF-8"
    );
}

#[test]
fn a_file_of_50_mb_is_refused_without_being_read_to_its_end() {
    let mut text = b"domain: e\n#".to_vec();
    text.resize(50_000_000, b'x');
    assert_eq!(Folder::new().load(&[("a.yaml", &text)]).unwrap_err(), "a.yaml: larger than 16 MiB");
}
