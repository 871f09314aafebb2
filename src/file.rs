//! Reads files that an operator names: once, up to a bound, and without waiting for ever.

mod aside;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use thiserror::Error;

use crate::error::SystemError;
pub use aside::Aside;

/// How long the writer of a named pipe may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused to open or read it.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The writer of a named pipe did not close it within this time.
    #[error(
        "it is a pipe whose writer did not finish within {} s; write to a file instead and name that file",
        .0.as_secs()
    )]
    SilentPipe(Duration),
}

/// The bytes of a file. Of a file longer than `most` bytes, the first `most + 1`, so that an endless file is not read
/// for ever and the caller sees that it is too long.
///
/// Fails if the file cannot be read, or if it is a named pipe that is not closed within 30 seconds.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    read_within(path, most, PATIENCE)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> Result<Vec<u8>, ReadError> {
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_pipe { read_pipe(path.to_owned(), most, patience) } else { Ok(bytes(path, most)?) }
}

/// Even opening a pipe waits for its writer, so a thread does it. Without a writer the thread ends with the process.
fn read_pipe(path: PathBuf, most: u64, patience: Duration) -> Result<Vec<u8>, ReadError> {
    let (tell, told) = mpsc::channel();
    let read = move || drop(tell.send(bytes(&path, most)));
    thread::Builder::new().name("pipe".to_owned()).spawn(read).map_err(SystemError::from)?;
    match told.recv_timeout(patience) {
        Ok(read) => Ok(read?),
        Err(RecvTimeoutError::Timeout) => Err(ReadError::SilentPipe(patience)),
        Err(ended @ RecvTimeoutError::Disconnected) => Err(SystemError::from(io::Error::other(ended)).into()),
    }
}

fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, SystemError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::error;

    fn pipe(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollgate-file-{}-{name}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_pipe_without_a_writer_is_called_a_pipe() {
        let path = pipe("silent");
        let told = read_within(&path, 10, Duration::from_millis(20)).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert!(error::chain(&told).starts_with("it is a pipe whose writer did not finish"), "{told}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let path = pipe("written");
        let writer = thread::spawn({
            let path = path.clone();
            move || fs::write(path, "domain: e").unwrap()
        });
        let read = read(&path, 10).unwrap();
        writer.join().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read, b"domain: e");
    }

    #[test]
    fn an_endless_file_ends_one_byte_after_the_most() {
        assert_eq!(read(Path::new("/dev/zero"), 1_000).unwrap(), [0; 1_001]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_reported_in_the_words_of_the_system() {
        let told = read(Path::new("/nowhere"), 10).unwrap_err();
        assert_eq!(error::chain(&told), "no such file or directory");
    }
}
