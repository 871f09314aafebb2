//! Runs each input that fuzzing started from or found, once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tollgate::fuzz;

fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_file());
    let files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).expect("readable"))).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[track_caller]
fn run(folder: &str, target: fn(&[u8])) {
    for (path, bytes) in files(folder) {
        println!("{}", path.display());
        target(&bytes);
        // Each is also cut at every length, as by a broken connection or disk.
        (0..bytes.len().min(400)).for_each(|length| target(&bytes[..length]));
    }
}

#[test]
fn no_limits_file_of_the_corpus_panics() {
    run("fuzz/corpus/config", fuzz::config);
    run("examples", fuzz::config);
    run("examples/recipes", fuzz::config);
    run("tests/bad_limits", fuzz::config);
}

#[test]
fn no_request_of_the_corpus_panics_or_gets_half_an_answer() {
    run("fuzz/corpus/request", fuzz::request);
}

#[test]
fn no_answer_of_an_xds_server_panics_or_is_refused_without_words() {
    run("fuzz/corpus/xds", fuzz::xds);
}

#[test]
fn no_check_of_the_corpus_panics_or_gets_half_an_answer() {
    run("fuzz/corpus/check", fuzz::check);
}

#[test]
fn no_action_list_of_the_corpus_panics() {
    run("fuzz/corpus/actions", fuzz::actions);
}

#[test]
fn no_reply_of_the_corpus_panics() {
    run("fuzz/corpus/reply", fuzz::reply);
}
