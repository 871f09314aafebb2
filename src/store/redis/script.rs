//! The script's text, its arguments and its reply. `lua/batch.lua` documents their layout; the numbers are defined
//! here.

use redis::Cmd;
use smallvec::SmallVec;

use super::keys::{redis_key, slot, tag_in};
use crate::store::StoreError;
use tollgate_core::{
    decision::{
        Answer, AnswerSource, Demand, Enforcement, Found, Granted, Kind, LeaseCall, Measure, Seen, Take,
        fixed_window::Window, verdict,
    },
    descriptor::BucketKey,
    limit::{AfterStoreLoss, Exact, Windows},
};

const TEXT: &str = include_str!("../../../lua/batch.lua");
const LONG_WAY: &str = include_str!("../../../lua/long_way.lua");
const ALGORITHMS: &str = concat!(
    include_str!("../../../lua/token_bucket.lua"),
    include_str!("../../../lua/fixed_window.lua"),
    include_str!("../../../lua/sliding_log.lua"),
    include_str!("../../../lua/reservations.lua"),
);
const LEASE: &str = include_str!("../../../lua/lease.lua");
/// The key that holds the time at which this Redis began to hold buckets, in microseconds; it is text, so that
/// operators can read and set it.
pub const EPOCH_KEY: &str = "tg:epoch";

/// The same for a slot of a Redis Cluster, in which each call has keys of one slot only.
pub fn epoch_key(slot: u16) -> String {
    format!("tg:{{{}}}:epoch", tag_in(slot))
}
/// For the size of the buffers of a call. More are allocated if they are too small.
const BYTES_OF_A_REQUEST: usize = 32;
const BYTES_OF_A_KEY: usize = 34;
/// EVALSHA, the digest, the number of keys, the key of the epoch, and the requests.
const ARGS_BESIDE_KEYS: usize = 5;
const NOW_AND_MALFORMED: usize = 12;
const FOUND: usize = 13;
const GRANTED: usize = 25;

/// Where the script takes the time from; one line of it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Redis' clock.
    Server,
    /// The second argument, in microseconds, for tests that move the time themselves.
    Argument,
}

/// The script as it is sent to Redis.
pub fn text(now: Now) -> String {
    let statement = match now {
        Now::Server => "local time = call('TIME'); local now = time[1] * 1000000 + time[2]",
        Now::Argument => "local now = tonumber(ARGV[2])",
    };
    let long_way = LONG_WAY.replace("$ALGORITHMS", ALGORITHMS);
    TEXT.replace("$NOW", statement).replace("$LONG_WAY", &long_way).replace("$LEASE", LEASE)
}

/// A call of the script: each bucket's key once, then the packed requests.
#[derive(Debug)]
pub struct Call {
    keys: Vec<BucketKey>,
    requests: Vec<u8>,
    needs_epoch: bool,
}

