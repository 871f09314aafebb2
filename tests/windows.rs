//! No test depends on when it runs: each test with a limit of a day or longer names the token bucket, or keeps away
//! from the midnight at which its window ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files whose limits are loaded but never asked often enough for an edge to matter, or that a flag turns into buckets.
const NEVER_USED_UP: [&str; 6] = [
    "tests/check.rs",
    "tests/explain/main.rs",
    "tests/variables.rs",
    "tests/reload.rs",
    "examples/quota.yaml",
    "examples/tiers.yaml",
];
/// The times of these are those of a log.
const IN_THE_PAST: [&str; 4] = [
    "tests/simulate/page.rs",
    "tests/simulate/formats.rs",
    "tests/simulate/verdicts.rs",
    "tests/simulate/broken.rs",
];
/// `tests/examples.rs` and the demo wait for the edge of these. A limit of 0 denies in every window.
const WAITED_FOR: [&str; 4] =
    ["examples/shadow.yaml", "examples/drop-in.yaml", "examples/demo.yaml", "examples/limits.yaml"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() && !path.ends_with("bad_limits") {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "yaml") {
            found.push(path);
        }
    }
}

/// Whether a limit is a window because of its period.
fn is_window(line: &str) -> bool {
    let line = line.to_lowercase();
    let is_long = ["day", "week", "month", "year"].iter().any(|unit| line.contains(&format!("unit: {unit}")));
    is_long && line.contains("requests_per_unit") && !line.contains("algorithm:") && !line.contains("burst:")
}

#[test]
fn a_test_with_a_window_of_a_day_or_longer_keeps_away_from_its_edge() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["tests", "lab", "examples", "envoy"] {
        files(&root.join(folder), &mut found);
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in found {
        let name = path.strip_prefix(root).expect("below it").display().to_string();
        let text = fs::read_to_string(&path).expect("it can be read");
        let is_left_out = name == "tests/windows.rs" || text.contains("\nalgorithm: token_bucket\n");
        let excuses = [&NEVER_USED_UP[..], &IN_THE_PAST[..], &WAITED_FOR[..]].concat();
        if is_left_out || !text.lines().any(is_window) {
            continue;
        }
        seen += 1;
        if !excuses.contains(&name.as_str()) && !text.contains("midnight::not_within(") {
            wrong.push(name);
        }
    }
    assert!(seen >= 5, "only {seen} files have windows: is it still looked for in the right way?");
    assert_eq!(
        wrong, [""; 0],
        "their limits are windows: name `algorithm: token_bucket`, or wait by `lab::midnight::not_within`"
    );
}
