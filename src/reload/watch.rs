//! Whether files have changed, told from what the system says about them.

use std::{fs, io, os::unix::fs::MetadataExt, path::PathBuf};

/// Files, and how they looked when they were taken up and at the last look.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    taken: Vec<Look>,
    last: Vec<Look>,
}

/// What of a file changes with its content. A file that is not there is a look too.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Present { device: u64, inode: u64, bytes: u64, changed_ns: i128 },
    Absent(io::ErrorKind),
}

impl Watch {
    pub(super) fn new(files: Vec<PathBuf>) -> Watch {
        let looks = look(&files);
        Watch { files, last: looks.clone(), taken: looks }
    }

    /// The files differ from those taken up last, and have not changed since the look before: whoever writes
    /// them is done. They count as taken up from now on.
    pub(super) fn has_settled_anew(&mut self) -> bool {
        let looks = look(&self.files);
        let is_settled = looks == self.last;
        let is_new = looks != self.taken;
        self.last = looks;
        if is_settled && is_new {
            self.taken.clone_from(&self.last);
        }
        is_settled && is_new
    }

    /// Looks at these files from now on. Those looked at already keep their looks, so that a change since then
    /// is not missed.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        if files == self.files {
            return;
        }
        let known = |file: &PathBuf| {
            let at = self.files.iter().position(|known| known == file);
            at.map_or_else(|| look_at(file), |at| self.taken[at].clone())
        };
        self.taken = files.iter().map(known).collect();
        self.last.clone_from(&self.taken);
        self.files = files;
    }
}

fn look(files: &[PathBuf]) -> Vec<Look> {
    files.iter().map(look_at).collect()
}

/// Of what the path leads to, through all links.
fn look_at(file: &PathBuf) -> Look {
    match fs::metadata(file) {
        Ok(metadata) => Look::Present {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
        },
        Err(error) => Look::Absent(error.kind()),
    }
}
