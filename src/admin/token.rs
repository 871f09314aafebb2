//! The token that operators show for acts on buckets: kept in a file, compared in constant time, tried a few times a minute.
//!
//! The file is read at each attempt, so a rotated token needs no restart. Neither errors nor logs show what is in it.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use crate::{
    error::SystemError,
    file::{self, Aside, ReadError},
    store::memory::MemoryStore,
};
use tollgate_core::{
    decision::{Demand, Take, Verdict},
    descriptor::{BucketKey, Entry, Hits},
    limit::{Limit, Unit},
};

/// A shorter token could be guessed.
const FEWEST_BYTES: usize = 16;
const MOST_BYTES: u64 = 4 << 10;
/// Wrong tokens of one address: this many at once, and as many each minute.
const WRONG_PER_MINUTE: u32 = 10;
/// The addresses that are told apart. While so many have shown a wrong token lately, others wait.
const MOST_ADDRESSES: usize = 4_096;
/// When it makes sense to try again: in the time for one more attempt.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(60 / WRONG_PER_MINUTE as u64);

/// The token file cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the admin token from {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: ReadError,
    },
    /// It is no token, or one that is easily guessed.
    #[error(
        "the admin token in {} must be one line of {FEWEST_BYTES} to {MOST_BYTES} printable ASCII characters without \
         blanks; make one by: openssl rand -hex 32", .0.display()
    )]
    NoToken(PathBuf),
}

/// A file with the token.
#[derive(Debug, Clone)]
pub struct TokenFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    reading: Aside<Result<Secret, TokenError>>,
    wrong: MemoryStore,
}

/// A digest of the token. Digests are compared in constant time.
#[derive(Debug, Clone, Copy)]
struct Secret(blake3::Hash);

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The token is right.
    Right,
    /// It is wrong, or there was none.
    Wrong,
    /// This address has shown too many wrong ones. The token was not looked at.
    TooMany,
}

// === impl TokenFile ===

impl TokenFile {
    /// The token in this file. Fails if it cannot be used now.
    pub fn open(path: &Path) -> Result<TokenFile, TokenError> {
        token_in(path)?;
        let (path, reading) = (path.to_path_buf(), Aside::default());
        Ok(TokenFile(Arc::new(Inner { path, reading, wrong: MemoryStore::bounded(MOST_ADDRESSES) })))
    }

    /// Whether the token that this address shows is right. Fails if the file cannot be read.
    pub(super) async fn attempt(&self, from: IpAddr, shown: Option<&[u8]>) -> Result<Attempt, TokenError> {
        // Charged before the token is looked at, so that attempts at the same time do not slip through.
        if !self.charge(from, Hits::One) {
            return Ok(Attempt::TooMany);
        }
        let (path, inner) = (self.0.path.clone(), &self.0);
        let secret = inner.reading.read(move || read(&path)).await;
        let secret = secret.unwrap_or_else(|ended| {
            let source = SystemError::from(ended).into();
            Err(TokenError::Unreadable { path: inner.path.clone(), source })
        });
        let is_right = secret.as_ref().is_ok_and(|secret| shown.is_some_and(|shown| secret.is(shown)));
        if is_right || secret.is_err() {
            self.charge(from, Hits::GiveBack(1));
        }
        secret.map(|_| if is_right { Attempt::Right } else { Attempt::Wrong })
    }

    fn charge(&self, from: IpAddr, hits: Hits) -> bool {
        let limit = Limit::new(WRONG_PER_MINUTE, Unit::Minute, None).expect("a sound limit");
        let address = network(from).to_string();
        let entry = Entry { key: b"address", value: address.as_bytes() };
        let key = BucketKey::new(b"admin", [entry].into_iter(), &limit, None);
        let take = Take { key, demand: Demand::new(hits, &limit) };
        self.0.wrong.take(&[take]).is_ok_and(|answer| answer.verdict == Verdict::Allow)
    }
}

