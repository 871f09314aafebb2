//! The store's password in a file, which can be replaced when the password is rotated.
//!
//! The file is read at each attempt to connect, and the password is not kept. Errors name the file and never show its
//! content. While the file system hangs, only one read waits for it, however many attempts give up; the next attempt
//! gets the result of that read.

use std::{
    io,
    path::{Path, PathBuf},
    str::Utf8Error,
    sync::Arc,
};

use thiserror::Error;

use crate::{
    error::SystemError,
    file::{self, Aside, ReadError},
};

const MAX_BYTES: u64 = 64 << 10;

/// The path of a file that holds the password.
#[derive(Debug, Clone)]
pub struct PasswordFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    reading: Aside<Result<String, PasswordError>>,
}

/// The password file cannot be used.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("cannot read the store's password from {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: ReadError,
    },
    /// The file is too large to be a password.
    #[error("cannot read the store's password from {}: the file is larger than {} KiB", path.display(), MAX_BYTES >> 10)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8.
    #[error("cannot read the store's password from {}: the file is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The place of the first wrong byte.
        source: Utf8Error,
    },
    /// The file is empty. Redis would call an empty password wrong, and a file that is being written is empty for a
    /// moment.
    #[error("cannot read the store's password from {}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

// === impl PasswordFile ===

impl PasswordFile {
    /// The file at this path; it is not read yet.
    pub fn new(path: &Path) -> PasswordFile {
        PasswordFile(Arc::new(Inner { path: path.to_path_buf(), reading: Aside::default() }))
    }

    /// Does the same as [`read`](Self::read) on a separate thread. If the caller gives up, the next caller waits for
    /// the same read.
    pub async fn read_aside(&self) -> Result<String, PasswordError> {
        let file = self.clone();
        let read = self.0.reading.read(move || file.read()).await;
        read.unwrap_or_else(|ended| Err(unreadable(&self.0.path, ended)))
    }

    /// The file's text without the newline that editors put at the end. Fails if it is not readable, not UTF-8,
    /// empty, or larger than 64 KiB.
    pub fn read(&self) -> Result<String, PasswordError> {
        read(&self.0.path)
    }
}

fn read(path: &Path) -> Result<String, PasswordError> {
    let bytes = file::read(path, MAX_BYTES)
        .map_err(|source| PasswordError::Unreadable { path: path.to_path_buf(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(PasswordError::TooLong { path: path.to_path_buf() });
    }
    // Only the place of the error is kept.
    let mut text = String::from_utf8(bytes)
        .map_err(|error| PasswordError::NotText { path: path.to_path_buf(), source: error.utf8_error() })?;
    let end = text.strip_suffix('\n').map_or(text.len(), |rest| rest.trim_end_matches('\r').len());
    text.truncate(end);
    if text.is_empty() { Err(PasswordError::Empty { path: path.to_path_buf() }) } else { Ok(text) }
}

fn unreadable(path: &Path, source: io::Error) -> PasswordError {
    PasswordError::Unreadable { path: path.to_path_buf(), source: SystemError::from(source).into() }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::error;

    fn read(name: &str, bytes: &[u8]) -> Result<String, String> {
        let path = std::env::temp_dir().join(format!("tollgate-password-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let read = PasswordFile::new(&path).read();
        fs::remove_file(&path).unwrap();
        read.map_err(|error| error::chain(&error).replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_the_password() {
        for (bytes, password) in
            [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s \n\n", " s \n")]
        {
            assert_eq!(read("newline", bytes.as_bytes()).unwrap(), password);
        }
    }

    #[test]
    fn an_unusable_password_file_is_named_in_the_error_and_its_content_is_not() {
        let error = |what| format!("cannot read the store's password from FILE: {what}");
        assert_eq!(read("empty", b"").unwrap_err(), error("the file is empty"));
        assert_eq!(read("newline-only", b"\n").unwrap_err(), error("the file is empty"));
        assert_eq!(
            read("bytes", b"s3cret\xff").unwrap_err(),
            error("the file is not UTF-8 text: invalid utf-8 sequence of 1 bytes from index 6")
        );
        let long = read("long", &vec![b'x'; (64 << 10) + 1]).unwrap_err();
        assert_eq!(long, error("the file is larger than 64 KiB"));
    }

    #[test]
    fn while_the_file_system_hangs_only_one_read_waits_for_it() {
        // Opening a pipe that nobody writes hangs.
        let pipe = std::env::temp_dir().join(format!("tollgate-password-{}-pipe", std::process::id()));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let file = PasswordFile::new(&pipe);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(async {
            for _ in 0..3 {
                assert!(timeout(Duration::from_millis(20), file.read_aside()).await.is_err());
            }
            let writer = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::write(pipe, "s3cret\n").unwrap()
            });
            let read = timeout(Duration::from_secs(5), file.read_aside()).await;
            writer.join().unwrap();
            fs::remove_file(&pipe).unwrap();
            fs::write(&pipe, "another").unwrap();
            let again = timeout(Duration::from_secs(5), file.read_aside()).await;
            [read, again]
        });
        let read = read.map(|read| read.expect("no other read is before it").unwrap());
        fs::remove_file(&pipe).unwrap();
        assert_eq!(read, ["s3cret", "another"]);
    }
}
