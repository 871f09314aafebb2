//! One take for each request, sent to Redis without a service between: the round trip that no service can save.

use std::net::SocketAddr;

use tollgate::store::redis::script::{Call, Now, text};
use tollgate_core::{
    decision::{Demand as Asked, Take},
    descriptor::{BucketKey, Entry, Hits},
    limit::Limit,
};

use super::{
    LoadError,
    wire::{Answer, Kind, Wire, WireError},
};
use crate::bench::{
    keys::{Demand, Keys},
    limits::{DOMAIN, Rule, api_key},
    resp,
};

/// The commands are made beforehand.
#[derive(Debug, Clone)]
pub(super) struct Evalsha {
    commands: Vec<Vec<u8>>,
    answered: u64,
}

// === impl Evalsha ===

impl Evalsha {
    /// Loads the service's script. The buckets of the load must not deny.
    pub(super) fn new(addr: SocketAddr, keys: Keys) -> Result<Evalsha, LoadError> {
        let count = match keys {
            Keys::One => 1,
            Keys::Uniform(count) | Keys::Zipf(count) | Keys::Each(count) => count,
        };
        let rule = Rule::Open(0);
        let limit = Limit::new(rule.requests_per_unit(), rule.unit(), None)?;
        let digest = resp::load_script(addr, &text(Now::Server))?;
        let command = |number| command(&digest, &limit, rule, number);
        Ok(Evalsha { commands: (0..count).map(command).collect(), answered: 0 })
    }
}

fn command(digest: &str, limit: &Limit, rule: Rule, number: u32) -> Vec<u8> {
    let (route, api_key) = (rule.route(), api_key(number));
    let entries = [("route", &route), ("api_key", &api_key)];
    let entries = entries.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
    let key = BucketKey::new(DOMAIN.as_bytes(), entries, limit, None);
    let take = Take { key, demand: Asked::new(Hits::Take(1), limit) };
    Call::new([&[take][..]]).command("EVALSHA", digest).get_packed_command()
}

impl Wire for Evalsha {
    fn ask(&mut self, ask: Demand, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.commands[ask.key as usize % self.commands.len()]);
    }

    /// Each reply is one string of bytes, which is not decoded.
    fn read(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<usize, WireError> {
        let mut at = 0;
        while let Some((kind, length)) = reply(&input[at..])? {
            answers.push(Answer { number: self.answered, kind });
            self.answered += 1;
            at += length;
        }
        Ok(at)
    }
}

/// The first reply and its length, if it is complete.
fn reply(input: &[u8]) -> Result<Option<(Kind, usize)>, WireError> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = std::str::from_utf8(&input[..end]).ok().ok_or(WireError::Protocol)?;
    let Some(length) = line.trim_end().strip_prefix('$') else { return Ok(Some((Kind::Error, end + 1))) };
    let length: usize = length.parse().ok().ok_or(WireError::Protocol)?;
    let whole = end + 1 + length + 2;
    Ok((input.len() >= whole).then_some((Kind::Ok, whole)))
}
