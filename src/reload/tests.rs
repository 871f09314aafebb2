use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::watch::Watch;

/// A folder of one test, gone with it.
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

/// Of how many of the next three looks the watch makes a change.
fn changes(watch: &mut Watch) -> usize {
    (0..3).filter(|_| watch.has_settled_anew()).count()
}

/// Atomically, as a volume's update does it.
fn swap(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_changed_file_is_taken_up_once_and_only_when_it_stays_the_same() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let mut watch = Watch::new(vec![file.clone()]);
    assert_eq!(changes(&mut watch), 0);
    folder.write("limits.yaml", "two and more");
    assert!(!watch.has_settled_anew(), "it may still be written");
    folder.write("limits.yaml", "three");
    assert!(!watch.has_settled_anew(), "it was still being written");
    assert!(watch.has_settled_anew());
    assert_eq!(changes(&mut watch), 0);
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
    let mut watch = Watch::new(vec![file]);
    assert_eq!(changes(&mut watch), 0);
    swap(&data, "..two");
    assert_eq!(changes(&mut watch), 1);
}

#[test]
fn a_file_that_goes_and_one_that_comes_are_changes() {
    let folder = Folder::new();
    let file = folder.write("limits.yaml", "one");
    let mut watch = Watch::new(vec![file.clone()]);
    fs::remove_file(&file).unwrap();
    assert_eq!(changes(&mut watch), 1);
    folder.write("limits.yaml", "one");
    assert_eq!(changes(&mut watch), 1);
}

#[test]
fn a_file_that_is_followed_from_now_on_is_looked_at_and_others_keep_their_looks() {
    let folder = Folder::new();
    let limits = folder.write("limits.yaml", "one");
    let mut watch = Watch::new(vec![limits.clone()]);
    let members = folder.write("members.yaml", "one");
    folder.write("limits.yaml", "changed after it was loaded");
    watch.follow(vec![limits, members]);
    assert_eq!(changes(&mut watch), 1);
    folder.write("members.yaml", "two");
    assert_eq!(changes(&mut watch), 1);
}
