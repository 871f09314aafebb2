//! The script's text, its arguments and its reply; the layout is documented in `lua/token_bucket.lua`.

use deadpool_redis::redis::{Cmd, cmd};

use crate::{
    decision::{Answer, Ask, Found, Source, Take, Verdict},
    descriptor::BucketKey,
    limit::Exact,
    store::StoreError,
};

const TEXT: &str = include_str!("../../../lua/token_bucket.lua");
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOW_AND_MALFORMED: usize = 12;
const FOUND: usize = 13;

/// Where the script takes the time from; one line of it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Redis' clock.
    Server,
    /// The second argument, in microseconds: for tests, which move the time themselves.
    Argument,
}

pub fn text(now: Now) -> String {
    let expression = match now {
        Now::Server => "(function() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end)()",
        Now::Argument => "tonumber(ARGV[2])",
    };
    TEXT.replace("$NOW", expression)
}

/// A call of the script: each bucket once, and the requests packed behind.
#[derive(Debug)]
pub struct Call {
    keys: Vec<BucketKey>,
    requests: Vec<u8>,
}

impl Call {
    /// At most 65,535 different buckets, which flights bound far below.
    pub fn new<'a>(requests: impl IntoIterator<Item = &'a [Take]>) -> Call {
        let mut call = Call { keys: Vec::new(), requests: Vec::new() };
        for takes in requests {
            call.requests.extend_from_slice(&u16_of(takes.len()).to_le_bytes());
            for take in takes {
                // A scan is quicker than hashing for what one flight carries.
                let at = call.keys.iter().position(|key| *key == take.key).unwrap_or_else(|| {
                    call.keys.push(take.key);
                    call.keys.len() - 1
                });
                call.put(u16_of(at + 1), &take.ask);
            }
        }
        call
    }

    fn put(&mut self, index: u16, ask: &Ask) {
        self.requests.extend_from_slice(&index.to_le_bytes());
        self.requests.push(ask.kind as u8);
        self.requests.extend_from_slice(&ask.per_us.to_le_bytes());
        for time in [ask.cost, ask.burst] {
            self.requests.extend_from_slice(&time.whole_us.to_le_bytes());
            self.requests.extend_from_slice(&time.fraction.to_le_bytes());
        }
    }

    /// `EVALSHA digest …`, or `EVAL text …`.
    pub fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(&redis_key(key)[..]);
        }
        command.arg(&self.requests[..]);
        command
    }
}

/// `tg:` and the key in URL-safe base64, so that it can be read, typed and put between braces.
pub fn redis_key(key: &BucketKey) -> [u8; 25] {
    let mut text = *b"tg:......................";
    let bits = u128::from_be_bytes(*key.as_bytes());
    for (i, letter) in text[3..].iter_mut().enumerate() {
        // The last letter holds the last two bits, padded with zeros.
        let sextet = if i < 21 { bits >> (122 - 6 * i) } else { bits << 4 };
        *letter = BASE64_URL[usize::try_from(sextet & 63).expect("six bits")];
    }
    text
}

/// Reads the reply to a call for requests of these numbers of takes, one answer each.
pub fn answers(reply: &[u8], takes: impl Iterator<Item = usize>) -> Result<Vec<Answer>, StoreError> {
    let (head, mut rest) = reply.split_at_checked(NOW_AND_MALFORMED).ok_or(TOO_SHORT)?;
    let head = exact(head);
    let mut answers = Vec::with_capacity(takes.size_hint().0);
    for count in takes {
        let (of_request, behind) = rest.split_at_checked(count * FOUND).ok_or(TOO_SHORT)?;
        rest = behind;
        let found: Vec<Found> = of_request
            .chunks_exact(FOUND)
            .map(|bytes| Found { fits: bytes[0] == 1, full_at: exact(&bytes[1..]) })
            .collect();
        let all_fit = found.iter().all(|found| found.fits);
        let verdict = if all_fit { Verdict::Allow } else { Verdict::Deny };
        answers.push(Answer { now_us: head.whole_us, verdict, found, malformed: 0, source: Source::Store });
    }
    if !rest.is_empty() {
        return Err(StoreError::Reply("it is too long"));
    }
    // Counted once for the call, so with one of its requests.
    if let Some(first) = answers.first_mut() {
        first.malformed = head.fraction.min(u32::from(u16::MAX));
    }
    Ok(answers)
}

const TOO_SHORT: StoreError = StoreError::Reply("it is too short");

/// `<I8I4`.
fn exact(bytes: &[u8]) -> Exact {
    let (whole, fraction) = bytes.split_at(8);
    Exact {
        whole_us: u64::from_le_bytes(whole.try_into().expect("eight bytes")),
        fraction: u32::from_le_bytes(fraction.try_into().expect("four bytes")),
    }
}

fn u16_of(count: usize) -> u16 {
    u16::try_from(count).expect("a flight is far smaller")
}

#[cfg(test)]
mod tests;
