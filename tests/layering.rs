//! The arrows of lib.rs' map: the core names nothing of the edge, and each outside crate has one owner.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files of the core, which decides and does nothing else.
const CORE: [&str; 4] = ["descriptor", "limit", "matcher", "decision"];
/// What the core must not name: runtimes, wires, stores, serialisers, logs, chance, clocks, and the modules
/// around it.
const NOT_IN_CORE: [&str; 19] = [
    "tokio",
    "tonic",
    "prost",
    "hyper",
    "http::",
    "axum",
    "redis::",
    "prometheus",
    "tracing",
    "rand::",
    "serde",
    "granit",
    "Instant",
    "SystemTime",
    "crate::clock",
    "crate::store",
    "crate::response",
    "crate::limiter",
    "crate::metrics",
];
/// A crate or the generated protocol, and the files that may name it.
const OWNERS: [(&str, &[&str]); 9] = [
    ("deadpool_redis", &["store/redis", "store"]),
    ("axum", &["admin"]),
    ("prometheus", &["metrics"]),
    ("granit_parser", &["config/yaml"]),
    ("serde_json", &["response/problem", "prove"]),
    ("clap", &["cli", "main", "prove"]),
    ("pb::", &["rls", "response", "server", "cli"]),
    ("rand::", &["response/headers", "store/redis", "prove", "simulation"]),
    ("SystemTime", &["clock"]),
];

/// Each source file but tests: its path below src without `.rs`, and its text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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

#[test]
fn the_core_names_nothing_of_the_edge() {
    for (file, code) in sources() {
        if CORE.iter().any(|core| belongs_to(&file, core)) {
            for word in NOT_IN_CORE {
                assert!(!code.contains(word), "src/{file}.rs is core and names {word}");
            }
        }
    }
}

#[test]
fn each_outside_crate_has_its_owners() {
    for (file, code) in sources() {
        for (name, owners) in OWNERS {
            let owned = owners.iter().any(|owner| belongs_to(&file, owner));
            // lib.rs includes the generated protocol and gives it its name.
            let named = code.contains(name) && !(file == "lib" && name == "pb::");
            assert!(owned || !named, "src/{file}.rs names {name}, which belongs to {owners:?}");
        }
    }
}

#[test]
fn the_script_uses_no_command_newer_than_redis_6_2() {
    // Commands and options that the scripts may call, all in Redis 6.2 (PXAT is new there).
    let known = ["'TIME'", "'MGET'", "'SET'", "'DEL'"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let loader = include_str!("../src/store/redis/script.rs");
    let mut texts = vec![loader.to_owned()];
    for entry in fs::read_dir(folder).expect("lua can be read") {
        texts.push(fs::read_to_string(entry.expect("lua can be read").path()).expect("a script can be read"));
    }
    let mut calls = 0;
    for text in &texts {
        for call in text.split("redis.call(").skip(1).chain(text.split("redis.pcall(").skip(1)) {
            let command = call.split([',', ')']).next().expect("something follows");
            assert!(known.contains(&command), "redis.call({command}) is not known to be in Redis 6.2");
            calls += 1;
        }
    }
    assert!(calls >= known.len(), "only {calls} calls were found");
}
