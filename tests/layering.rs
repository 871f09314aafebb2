//! The arrows of the map in lib.rs: the core depends on nothing of the edge, no modules depend on each other in a
//! circle, and each outside crate has one owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The crates that the core may depend on: no runtime, wire, Redis or metrics.
const CRATES_OF_CORE: [&str; 6] = ["thiserror", "blake3", "smallvec", "foldhash", "sha2", "regex"];
/// The types of the standard library that read a clock; in the core `now` is a parameter.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];
/// A crate or the generated protocol, and the files that may name it.
const OWNERS: [(&str, &[&str]); 14] = [
    ("use redis::", &["store/redis"]),
    ("axum", &["admin"]),
    ("prometheus", &["metrics"]),
    ("granit_parser", &["config/yaml"]),
    (
        "serde_json",
        &[
            "response/problem",
            "cli/check/format",
            "cli/explain/json",
            "cli/simulate",
            "cli/top/figures",
            "hands/json",
            "protocol/authz/metadata",
            "protocol/rls/json",
            "live",
        ],
    ),
    ("clap", &["cli", "main"]),
    ("strsim", &["config/fields/stray"]),
    ("pb::", &["protocol", "response", "server", "cli", "fuzz", "traces", "xds"]),
    (
        "rand::",
        &[
            "replica",
            "response/groups",
            "server/limits",
            "store/redis",
            "traces/context",
            "xds/pauses",
            "logging/names",
        ],
    ),
    (
        "rustls",
        &["certificates", "server/tls", "server/connection", "store/redis/tls", "traces/transport", "xds"],
    ),
    ("x509_cert", &["certificates"]),
    ("flate2", &["cli/simulate/log/input"]),
    ("serde::", &["cli/simulate/log/json"]),
    ("SystemTime", &["clock"]),
];

/// Each source file in a folder, except tests: its path below the folder without `.rs`, and its text without comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let name = path.strip_prefix(&root).expect("below src").with_extension("");
                let text = fs::read_to_string(&path).expect("a source can be read");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                sources.push((name.display().to_string(), code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    sources
}

fn belongs_to(file: &str, owner: &str) -> bool {
    file == owner || file.strip_prefix(owner).is_some_and(|rest| rest.starts_with('/'))
}

/// The modules of this crate that a source names after `crate::`, also in braces.
fn modules_named(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, word)| code.split_at(at + word.len())) {
        match rest.strip_prefix('{') {
            Some(list) => names.extend(heads(list)),
            None => names.push(word(rest)),
        }
    }
    names
}

