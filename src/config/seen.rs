//! The state of files before they were read. The watch compares later states with it.
//!
//! The state is taken first, so that a change while the files are read is noticed. It is taken through all links, so a
//! swapped link (an update of a ConfigMap) is a change.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::clock;

/// Some file systems keep whole seconds, or two of them.
const COARSE_NS: i128 = 2_000_000_000;

/// A file, or a folder of limits files, and how it looked before it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: PathBuf,
    pub look: Look,
    pub holds: Holds,
    /// If it is a folder.
    pub in_folders: InFolders,
}

/// Which files of a folder are limits files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InFolders {
    /// `*.yaml` and `*.yml`, except those that begin with a dot. Subfolders are not read.
    #[default]
    Yaml,
    /// Those whose names begin with no dot, whatever they are called; so in subfolders.
    Visible,
    /// All, in subfolders too.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Limits,
    /// Its lines may be secrets.
    Members,
}

/// The state of a path, which changes with the content. A missing file has a state too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    File {
        device: u64,
        inode: u64,
        bytes: u64,
        /// The times of content and of metadata; only the kernel sets the second.
        modified_ns: i128,
        changed_ns: i128,
        /// The file system keeps whole seconds, and the change is so recent that another one may get the same time. The
        /// state of an unchanged file differs once it is older.
        is_unsure: bool,
    },
    /// The names of the limits files in it, in order, and of the subfolders that are read.
    Folder(Vec<OsString>),
    /// A pipe or a similar file can be read only once, so it does not change.
    Stream,
    Absent(io::ErrorKind),
}

// === impl Seen, InFolders ===

impl Seen {
    /// How it looks now.
    pub fn look_again(&self) -> Look {
        Look::within(&self.path, self.in_folders)
    }
}

impl InFolders {
    /// Whether subfolders are read.
    pub(super) fn is_deep(self) -> bool {
        self != InFolders::Yaml
    }

    fn takes(self, path: &Path) -> bool {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match self {
            // A ConfigMap keeps its versions in such folders, an editor its locks in such files. A broken link counts
            // as a file, so that it is reported.
            InFolders::Yaml => {
                let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
                is_yaml && !is_hidden && !path.is_dir()
            }
            InFolders::Visible => !is_hidden,
            InFolders::All => true,
        }
    }
}

// === impl Look ===

impl Look {
    pub fn at(path: &Path) -> Look {
        Look::within(path, InFolders::default())
    }

    pub(super) fn within(path: &Path, in_folders: InFolders) -> Look {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Look::of_file(&metadata, clock::unix_us()),
            Ok(metadata) if metadata.is_dir() => {
                limits_files(path, in_folders).map_or_else(|error| Look::Absent(error.kind()), Look::Folder)
            }
            Ok(_) => Look::Stream,
            Err(error) => Look::Absent(error.kind()),
        }
    }

    fn of_file(metadata: &Metadata, now_us: u64) -> Look {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        let changed_ns = ns(metadata.ctime(), metadata.ctime_nsec());
        Look::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns,
            is_unsure: is_unsure(changed_ns, i128::from(now_us) * 1_000),
        }
    }

    /// Compares files, whatever paths lead to them.
    pub fn is_same_file(&self, other: &Look) -> bool {
        match (self, other) {
            (
                Look::File { device, inode, .. },
                Look::File { device: other_device, inode: other_inode, .. },
            ) => (device, inode) == (other_device, other_inode),
            _ => false,
        }
    }

    pub fn is_unsure(&self) -> bool {
        matches!(self, Look::File { is_unsure: true, .. })
    }
}

/// A clock that differs much, such as that of another machine, leaves nothing unsure forever.
fn is_unsure(changed_ns: i128, now_ns: i128) -> bool {
    changed_ns % 1_000_000_000 == 0 && (now_ns - changed_ns).abs() < COARSE_NS
}

/// The names in a folder that are read, in order: those that begin with a dot come last, so that of two names of one file
/// the other one is shown.
fn limits_files(folder: &Path, in_folders: InFolders) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if in_folders.takes(&folder.join(&name)) {
            names.push(name);
        }
    }
    names.sort_by_cached_key(|name| (name.to_string_lossy().starts_with('.'), name.clone()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_unsure_only_while_another_may_get_the_same_time() {
        let second = 1_000_000_000;
        assert!(is_unsure(50 * second, 51 * second), "whole seconds, a second old");
        assert!(!is_unsure(50 * second, 52 * second), "old enough");
        assert!(!is_unsure(50 * second + 1, 50 * second + 2), "the file system counts finer");
        assert!(!is_unsure(90 * second, 50 * second), "another machine's clock");
    }
}
