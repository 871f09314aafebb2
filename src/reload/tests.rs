use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Sources, load, watch::Watch};
use crate::{
    config::{self, InFolders, Look, Seen},
    metrics::Metrics,
    response::{Contract, Group, Jitter},
    rules::Publisher,
};
use tollgate_core::{limit::Defaults, matcher::Matcher};

/// A folder for one test, which is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tollgate-reload-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files as they looked before they were read.
fn seen(paths: &[&PathBuf]) -> Vec<Seen> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
    config::check(&paths, Defaults::default()).files
}

/// Whether a change is noticed within the next three looks.
fn notices(watch: &mut Watch) -> bool {
    (0..3).any(|_| watch.has_settled_anew())
}

/// Replaces the link atomically, as the update of a volume does.
fn swap(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_changed_file_is_taken_up_once_and_only_when_it_stays_the_same() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let mut watch = Watch::new(seen(&[&file]));
    assert!(!notices(&mut watch));
    folder.write("limits.yaml", "two and more");
    assert!(!watch.has_settled_anew(), "it may still be written");
    folder.write("limits.yaml", "three");
    assert!(!watch.has_settled_anew(), "it was still being written");
    assert!(watch.has_settled_anew());
    let mut watch = Watch::new(seen(&[&file]));
    assert!(!notices(&mut watch));
}

#[test]
fn a_change_while_a_file_is_read_or_the_process_starts_is_noticed() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let read = seen(&[&file]);
    folder.write("limits.yaml", "two, long before anybody follows it");
    assert!(notices(&mut Watch::new(read)));
}

#[test]
fn a_swapped_link_to_the_folder_above_is_a_change() {
    let folder = Folder::new();
    folder.write("..one/limits.yaml", "same length");
    folder.write("..two/limits.yaml", "same lengtH");
    let data = folder.0.join("..data");
    symlink("..one", &data).unwrap();
    let file = folder.0.join("limits.yaml");
    symlink("..data/limits.yaml", &file).unwrap();
    for paths in [&[&file][..], &[&folder.0]] {
        let mut watch = Watch::new(seen(paths));
        assert!(!notices(&mut watch));
        swap(&data, "..two");
        assert!(notices(&mut watch));
        swap(&data, "..one");
    }
}

#[test]
fn a_file_that_goes_and_one_that_comes_are_changes() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let mut watch = Watch::new(seen(&[&file]));
    fs::remove_file(&file).unwrap();
    assert!(notices(&mut watch));
    let mut watch = Watch::new(seen(&[&file]));
    folder.write("limits.yaml", "one");
    assert!(notices(&mut watch));
}

#[test]
fn content_of_equal_length_is_a_change_though_the_time_of_the_file_is_set_back() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let set_back = |path: &Path| File::options().write(true).open(path).unwrap().set_modified(time).unwrap();

    let mut watch = Watch::new(seen(&[&file]));
    let new = folder.write("new", "two");
    set_back(&new);
    fs::rename(new, &file).unwrap();
    assert!(notices(&mut watch), "another file in its place");

    let read = seen(&[&file]);
    // In place, and again until the clock of the file system has moved on, which it does every few milliseconds.
    while Look::at(&file) == read[0].look {
        folder.write("limits.yaml", "six");
        set_back(&file);
    }
    assert!(notices(&mut Watch::new(read)), "only the kernel knows");
}

#[test]
fn only_the_limits_files_of_a_folder_are_followed() {
    let folder = Folder::new();
    let one = folder.write("one.yaml", "one");
    let mut watch = Watch::new(seen(&[&folder.0]));
    for other in [".hidden.yaml", "notes.txt", "backup.yaml~", "below/three.yaml", "below.yaml/four.yaml"] {
        folder.write(other, "text");
        assert!(!notices(&mut watch), "{other}");
    }
    let two = folder.write("two.yml", "two");
    assert!(notices(&mut watch), "one that comes");
    let read = seen(&[&folder.0]);
    let paths: Vec<&PathBuf> = read.iter().map(|seen| &seen.path).collect();
    assert_eq!(paths, [&folder.0, &one, &two]);
    let mut watch = Watch::new(read);
    folder.write("two.yml", "two, changed");
    assert!(notices(&mut watch), "one that changes");
    let mut watch = Watch::new(seen(&[&folder.0]));
    fs::remove_file(one).unwrap();
    assert!(notices(&mut watch), "one that goes");
    symlink("nowhere.yaml", folder.0.join("three.yaml")).unwrap();
    let read = seen(&[&folder.0]);
    assert_eq!(read.len(), 3, "a link to nowhere is no reason to know of no file");
}

