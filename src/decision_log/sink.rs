//! What the lines are written to. Nothing here waits for longer than [`PATIENCE`], but for a disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    path::Path,
    time::Duration,
};

use tokio::{net::unix::pipe, time::timeout};

use super::Destination;

/// How long a named pipe may be full before its reader is called slow.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Sink {
    File(File),
    /// A named pipe. Only what does not wait may be done with it: its reader may be away, or asleep.
    Pipe(pipe::Sender),
}

impl Sink {
    /// Opens the destination. Fails for a named pipe that nobody reads. Must be called within a tokio runtime.
    pub(super) fn open(destination: &Destination) -> io::Result<Sink> {
        match destination {
            Destination::Stdout => {
                // Without the buffer of the standard library, which would not say how much it has written.
                io::stdout().as_fd().try_clone_to_owned().map(|own| Sink::File(own.into()))
            }
            Destination::File(path) if is_pipe(path) => {
                pipe::OpenOptions::new().open_sender(path).map(Sink::Pipe).map_err(nobody_reads)
            }
            Destination::File(path) => {
                OpenOptions::new().append(true).create(true).open(path).map(Sink::File)
            }
        }
    }

    /// Writes some of the bytes. Returns how many, at least one.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Sink::File(file) => file.write(bytes),
            Sink::Pipe(pipe) => loop {
                match timeout(PATIENCE, pipe.writable()).await {
                    Err(_elapsed) => {
                        return Err(io::Error::new(io::ErrorKind::WouldBlock, "its reader is slow"));
                    }
                    Ok(ready) => ready?,
                }
                match pipe.try_write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => break written,
                }
            },
        };
        written.and_then(|count| if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) })
    }

    /// Whether it must be opened again after this error. A disk that is full may have room later, and then the rest of a
    /// line follows its beginning.
    pub(super) fn is_gone(&self, error: &io::Error) -> bool {
        matches!(self, Sink::Pipe(_)) && error.kind() != io::ErrorKind::WouldBlock
    }
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

fn nobody_reads(error: io::Error) -> io::Error {
    // ENXIO, which has no kind of its own.
    const NO_READER: i32 = 6;
    if error.raw_os_error() == Some(NO_READER) {
        io::Error::other("nobody reads the named pipe")
    } else {
        error
    }
}
