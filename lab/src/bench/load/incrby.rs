//! INCRBY and EXPIRE for each descriptor, in one pipeline: what envoyproxy/ratelimit sends for a request.
//!
//! Its keys hold the start of the window; with windows of an hour and longer that is the same through a run,
//! which is the cheapest case (no key is new, none expires).

use std::{collections::VecDeque, time::SystemTime};

use super::wire::{Answer, Kind, Wire, WireError};
use crate::bench::{
    keys::Demand,
    limits::{DOMAIN, KEY_DIGITS, Rule, api_key, digits},
    resp::command,
};

#[derive(Debug, Clone)]
pub(super) struct Incrby {
    pipelines: Vec<Pipeline>,
    /// The limit of the first descriptor of each request under way; the others never deny.
    limits: VecDeque<u64>,
    replies_each: usize,
    /// Of the oldest request: how many replies are read, and what they say so far.
    read: usize,
    kind: Kind,
    answered: u64,
}

#[derive(Debug, Clone)]
struct Pipeline {
    rule: Rule,
    bytes: Vec<u8>,
    digits_at: Vec<usize>,
}

// === impl Incrby ===

impl Incrby {
    pub(super) fn new(descriptors: usize) -> Incrby {
        Incrby {
            pipelines: Rule::ALL.map(|rule| Pipeline::new(rule, descriptors)).into(),
            limits: VecDeque::new(),
            replies_each: 2 * descriptors,
            read: 0,
            kind: Kind::Ok,
            answered: 0,
        }
    }

    fn reply(&mut self, line: &[u8], answers: &mut Vec<Answer>) -> Result<(), WireError> {
        let limit = *self.limits.front().ok_or(WireError::Protocol)?;
        match line.split_first() {
            Some((b':', count)) if self.read == 0 => {
                let count = std::str::from_utf8(count).ok().and_then(|count| count.parse::<u64>().ok());
                let over = count.ok_or(WireError::Protocol)? > limit;
                self.kind = if over { Kind::OverLimit } else { Kind::Ok };
            }
            Some((b':', _)) => {}
            Some((b'-', _)) => self.kind = Kind::Error,
            _ => return Err(WireError::Protocol),
        }
        self.read += 1;
        if self.read == self.replies_each {
            answers.push(Answer { number: self.answered, kind: self.kind });
            self.answered += 1;
            self.read = 0;
            self.limits.pop_front();
        }
        Ok(())
    }
}

impl Wire for Incrby {
    fn ask(&mut self, ask: Demand, out: &mut Vec<u8>) {
        let pipeline = self.pipelines.iter().find(|it| it.rule == ask.rule).expect("each rule has one");
        let start = out.len();
        out.extend_from_slice(&pipeline.bytes);
        let digits = digits(ask.key);
        for at in &pipeline.digits_at {
            out[start + at..][..KEY_DIGITS].copy_from_slice(&digits);
        }
        self.limits.push_back(u64::from(ask.rule.requests_per_unit()));
    }

    fn read(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<usize, WireError> {
        let mut at = 0;
        while let Some(end) = input[at..].iter().position(|byte| *byte == b'\n') {
            let line = &input[at..at + end];
            self.reply(line.strip_suffix(b"\r").ok_or(WireError::Protocol)?, answers)?;
            at += end + 1;
        }
        Ok(at)
    }
}

// === impl Pipeline ===

impl Pipeline {
    fn new(rule: Rule, descriptors: usize) -> Pipeline {
        let others = (1..descriptors).map(|number| Rule::Open(number as u8));
        let bytes: Vec<u8> = std::iter::once(rule).chain(others).flat_map(pair).collect();
        let key = api_key(0).into_bytes();
        let found = bytes.windows(key.len()).enumerate().filter(|(_, window)| *window == key);
        let digits_at = found.map(|(at, _)| at + key.len() - KEY_DIGITS).collect();
        Pipeline { rule, bytes, digits_at }
    }
}

fn pair(rule: Rule) -> Vec<u8> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let period_s = rule.unit().seconds();
    let window = now_s / period_s * period_s;
    let key = format!("{DOMAIN}_route_{}_api_key_{}_{window}", rule.route(), api_key(0));
    let expiry = period_s.to_string();
    let mut bytes = command(&[b"INCRBY", key.as_bytes(), b"1"]);
    bytes.extend(command(&[b"EXPIRE", key.as_bytes(), expiry.as_bytes()]));
    bytes
}