#[test]
fn a_stream_that_can_be_read_only_once_does_not_change() {
    assert_eq!(Look::at(Path::new("/dev/null")), Look::Stream);
}

const PLAIN: &str = "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 1 } }]\n";
const WITH_MEMBERS: &str = "domain: d
tiers: { free: [{ unit: day, requests_per_unit: 2 }], paid: [{ unit: day, requests_per_unit: 3 }] }
members: { file: members.yaml, key: k, default: free }
descriptors: [{ key: k, tier: from_members }]
";

fn publisher() -> Publisher {
    let contract = Contract::new(Group::DEFAULT.to_vec(), Jitter::default());
    Publisher::new(Matcher::default(), contract, Arc::new(Metrics::new()))
}

fn reloads(publisher: &Publisher, result: &str) -> u32 {
    let text = publisher.metrics().render();
    let series = format!("tollgate_config_reloads_total{{result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_members_file_that_comes_after_a_refused_reload_is_noticed() {
    let folder = Folder::new();
    let paths = vec![folder.write("limits.yaml", PLAIN)];
    let sources = Sources { paths, in_folders: InFolders::default(), defaults: Defaults::default() };
    let publisher = publisher();
    let taken = || reloads(&publisher, "taken");
    let mut watch = Watch::new(seen(&[&sources.paths[0]]));
    load(&sources, &publisher, &mut watch);
    assert_eq!((taken(), notices(&mut watch)), (1, false));

    folder.write("limits.yaml", WITH_MEMBERS);
    assert!(notices(&mut watch));
    load(&sources, &publisher, &mut watch);
    assert_eq!((taken(), notices(&mut watch)), (1, false), "refused: there is no members file");

    folder.write("members.yaml", "paid: [alice]\n");
    assert!(notices(&mut watch));
    load(&sources, &publisher, &mut watch);
    assert_eq!(taken(), 2);
    // A wrong members file is followed too.
    for (members, expected) in [("paid: [alice, alice]\n", 2), ("paid: [bob]\n", 3)] {
        folder.write("members.yaml", members);
        assert!(notices(&mut watch));
        load(&sources, &publisher, &mut watch);
        assert_eq!((taken(), notices(&mut watch)), (expected, false));
    }
}

/// The socket and the pipe look the same here, as a file looks the same whether file descriptors have run out or not.
#[test]
fn a_file_that_could_not_be_read_is_read_again_though_it_looks_the_same() {
    let folder = Folder::new();
    let path = folder.0.join("limits.yaml");
    let socket = UnixListener::bind(&path).unwrap();
    let paths = vec![path.clone()];
    let sources = Sources { paths, in_folders: InFolders::default(), defaults: Defaults::default() };
    let publisher = publisher();
    let mut watch = Watch::new(seen(&[&path]));
    load(&sources, &publisher, &mut watch);
    let looks_until_due = |watch: &mut Watch| (1..1_000).find(|_| watch.is_due());
    let mut pauses = Vec::new();
    for _ in 0..9 {
        pauses.extend(looks_until_due(&mut watch));
        load(&sources, &publisher, &mut watch);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
    assert_eq!(reloads(&publisher, "refused"), 1, "it is told once");

    drop(socket);
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(!notices(&mut watch), "nothing has changed");
    let writer = thread::spawn(move || fs::write(path, PLAIN).unwrap());
    assert!(looks_until_due(&mut watch).is_some());
    load(&sources, &publisher, &mut watch);
    writer.join().unwrap();
    assert_eq!((reloads(&publisher, "taken"), looks_until_due(&mut watch)), (1, None));
}

/// The errors of a changed file are logged again, even if it cannot be read either.
#[test]
fn a_change_of_what_could_not_be_read_is_told_again() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let told = "limits.yaml: cannot be read";
    let mut watch = Watch::reading_again(seen(&[&file]), told.to_owned(), &Watch::new(Vec::new()));
    assert!(watch.has_told(told) && !watch.has_told("another"));
    folder.write("limits.yaml", "two and more");
    assert!(!watch.is_due(), "it may still be written");
    assert!(watch.is_due());
    assert!(!watch.has_told(told));
}