impl Call {
    /// A call for these requests. They name at most 65,535 different buckets; batches stay far below that.
    pub fn new<'a>(requests: impl IntoIterator<Item = &'a [Take]>) -> Call {
        Call::with_leases(requests, &[])
    }

    /// The same with what the holder of leases reports and asks for. What only returns hits comes before the requests, which
    /// may need them, and what asks for some comes behind them.
    pub fn with_leases<'a>(requests: impl IntoIterator<Item = &'a [Take]>, leases: &[LeaseCall]) -> Call {
        let requests = requests.into_iter();
        let expected = requests.size_hint().0 + leases.len();
        let mut call = Call {
            keys: Vec::with_capacity(expected),
            requests: Vec::with_capacity(expected * BYTES_OF_A_REQUEST),
            needs_epoch: false,
        };
        leases.iter().filter(|lease| lease.wants == 0).for_each(|lease| call.add_lease(lease));
        for takes in requests {
            let goes_the_long_way = takes.iter().any(|take| demand_byte(&take.demand) != 0);
            let flag = if goes_the_long_way { LONG_WAY_FLAG } else { 0 };
            call.requests.extend_from_slice(&(u16_from(takes.len()) | flag).to_le_bytes());
            for take in takes {
                let index = call.index(take.key);
                call.put(index, &take.demand);
            }
        }
        leases.iter().filter(|lease| lease.wants > 0).for_each(|lease| call.add_lease(lease));
        call
    }

    fn add_lease(&mut self, lease: &LeaseCall) {
        self.requests.extend_from_slice(&LEASE_FLAG.to_le_bytes());
        let index = self.index(lease.key);
        self.put(index, &lease.one);
        self.requests.extend_from_slice(&lease.generation_us.to_le_bytes());
        for number in [lease.held, lease.spent, lease.kept, lease.wants, lease.one.lease_us] {
            self.requests.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// The index of the bucket among the keys, from 1.
    fn index(&mut self, key: BucketKey) -> u16 {
        // A scan is quicker than hashing for the few buckets of a batch.
        let at = self.keys.iter().position(|other| *other == key).unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        });
        u16_from(at + 1)
    }

    /// Whether some bucket counts as used up if it is missing.
    pub fn needs_epoch(&self) -> bool {
        self.needs_epoch
    }

    fn put(&mut self, index: u16, demand: &Demand) {
        self.requests.extend_from_slice(&index.to_le_bytes());
        self.requests.push(demand_byte(demand));
        self.needs_epoch |= demand.after_store_loss == AfterStoreLoss::Empty;
        let (first, times) = match demand.measure {
            Measure::TokenBucket(tokens) => (tokens.per_us, [tokens.cost, tokens.burst]),
            Measure::FixedWindow(count) | Measure::SlidingLog(count) => {
                let length_us = match count.windows {
                    Windows::Aligned => count.length_us,
                    Windows::CalendarMonth => CALENDAR_MONTH,
                };
                (count.limit, [Exact::at_us(count.hits), Exact::at_us(length_us)])
            }
        };
        self.requests.extend_from_slice(&first.to_le_bytes());
        for time in times {
            self.requests.extend_from_slice(&time.whole_us.to_le_bytes());
            self.requests.extend_from_slice(&time.fraction.to_le_bytes());
        }
        if let Kind::Undo { taken_us } = demand.kind {
            self.requests.extend_from_slice(&taken_us.to_le_bytes());
        }
    }

    /// The command `EVALSHA digest …` or `EVAL text …`: `name` is its name and `script` the digest or text.
    pub fn command(&self, name: &str, script: &str) -> Cmd {
        let bytes = script.len() + self.keys.len() * BYTES_OF_A_KEY + self.requests.len();
        let mut command = Cmd::with_capacity(self.keys.len() + ARGS_BESIDE_KEYS, bytes + BYTES_OF_A_KEY);
        command.arg(name).arg(script).arg(self.keys.len() + usize::from(self.needs_epoch));
        for key in &self.keys {
            command.arg(&*redis_key(key));
        }
        if self.needs_epoch {
            // Of tagged keys, all lie in the slot of the first.
            match self.keys.first().filter(|key| key.tagged_limit().is_some()) {
                Some(tagged) => command.arg(epoch_key(slot(tagged))),
                None => command.arg(EPOCH_KEY),
            };
        }
        command.arg(&self.requests[..]);
        command
    }
}

/// What is demanded, in one byte, as `lua/batch.lua` documents it. Zero is an enforced take from a token bucket.
fn demand_byte(demand: &Demand) -> u8 {
    kind_bits(demand.kind)
        | enforcement_bits(demand.enforcement)
        | algorithm_bits(&demand.measure)
        | if demand.meters() { CHARGED_IF_DENIED } else { 0 }
        | if demand.after_store_loss == AfterStoreLoss::Empty { EMPTY_IF_MISSING } else { 0 }
}

/// Beside the number of takes: some demand is not zero.
const LONG_WAY_FLAG: u16 = 1 << 15;
/// In place of the number of takes.
const LEASE_FLAG: u16 = u16::MAX;
/// In place of the length of a window.
const CALENDAR_MONTH: u64 = 0;
const CHARGED_IF_DENIED: u8 = 16;
const EMPTY_IF_MISSING: u8 = 128;

const fn kind_bits(kind: Kind) -> u8 {
    match kind {
        Kind::Take => 0,
        Kind::Peek => 1,
        Kind::GiveBack => 2,
        Kind::Undo { .. } => 3,
    }
}

const fn enforcement_bits(enforcement: Enforcement) -> u8 {
    match enforcement {
        Enforcement::Enforced => 0,
        Enforcement::Quota => 4,
        Enforcement::Shadow => 8,
    }
}

const fn algorithm_bits(measure: &Measure) -> u8 {
    match measure {
        Measure::TokenBucket(_) => 0,
        Measure::FixedWindow(_) => 32,
        Measure::SlidingLog(_) => 64,
    }
}

