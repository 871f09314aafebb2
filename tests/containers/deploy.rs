//! deploy/ names flags, variables, limits and metrics that exist. `make manifests` checks the rest, with tools that CI has not.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use lab::binaries;

fn deploy() -> PathBuf {
    binaries::checkout().join("deploy")
}

/// Every file in deploy/, with its path.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&deploy(), &mut found);
    assert!(found.len() > 20, "{} files in deploy/", found.len());
    found
}

fn collect(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("can be read") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            let name = path.strip_prefix(binaries::checkout()).expect("in the checkout");
            into.push((name.display().to_string(), fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(binaries::checkout().join(file)).expect("can be read")
}

fn tollgate(args: &[&str]) -> (bool, String) {
    let output = Command::new(binaries::tollgate().expect("built")).args(args).output().expect("runs");
    (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// The word at the start of the text, of these characters.
fn word(text: &str, is_part: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|part| !is_part(part)).unwrap_or(text.len())]
}

/// The words in the text that begin with this.
fn words<'a>(text: &'a str, beginning: &str, is_part: impl Fn(char) -> bool + Copy) -> BTreeSet<&'a str> {
    text.match_indices(beginning).map(|(at, _)| word(&text[at..], is_part)).collect()
}

/// The arguments of containers, as `- --flag=…`, and the keys below `flags:` in values.
fn flags(text: &str) -> BTreeSet<&str> {
    let is_part = |part: char| part.is_ascii_lowercase() || part.is_ascii_digit() || part == '-';
    let mut found = BTreeSet::new();
    let mut below_flags = false;
    for line in text.lines() {
        let argument = line.trim_start().trim_start_matches("- ").trim_start_matches('"');
        let flag = argument.strip_prefix("--").map(|flag| word(flag, is_part));
        let inside = below_flags && line.starts_with("  ");
        let key = line.split_once(':').filter(|_| inside).map(|(key, _)| key.trim_start());
        found.extend(
            flag.into_iter()
                .chain(key)
                .filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase())),
        );
        below_flags = line == "flags:" || inside;
    }
    found
}

#[test]
fn every_flag_and_variable_in_deploy_is_one_of_serve() {
    let (_, help) = tollgate(&["serve", "--help"]);
    let mut seen = 0;
    for (file, text) in files() {
        for flag in flags(&text) {
            seen += 1;
            let is_there =
                help.contains(&format!("      --{flag} ")) || help.contains(&format!("      --{flag}[="));
            assert!(is_there, "{file}: --{flag}");
        }
        let is_part = |part: char| part.is_ascii_uppercase() || part == '_';
        for variable in words(&text, "TOLLGATE_", is_part) {
            // A beginning of names, in a comment.
            if variable != "TOLLGATE_" {
                seen += 1;
                assert!(
                    help.contains(&format!("[env: {variable}="))
                        || help.contains(&format!("[env: {variable}]")),
                    "{file}: {variable}"
                );
            }
        }
    }
    assert!(seen > 30, "{seen} flags and variables");
}

/// A port that is in use: a start that gets as far as its ports has understood everything else, and ends there.
#[test]
fn the_command_line_of_the_chart_is_understood_as_a_whole() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let limits = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy-limits");
    fs::create_dir_all(&limits).expect("can be made");
    fs::copy(deploy().join("kustomize/base/limits.yaml"), limits.join("limits.yaml")).expect("can be copied");
    let base = read("deploy/kustomize/base/tollgate.yaml");
    let arguments: Vec<_> = base.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
    assert!(arguments.len() >= 7, "{arguments:?}");
    let arguments = arguments.iter().map(|argument| {
        let argument = argument.replace("0.0.0.0:8081", &address).replace("0.0.0.0:8080", "127.0.0.1:0");
        format!("--{}", argument.replace("/etc/tollgate/limits", &limits.display().to_string()))
    });
    let mut command = Command::new(binaries::tollgate().expect("built"));
    let output = command.env_clear().arg("serve").args(arguments).output().expect("runs");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!output.status.success() && told.contains(&address), "{told}");
}

/// The blocks of text below `limits.yaml: |`, without their indentation.
fn limits_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "limits.yaml: |" {
            continue;
        }
        let outer = line.len() - line.trim_start().len();
        let mut block = String::new();
        while let Some(line) =
            lines.next_if(|line| line.trim().is_empty() || line.len() - line.trim_start().len() > outer)
        {
            block.push_str(line.get(outer + 2..).unwrap_or(""));
            block.push('\n');
        }
        found.push(block);
    }
    found
}

#[test]
fn every_limits_file_in_deploy_passes_the_check() {
    let mut checked = 0;
    for (file, text) in files() {
        let mut limits = limits_in(&text);
        if file.ends_with("limits.yaml") && text.contains("\ndescriptors:") {
            limits.push(text);
        }
        for limits in limits {
            let name = file.replace('/', "-");
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            fs::write(&path, &limits).expect("can be written");
            let (passes, told) = tollgate(&["check", "--strict", &path.display().to_string()]);
            assert!(passes, "{file}: {told}\n{limits}");
            checked += 1;
        }
    }
    assert!(checked >= 6, "{checked} limits files");
}

#[test]
fn the_alerts_name_metrics_and_labels_that_exist() {
    let (alerts, page) = (read("deploy/alerts/tollgate.yaml"), read("docs/operate.md"));
    let is_part = |part: char| part.is_ascii_lowercase() || part.is_ascii_digit() || part == '_';
    let metrics = words(&alerts, "tollgate_", is_part);
    assert!(metrics.len() >= 12, "{metrics:?}");
    for metric in metrics {
        let metric = metric.strip_suffix("_bucket").unwrap_or(metric);
        assert!(page.contains(&format!("| `{metric}` |")), "docs/operate.md has no {metric}");
    }
    for label in ["verdict", "source", "outcome", "kind"] {
        for values in alerts.split(&format!("{label}=")).skip(1) {
            let values = values.trim_start_matches('~').split('"').nth(1).expect("quoted");
            for value in values.split('|') {
                assert!(page.contains(&format!("`{value}`")), "docs/operate.md has no {label} {value}");
            }
        }
    }
}

#[test]
fn each_alert_says_what_to_do_and_is_seen_to_fire() {
    let (alerts, test) = (read("deploy/alerts/tollgate.yaml"), read("deploy/alerts/tollgate.test.yaml"));
    let alerts: Vec<_> = alerts.split("\n  - alert: ").skip(1).collect();
    assert!(alerts.len() >= 10, "{} alerts", alerts.len());
    for alert in alerts {
        let name = word(alert, char::is_alphanumeric);
        for part in ["severity: ", "summary: ", "description: ", "runbook: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        assert!(test.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
}

#[test]
fn the_chart_deploys_this_version() {
    let chart = read("deploy/helm/tollgate/Chart.yaml");
    assert!(chart.contains(&format!("\nappVersion: \"{}\"\n", env!("CARGO_PKG_VERSION"))), "{chart}");
}
