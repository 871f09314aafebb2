//! Where lines come from: files and standard input, gzipped or not, one line at a time and none of them endless.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;

/// A longer line is skipped. Envoy bounds the headers of a request to 60 kB.
const LONGEST_LINE: u64 = 1 << 20;
const BUFFER: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines of one file.
pub(super) struct Input {
    /// Its path, or `stdin`.
    pub(super) name: String,
    reader: Box<dyn BufRead>,
    /// The number of the line that was read last.
    pub(super) number: u64,
    is_gzip: bool,
}

/// What was read.
pub(super) enum Got {
    Line,
    TooLong,
    End,
}

/// Bytes read so far, from all inputs, as they are on disk; the progress bar watches them.
#[derive(Debug, Clone, Default)]
pub(in crate::cli::simulate) struct BytesRead(Rc<Cell<u64>>);

struct Counted<R> {
    from: R,
    bytes: BytesRead,
}

// === impl Input ===

impl Input {
    pub(super) fn open(path: &Path, bytes: &BytesRead) -> io::Result<Input> {
        let (name, from): (String, Box<dyn Read>) = if path == Path::new("-") {
            ("stdin".to_owned(), Box::new(io::stdin()))
        } else {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (path.display().to_string(), Box::new(file))
        };
        let counted = Counted { from, bytes: bytes.clone() };
        let mut raw = BufReader::with_capacity(BUFFER, counted);
        let is_gzip = raw.fill_buf()?.starts_with(&GZIP);
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Input { name, reader, number: 0, is_gzip })
    }

    /// Replaces `line` by the next line, without its end. Fails if the file cannot be read any further.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<Got, String> {
        line.clear();
        self.number += 1;
        let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', line);
        if read.map_err(|error| self.why(&error))? == 0 {
            return Ok(Got::End);
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
            return Ok(Got::Line);
        }
        if u64::try_from(line.len()).unwrap_or(u64::MAX) < LONGEST_LINE {
            return Ok(Got::Line);
        }
        self.skip_line(line)?;
        Ok(Got::TooLong)
    }

    fn skip_line(&mut self, line: &mut Vec<u8>) -> Result<(), String> {
        while !line.ends_with(b"\n") {
            line.clear();
            let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', line);
            if read.map_err(|error| self.why(&error))? == 0 {
                break;
            }
        }
        line.clear();
        Ok(())
    }

    fn why(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.is_gzip => "the gzip stream is cut short".to_owned(),
            _ if self.is_gzip => format!("the gzip stream is damaged: {error}"),
            _ => crate::error::SystemError::from(io::Error::from(error.kind())).to_string(),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.bytes.0.set(self.bytes.0.get() + u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

// === impl BytesRead ===

impl BytesRead {
    pub(in crate::cli::simulate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// The sizes of the files together; none if one is not a plain file.
pub(in crate::cli::simulate) fn size(paths: &[PathBuf]) -> Option<u64> {
    paths.iter().map(|path| path.metadata().ok().filter(|file| file.is_file()).map(|file| file.len())).sum()
}