/// Reads the reply to a call for these requests: one answer for each. Fails if the reply's length does not match them.
pub fn answers<'a>(
    reply: &[u8],
    requests: impl Iterator<Item = &'a [Take]>,
) -> Result<Vec<Answer>, StoreError> {
    let (head, mut rest) = reply.split_at_checked(NOW_AND_MALFORMED).ok_or(TOO_SHORT)?;
    let head = exact(head);
    let mut answers = Vec::with_capacity(requests.size_hint().0);
    for takes in requests {
        let found: SmallVec<[Found; 1]> =
            takes.iter().map(|take| found(&mut rest, &take.demand)).collect::<Result<_, _>>()?;
        let verdict =
            verdict(takes.iter().zip(&found).map(|(take, found)| (take.demand.enforcement, found.fits)));
        answers.push(Answer {
            now_us: head.whole_us,
            verdict,
            found,
            malformed: 0,
            source: AnswerSource::Store,
        });
    }
    if !rest.is_empty() {
        return Err(StoreError::Reply("it is too long"));
    }
    // The number is that of the call, so one of its requests reports it.
    if let Some(first) = answers.first_mut() {
        first.malformed = head.fraction.min(u32::from(u16::MAX));
    }
    Ok(answers)
}

fn found(rest: &mut &[u8], demand: &Demand) -> Result<Found, StoreError> {
    let (head, behind) = rest.split_at_checked(FOUND).ok_or(TOO_SHORT)?;
    *rest = behind;
    let pair = exact(&head[1..]);
    let seen = match demand.measure {
        Measure::TokenBucket(_) => Seen::TokenBucket { full_at: pair },
        Measure::FixedWindow(_) => Seen::FixedWindow(Window { ends_us: pair.whole_us, count: pair.fraction }),
        Measure::SlidingLog(_) => {
            let (fits_at, behind) = rest.split_first_chunk().ok_or(TOO_SHORT)?;
            *rest = behind;
            let fits_at_us = u64::from_le_bytes(*fits_at);
            Seen::SlidingLog { held: pair.fraction, oldest_us: pair.whole_us, fits_at_us }
        }
    };
    Ok(Found { fits: head[0] & 1 == 1, seen, is_reserved: head[0] & 2 == 2 })
}

/// Reads the reply to a call for these requests and leases, as [`Call::with_leases`] makes it.
pub fn replies<'a>(
    reply: &[u8],
    requests: impl Iterator<Item = &'a [Take]>,
    leases: &[LeaseCall],
) -> Result<(Vec<Answer>, Vec<Granted>), StoreError> {
    if leases.is_empty() {
        return Ok((answers(reply, requests)?, Vec::new()));
    }
    let (head, rest) = reply.split_at_checked(NOW_AND_MALFORMED).ok_or(TOO_SHORT)?;
    let now_us = exact(head).whole_us;
    let behind = leases.iter().filter(|lease| lease.wants > 0).count();
    let (before, rest) = rest.split_at_checked(GRANTED * (leases.len() - behind)).ok_or(TOO_SHORT)?;
    let at = rest.len().checked_sub(GRANTED * behind).ok_or(TOO_SHORT)?;
    let (rest, behind) = rest.split_at(at);
    let (mut before, mut behind) = (before.chunks_exact(GRANTED), behind.chunks_exact(GRANTED));
    let granted = leases.iter().map(|lease| {
        let grants = if lease.wants > 0 { &mut behind } else { &mut before };
        Ok(granted_one(grants.next().ok_or(TOO_SHORT)?, lease, now_us))
    });
    let granted = granted.collect::<Result<_, _>>()?;
    Ok((answers(&[head, rest].concat(), requests)?, granted))
}

fn granted_one(grant: &[u8], lease: &LeaseCall, now_us: u64) -> Granted {
    let (flags, pair) = (grant[0], exact(&grant[13..]));
    Granted {
        now_us,
        is_found: flags & 1 == 1,
        is_extended: flags & 2 == 2,
        granted: u32::from_le_bytes(grant[1..5].try_into().expect("four bytes")),
        generation_us: u64::from_le_bytes(grant[5..13].try_into().expect("eight bytes")),
        seen: match lease.one.measure {
            Measure::FixedWindow(_) => {
                Seen::FixedWindow(Window { ends_us: pair.whole_us, count: pair.fraction })
            }
            Measure::TokenBucket(_) | Measure::SlidingLog(_) => Seen::TokenBucket { full_at: pair },
        },
    }
}

const TOO_SHORT: StoreError = StoreError::Reply("it is too short");

/// Reads `<I8I4`.
fn exact(bytes: &[u8]) -> Exact {
    let (whole, fraction) = bytes.split_at(8);
    Exact {
        whole_us: u64::from_le_bytes(whole.try_into().expect("eight bytes")),
        fraction: u32::from_le_bytes(fraction.try_into().expect("four bytes")),
    }
}

fn u16_from(count: usize) -> u16 {
    u16::try_from(count).expect("a batch is far smaller")
}

#[cfg(test)]
mod tests;
