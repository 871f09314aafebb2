//! The store's password in a file, where whoever rotates it can replace it.
//!
//! It is read at each attempt to connect and kept no longer. Errors name the file and never what is in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use crate::error::SystemError;

#[derive(Debug, Clone)]
pub struct PasswordFile(Arc<Path>);

#[derive(Debug, Error)]
pub enum PasswordError {
    #[error("cannot read the password of the store in {}", path.display())]
    Unreadable { path: PathBuf, source: SystemError },
    /// Redis would take an empty password for a wrong one; a file that is being written is empty for a moment.
    #[error("cannot read the password of the store in {}: the file is empty", path.display())]
    Empty { path: PathBuf },
}

// === impl PasswordFile ===

impl PasswordFile {
    pub fn new(path: &Path) -> PasswordFile {
        PasswordFile(path.into())
    }

    /// Its text without the newline that editors put at the end.
    pub fn read(&self) -> Result<String, PasswordError> {
        let path = || self.0.to_path_buf();
        let mut text = fs::read_to_string(&self.0)
            .map_err(|source| PasswordError::Unreadable { path: path(), source: source.into() })?;
        let end = text.strip_suffix('\n').map_or(text.len(), |rest| rest.trim_end_matches('\r').len());
        text.truncate(end);
        if text.is_empty() { Err(PasswordError::Empty { path: path() }) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(read("bytes", b"s3cret\xff").unwrap_err(), of("stream did not contain valid UTF-8"));
    }
}
