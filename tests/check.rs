//! `tollgate check` and `tollgate schema`, as a shell and CI see them.

mod support;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use lab::binaries;

const GOOD: &str = "domain: e\ndescriptors:\n- { key: a, rate_limit: { unit: day, requests_per_unit: 1 } }\n";
const WARNED: &str = "domain: e\ndescriptors:\n- { key: a, value: b }\n- { key: a, rate_limit: { unit: day, requests_per_unit: 1 } }\n";
const BAD: &str = "domain: e\ndescriptors:\n- { key: a, valeu: b }\n";

/// Exit status and stdout.
fn tollgate(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binaries::tollgate().expect("built")).args(args).output().expect("runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn file(name: &str, text: &str) -> String {
    support::file(&format!("check-{name}.yaml"), text).display().to_string()
}

#[test]
fn the_exit_status_tells_right_from_wrong_from_not_there() {
    let (good, warned, bad) = (file("good", GOOD), file("warned", WARNED), file("bad", BAD));
    assert_eq!(tollgate(&["check", &good]).0, Some(0));
    assert_eq!(tollgate(&["check", &warned]).0, Some(0));
    assert_eq!(tollgate(&["check", "--strict", &warned]).0, Some(1));
    assert_eq!(tollgate(&["check", &bad]).0, Some(1));
    assert_eq!(tollgate(&["check", &good, "/nowhere.yaml"]).0, Some(2));
    assert_eq!(tollgate(&["check"]).0, Some(2));
    assert_eq!(tollgate(&["check", "--format", "xml", &good]).0, Some(2));
    let large = file("large", &format!("domain: e\n#{}\n", "x".repeat(16 << 20)));
    assert_eq!(tollgate(&["check", &large]).0, Some(1));
    std::fs::remove_file(large).expect("it is ours");
}

/// The algorithm is given as to the process that will serve these files: by the flag, or by its variable.
#[test]
fn limits_are_checked_by_the_algorithm_that_they_will_count_by() {
    let limit = "{ unit: minute, requests_per_unit: 3000000000, overdraft: charge }";
    let file = file("algorithm", &format!("domain: e\ndescriptors: [{{ key: a, rate_limit: {limit} }}]\n"));
    assert_eq!(tollgate(&["check", "--strict", &file]).0, Some(0), "a bucket by its period");
    let (status, told) = tollgate(&["check", "--default-algorithm", "fixed_window", &file]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("overdraft: charge in a fixed_window: at most 2147483647 per period"), "{told}");
    let mut by_variable = Command::new(binaries::tollgate().expect("built"));
    let by_variable = by_variable.args(["check", &file]).env("TOLLGATE_DEFAULT_ALGORITHM", "fixed_window");
    assert_eq!(by_variable.output().expect("runs").status.code(), Some(1));
    let log = tollgate(&["check", "--default-algorithm", "sliding_window_log", &file]);
    assert_eq!(log.0, Some(2), "each limit says that by itself: {}", log.1);
}

/// As the algorithm is, from the flag or its variable.
#[test]
fn limits_are_checked_by_the_months_that_they_will_count_by() {
    let limits =
        "[{ unit: month, requests_per_unit: 3 }, { unit: month, requests_per_unit: 9, calendar: true }]";
    let file = file("months", &format!("domain: e\ndescriptors: [{{ key: a, rate_limits: {limits} }}]\n"));
    let (status, told) = tollgate(&["check", &file]);
    assert_eq!(status, Some(0), "30 days, and a month of the calendar: {told}");
    let (status, told) = tollgate(&["check", "--calendar-months", "on", &file]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("a fixed_window per calendar month stands at line 2 too"), "{told}");
    let mut by_variable = Command::new(binaries::tollgate().expect("built"));
    let by_variable = by_variable.args(["check", &file]).env("TOLLGATE_CALENDAR_MONTHS", "on");
    assert_eq!(by_variable.output().expect("runs").status.code(), Some(1));
    assert_eq!(tollgate(&["check", "--calendar-months", "perhaps", &file]).0, Some(2));
}

#[test]
fn a_file_that_limits_nothing_fails_where_warnings_do() {
    let nothing = file("nothing", "domain: d\n");
    let (status, told) = tollgate(&["check", "--strict", &nothing]);
    assert_eq!(status, Some(1));
    assert!(told.contains(":1:1: warning: d: this domain has no limit"), "{told}");
}

#[test]
fn text_shows_each_line_with_a_mark_below_the_place() {
    let bad = file("text", BAD);
    let expected = format!(
        "{bad}:3:13: e.descriptors[0]: unknown key `valeu`; did you mean `value`?
  3 | - {{ key: a, valeu: b }}
    |             ^
1 error, 0 warnings
"
    );
    assert_eq!(tollgate(&["check", &bad]).1, expected);
    let good = file("text-good", GOOD);
    assert_eq!(tollgate(&["check", &good]).1, "1 domain: 0 errors, 0 warnings\n");
}