/// The first word of each item of a `use` list, up to its closing brace.
fn heads(list: &str) -> Vec<&str> {
    let (mut depth, mut is_head, mut heads) = (1, true, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => is_head = true,
            _ if is_head && !letter.is_whitespace() => {
                heads.push(word(&list[at..]));
                is_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The crates that a source's `use` lines name, and this crate's own parts as their keyword.
fn crates_used(code: &str) -> Vec<&str> {
    let lines = code.lines().map(str::trim_start).map(|line| line.strip_prefix("pub ").unwrap_or(line));
    lines
        .filter_map(|line| line.strip_prefix("use "))
        .map(|path| word(path.trim_start_matches("::")))
        .collect()
}

#[test]
fn the_core_depends_on_nothing_of_the_edge_and_reads_no_clock() {
    let manifest = include_str!("../core/Cargo.toml");
    let (_, listed) = manifest.split_once("\n[dependencies]\n").expect("there are dependencies");
    let depends: Vec<&str> = listed.lines().take_while(|line| !line.is_empty()).map(word).collect();
    assert!(depends.len() > 3, "only {depends:?} were found");
    for name in depends {
        assert!(CRATES_OF_CORE.contains(&name), "core depends on {name}");
    }
    for (file, code) in sources("core/src") {
        for clock in CLOCKS {
            assert!(!code.contains(clock), "core/src/{file}.rs names {clock}");
        }
    }
}

/// Each module that is a file or folder directly in src, and the others that it names.
fn modules() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in sources("src").into_iter().filter(|(file, _)| file != "lib" && file != "main") {
        let module = file.split('/').next().expect("a path has a first part").to_owned();
        let named = modules_named(&code).into_iter().filter(|name| *name != module).map(ToOwned::to_owned);
        graph.entry(module.clone()).or_default().extend(named);
    }
    graph
}

#[test]
fn no_modules_depend_on_each_other_in_a_circle() {
    let mut graph = modules();
    assert!(graph["server"].contains("metrics"), "{graph:?}");
    // Modules that depend on nothing left are removed, until nothing is left, or only a circle.
    while !graph.is_empty() {
        let known: Vec<String> = graph.keys().cloned().collect();
        let is_free = |named: &BTreeSet<String>| !named.iter().any(|name| known.contains(name));
        let before = graph.len();
        graph.retain(|_, named| !is_free(named));
        assert!(graph.len() < before, "these depend on each other in a circle: {graph:#?}");
    }
}

#[test]
fn a_use_list_is_taken_apart() {
    let code = "use crate::{\n    limit::{Exact, Limit},\n    store, rls::x,\n};\nuse crate::clock::Clock;";
    assert_eq!(modules_named(code), ["limit", "store", "rls", "clock"]);
    assert_eq!(crates_used("use std::fmt;\n    pub use tokio::{x};\nfn used() {}"), ["std", "tokio"]);
}

#[test]
fn each_outside_crate_has_its_owners() {
    for (file, code) in sources("src") {
        for (name, owners) in OWNERS {
            let owned = owners.iter().any(|owner| belongs_to(&file, owner));
            // lib.rs includes the generated protocol under its name.
            let named = code.contains(name) && !(file == "lib" && name == "pb::");
            assert!(owned || !named, "src/{file}.rs names {name}, which belongs to {owners:?}");
        }
    }
}

/// Commands and options that the scripts may use. All are in Redis 6.2, which EXAT needs.
const COMMANDS: [&str; 9] =
    ["TIME", "MGET", "SET", "SETRANGE", "DEL", "ZADD", "ZREMRANGEBYSCORE", "ZCARD", "PEXPIRE"];
const OPTIONS: [&str; 2] = ["EXAT", "KEEPTTL"];

#[test]
fn the_script_uses_no_command_and_no_option_newer_than_redis_6_2() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).expect("lua can be read") {
        texts.push(fs::read_to_string(entry.expect("lua can be read").path()).expect("a script can be read"));
    }
    // The line that the loader fills in is part of a script too.
    texts.push(include_str!("../src/store/redis/script.rs").to_owned());
    let mut calls = 0;
    for text in &texts {
        // `redis.call` under a name of its own, and `pcall`, end alike.
        for call in text.split("call(").skip(1) {
            let mut words = quoted(call.split('\n').next().unwrap_or_default());
            // A command that the script computes could be any.
            assert!(call.starts_with('\''), "call({call:.20} does not name its command");
            let command = words.next().expect("it starts with a quote");
            assert!(COMMANDS.contains(&command), "{command} is not known to be in Redis 6.2");
            calls += 1;
        }
    }
    assert!(calls >= COMMANDS.len(), "only {calls} calls were found");
    // Every word in capitals counts as an option.
    for script in &texts[..texts.len() - 1] {
        let code: Vec<&str> =
            script.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        for word in code.iter().flat_map(|line| quoted(line)).filter(|word| is_shouted(word)) {
            let known = COMMANDS.contains(&word) || OPTIONS.contains(&word);
            assert!(known, "{word} is not known to be in Redis 6.2");
        }
    }
}

/// The texts between single or double quotes on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split(['\'', '"']).skip(1).step_by(2)
}

fn is_shouted(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())
}

#[test]
fn each_file_on_the_way_of_a_request_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = include_str!("../src/lib.rs");
    let steps = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once(" | `"));
    let files: Vec<&str> = steps
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .filter_map(|(_, rest)| rest.split('`').next())
        .collect();
    assert!(files.len() > 20, "only {files:?} were found");
    for file in files {
        assert!(root.join(file).is_file(), "src/lib.rs leads through {file}, which does not exist");
    }
}