/// Whoever has one address of an IPv6 network of 64 bits has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn read(path: &Path) -> Result<Secret, TokenError> {
    Ok(Secret(blake3::hash(token_in(path)?.as_bytes())))
}

/// The token in this file, to be shown to the admin port. Fails if it cannot be read, or could not be a token.
pub fn token_in(path: &Path) -> Result<String, TokenError> {
    let bytes = file::read(path, MOST_BYTES)
        .map_err(|source| TokenError::Unreadable { path: path.to_path_buf(), source })?;
    let text =
        if bytes.len() as u64 > MOST_BYTES { None } else { str::from_utf8(bytes.trim_ascii_end()).ok() };
    let token =
        text.filter(|token| token.len() >= FEWEST_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic()));
    token.map(str::to_owned).ok_or_else(|| TokenError::NoToken(path.to_path_buf()))
}

// === impl Secret ===

impl Secret {
    fn is(&self, shown: &[u8]) -> bool {
        // The comparison of two hashes of this crate takes the same time wherever they differ.
        self.0 == blake3::hash(shown)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error;

    const TOKEN: &str = "0123456789abcdef";

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollgate-token-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    fn attempts(token: &TokenFile, from: &str, shown: &[&str]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let letter = |shown: &&str| match runtime
            .block_on(token.attempt(from.parse().unwrap(), Some(shown.as_bytes())))
        {
            Ok(Attempt::Right) => 'r',
            Ok(Attempt::Wrong) => 'w',
            Ok(Attempt::TooMany) => 't',
            Err(_) => 'e',
        };
        shown.iter().map(letter).collect()
    }

    #[test]
    fn a_token_that_is_short_or_cannot_be_sent_is_refused_and_not_shown() {
        for text in ["", "0123456789abcde\n", "0123456789abcde f0", "0123456789abcdéf", &"x".repeat(4_097)] {
            let path = file("refused", text);
            let told = error::chain(&TokenFile::open(&path).unwrap_err());
            fs::remove_file(&path).unwrap();
            assert!(told.contains("16 to 4096 printable") && !told.contains("0123"), "{told}");
        }
        let told = error::chain(&TokenFile::open(Path::new("/nowhere")).unwrap_err());
        assert_eq!(told, "cannot read the admin token from /nowhere: no such file or directory");
    }

    #[test]
    fn wrong_tokens_of_an_address_are_counted_and_then_not_even_the_right_one_is_looked_at() {
        let path = file("attempts", &format!("{TOKEN}\n"));
        let token = TokenFile::open(&path).unwrap();
        assert_eq!(attempts(&token, "10.0.0.1", &[TOKEN; 12]), "r".repeat(12), "right ones cost nothing");
        let wrong = "0123456789abcdeg";
        assert_eq!(attempts(&token, "10.0.0.1", &[wrong; 11]), "w".repeat(10) + "t");
        assert_eq!(attempts(&token, "::ffff:10.0.0.1", &[TOKEN]), "t", "it is the same address");
        assert_eq!(attempts(&token, "10.0.0.2", &[TOKEN, "", wrong]), "rww");
        assert_eq!(attempts(&token, "2001:db8::1", &[wrong; 10]), "w".repeat(10));
        assert_eq!(attempts(&token, "2001:db8::2", &[TOKEN]), "t", "it is the same network");
        assert_eq!(attempts(&token, "2001:db8:0:1::1", &[TOKEN]), "r");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_rotated_token_holds_at_once_and_a_file_that_is_gone_admits_nobody() {
        let path = file("rotated", TOKEN);
        let token = TokenFile::open(&path).unwrap();
        fs::write(&path, "another-token-of-24-bytes").unwrap();
        assert_eq!(attempts(&token, "10.0.0.1", &[TOKEN, "another-token-of-24-bytes"]), "wr");
        fs::remove_file(&path).unwrap();
        assert_eq!(attempts(&token, "10.0.0.1", &[TOKEN, "another-token-of-24-bytes"]), "ee");
    }
}
