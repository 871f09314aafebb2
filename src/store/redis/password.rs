//! The store's password in a file, where whoever rotates it can replace it.
//!
//! It is read at each attempt to connect and kept no longer. Errors name the file and never what is in it. While its
//! file system hangs, one read waits for it, however many attempts give up; the first attempt after that gets what
//! it read.

use std::{
    io,
    path::{Path, PathBuf},
    str::Utf8Error,
    sync::Arc,
    thread,
};

use thiserror::Error;
use tokio::sync::{Mutex, oneshot};

use crate::{
    error::SystemError,
    file::{self, ReadError},
};

const MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone)]
pub struct PasswordFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The read that is under way.
    reading: Mutex<Option<Reading>>,
}

type Reading = oneshot::Receiver<Result<String, PasswordError>>;

#[derive(Debug, Error)]
pub enum PasswordError {
    #[error("cannot read the password of the store in {}", path.display())]
    Unreadable { path: PathBuf, source: ReadError },
    #[error("cannot read the password of the store in {}: the file is larger than {} KiB", path.display(), MAX_BYTES >> 10)]
    TooLong { path: PathBuf },
    #[error("cannot read the password of the store in {}: the file is no text in UTF-8", path.display())]
    NotText { path: PathBuf, source: Utf8Error },
    /// Redis would take an empty password for a wrong one; a file that is being written is empty for a moment.
    #[error("cannot read the password of the store in {}: the file is empty", path.display())]
    Empty { path: PathBuf },
}

// === impl PasswordFile ===

impl PasswordFile {
    pub fn new(path: &Path) -> PasswordFile {
        PasswordFile(Arc::new(Inner { path: path.to_path_buf(), reading: Mutex::default() }))
    }

    /// As [`read`](Self::read), on a thread of its own. If the caller gives up, the next one waits for the same read.
    pub async fn read_aside(&self) -> Result<String, PasswordError> {
        let mut reading = self.0.reading.lock().await;
        let under_way = match &mut *reading {
            Some(under_way) => under_way,
            none => none.insert(self.begin_to_read()?),
        };
        let password = under_way.await;
        *reading = None;
        password.unwrap_or_else(|ended| Err(unreadable(&self.0.path, io::Error::other(ended))))
    }

    /// Not on a thread of the runtime's, which could not end before the file system answers.
    fn begin_to_read(&self) -> Result<Reading, PasswordError> {
        let (tell, reading) = oneshot::channel();
        let file = self.clone();
        let read = move || drop(tell.send(file.read()));
        let thread = thread::Builder::new().name("password".to_owned()).spawn(read);
        thread.map_err(|source| unreadable(&self.0.path, source))?;
        Ok(reading)
    }

    /// Its text without the newline that editors put at the end.
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
    // Only the place of what is wrong is kept.
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
    fn one_newline_at_the_end_is_no_part_of_the_password() {
        for (bytes, password) in
            [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s \n\n", " s \n")]
        {
            assert_eq!(read("newline", bytes.as_bytes()).unwrap(), password);
        }
    }

    #[test]
    fn what_is_no_password_is_refused_by_its_file_and_not_by_its_content() {
        let of = |what| format!("cannot read the password of the store in FILE: {what}");
        assert_eq!(read("empty", b"").unwrap_err(), of("the file is empty"));
        assert_eq!(read("newline-only", b"\n").unwrap_err(), of("the file is empty"));
        assert_eq!(
            read("bytes", b"s3cret\xff").unwrap_err(),
            of("the file is no text in UTF-8: invalid utf-8 sequence of 1 bytes from index 6")
        );
        let long = read("long", &vec![b'x'; (64 << 10) + 1]).unwrap_err();
        assert_eq!(long, of("the file is larger than 64 KiB"));
    }

    #[test]
    fn while_its_file_system_hangs_one_read_waits_for_it_whoever_gives_up() {
        // A pipe that nobody writes hangs whoever opens it.
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