#[test]
fn json_and_github_say_the_same() {
    let warned = file("formats", WARNED);
    let message =
        "e.descriptors[0]: no limit: every request with this value passes, whatever the other rules say";
    let json = tollgate(&["check", "--format", "json", &warned]).1;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let problem = &json["problems"][0];
    assert_eq!((json["errors"].as_u64(), json["warnings"].as_u64()), (Some(0), Some(1)));
    assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(3), Some(3)));
    assert_eq!((problem["severity"].as_str(), problem["message"].as_str()), (Some("warning"), Some(message)));
    let github = tollgate(&["check", "--format", "github", &warned]).1;
    assert_eq!(github, format!("::warning file={warned},line=3,col=3::{message}\n"));
}

#[test]
fn lines_of_a_members_file_are_not_shown() {
    let limits = "domain: e
tiers: { free: [{ unit: day, requests_per_unit: 1 }] }
members: { file: check-secret-members.yaml, key: api_key, default: free }
";
    support::file("check-secret-members.yaml", "free: [canary-1, canary-1]\n");
    let limits = file("secret", limits);
    let (status, text) = tollgate(&["check", &limits]);
    assert_eq!(status, Some(1));
    assert!(text.contains("members.yaml:1:18: this key is already in tier `free`"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/limits.schema.json");
    assert_eq!(tollgate(&["schema"]), (Some(0), std::fs::read_to_string(file).expect("readable")));
}

#[test]
fn a_folder_stands_for_its_limits_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check-folder");
    std::fs::create_dir_all(folder.join("empty")).expect("can be created");
    std::fs::write(folder.join("good.yaml"), GOOD).expect("can be written");
    let path = folder.display().to_string();
    assert_eq!(tollgate(&["check", &path]), (Some(0), "1 domain: 0 errors, 0 warnings\n".to_owned()));
    let (status, text) = tollgate(&["check", &folder.join("empty").display().to_string()]);
    assert_eq!(status, Some(2));
    assert!(text.contains("empty: this folder has no *.yaml or *.yml file"), "{text}");

    std::fs::write(folder.join("bad.yml"), BAD.replace("domain: e", "domain: f")).expect("can be written");
    let (status, text) = tollgate(&["check", &path]);
    std::fs::remove_file(folder.join("bad.yml")).expect("it is ours");
    assert_eq!(status, Some(1));
    assert!(text.contains("bad.yml:3:13: f.descriptors[0]: unknown key `valeu`"), "{text}");
    assert!(text.contains("\n  3 | - { key: a, valeu: b }\n"), "its line is shown: {text}");
}

#[test]
fn a_message_shows_what_was_read_so_a_pipe_is_enough() {
    let mut check = Command::new(binaries::tollgate().expect("built"))
        .args(["check", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    check.stdin.take().expect("piped").write_all(BAD.as_bytes()).expect("it reads");
    let output = check.wait_with_output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("\n  3 | - { key: a, valeu: b }\n    |             ^\n"), "{text}");
}

#[test]
fn no_file_is_read_beyond_its_bound_whatever_is_shown_of_it() {
    let comments = file("comments", &"#\n".repeat(25_000_000));
    let at_the_bound = format!("{BAD}{}", "#\n".repeat((16 << 19) - 100));
    let at_the_bound = file("at-the-bound", &at_the_bound);
    let tollgate = binaries::tollgate().expect("built").display().to_string();
    for (path, told) in [
        (comments.as_str(), "larger than 16 MiB"),
        ("/dev/zero", "larger than 16 MiB"),
        (at_the_bound.as_str(), "  3 | - { key: a, valeu: b }"),
    ] {
        let command = format!("ulimit -v 800000; exec {tollgate} check {path}");
        let output = Command::new("sh").args(["-c", &command]).output().expect("runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.code() == Some(1) && text.contains(told), "{path}: {text} {:?}", output.stderr);
    }
    for path in [comments, at_the_bound] {
        std::fs::remove_file(path).expect("it is ours");
    }
}

#[test]
fn lines_of_a_members_file_are_not_shown_where_a_broken_limits_file_does_not_name_it() {
    let folder = std::env::temp_dir().join(format!("tollgate-check-folder-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("limits.yaml"), "domain: e\nmembers: {\n").expect("ours");
    std::fs::write(folder.join("members.yaml"), "free: [canary-1]\n").expect("ours");
    let (status, text) = tollgate(&["check", &folder.display().to_string()]);
    std::fs::remove_dir_all(folder).expect("ours");
    assert_eq!(status, Some(1));
    assert!(text.contains("members.yaml: this is a members file") && !text.contains("canary"), "{text}");
}

#[test]
fn the_first_of_many_errors_come_first_the_rest_last_and_the_sum_agrees() {
    let mut text = String::from("domain: e\ndescriptors:\n");
    for rule in 0..2_500 {
        text.push_str(&format!("- {{ key: k{rule}, valeu: b }}\n"));
    }
    let many = file("many", &text);
    let (status, text) = tollgate(&["check", &many]);
    assert_eq!(status, Some(1));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("{many}:3:14: e.descriptors[0]: unknown key")), "{}", lines[0]);
    let last = [format!("{many}: 1500 more errors"), "2500 errors, 0 warnings".to_owned()];
    assert_eq!(lines[lines.len() - 2..], last);
    let json = tollgate(&["check", "--format", "json", &many]).1;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["errors"], 2500);
    assert_eq!(json["problems"][1000]["message"], "1500 more errors");
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(1001));
}
