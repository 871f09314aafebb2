//! Reads buckets without asking anything of them: no take, no replica count, no epoch, not even a script.
//!
//! `tollgate explain` copies what is found into a store of its own and decides there.

use std::{collections::BTreeMap, time::Duration};

use redis::{RedisError, aio::MultiplexedConnection, pipe};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    RedisBackend,
    address::{Place, Server},
    connection::{Dialled, NoConnection, connect},
    discovery::Discovery,
    keys::{redis_key, slot},
    password::PasswordError,
    probe,
    script::{EPOCH_KEY, epoch_key},
};
use crate::store::{StoreError, refusal::Complaint};
use tollgate_core::{
    decision::{
        Measure, State, Take,
        fixed_window::Window,
        lease::{Counted, Generation, Leased},
        sliding_log::{Log, Run},
    },
    descriptor::BucketKey,
    limit::{Exact, Kept},
};

/// The time for connecting and for one call.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// The script takes larger numbers for malformed ones.
const TOO_LARGE: u64 = 1 << 53;

/// What a Redis held at one time.
#[derive(Debug)]
pub struct Looked {
    /// Redis' clock.
    pub now_us: u64,
    /// The time at which this Redis began to hold buckets. If it does not know, that would be the first request that
    /// needs to know, so it is `now_us`.
    pub epoch_us: u64,
    /// Those of the buckets that exist.
    pub states: Vec<(BucketKey, State)>,
    /// The number of buckets whose value makes no sense, so that they count as missing.
    pub malformed: u32,
}

/// Why the buckets could not be read.
#[derive(Debug, Error)]
pub enum LookError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Redis refuses to be used.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// One call changes buckets of one slot of a Redis Cluster, and a descriptor has all of its own in one.
    #[error(
        "the buckets lie in {0} slots of a Redis Cluster, which cannot be changed at once; name one descriptor at a time"
    )]
    Slots(usize),
    /// The reply is not the script's.
    #[error(transparent)]
    Reply(StoreError),
    /// The password file cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl RedisBackend {
    /// Reads the buckets of these takes. Changes nothing in Redis.
    pub async fn look(&self, takes: &[Take]) -> Result<Looked, LookError> {
        timeout(PATIENCE, self.look_unbounded(takes)).await.unwrap_or(Err(LookError::Silent))
    }

    async fn look_unbounded(&self, takes: &[Take]) -> Result<Looked, LookError> {
        let mut looked = Looked { now_us: 0, epoch_us: 0, states: Vec::new(), malformed: 0 };
        let mut dialled: Vec<(Place, Dialled)> = Vec::new();
        for (server, takes) in self.parts(takes).await? {
            let mut connection = match dialled.iter().find(|(place, _)| place == server.place()) {
                Some((_, open)) => open.clone(),
                None => {
                    let new = self.reach(&server).await?;
                    dialled.push((server.place().clone(), new.clone()));
                    new
                }
            };
            let read = read(&mut connection.inner, &takes).await?;
            looked.add(&takes, read);
        }
        Ok(looked)
    }

    /// A connection of its own to this server, which can be used.
    pub(super) async fn reach(&self, server: &Server) -> Result<Dialled, LookError> {
        let mut dialled = connect(server).await?;
        match probe::kind(&mut dialled.inner, self.discovery.expected()).await? {
            None => Ok(dialled),
            Some(complaint) => Err(NoConnection::Denied(complaint).into()),
        }
    }

    /// The servers to ask, and what each of them is asked at once. In a Redis Cluster, that is one slot.
    pub(super) async fn parts(&self, takes: &[Take]) -> Result<Vec<(Server, Vec<Take>)>, LookError> {
        let slots = match &self.discovery {
            Discovery::Named(server) | Discovery::Node(server, ..) => {
                return Ok(vec![(server.clone(), takes.to_vec())]);
            }
            Discovery::Sentinels(sentinels) => {
                let server = sentinels.master_once().await.map_err(LookError::Connect)?;
                return Ok(vec![(server, takes.to_vec())]);
            }
            Discovery::Cluster(slots) => slots,
        };
        slots.read_once().await?;
        let mut by_slot: BTreeMap<u16, Vec<Take>> = BTreeMap::new();
        for take in takes {
            by_slot.entry(slot(&take.key)).or_default().push(*take);
        }
        let parts = by_slot.into_iter().map(|(slot, takes)| {
            let server = slots.owner(slot).and_then(|id| slots.server(id));
            let missing =
                || LookError::Connect(format!("no master of the Redis Cluster serves the slot {slot}"));
            Ok((server.ok_or_else(missing)?, takes))
        });
        parts.collect()
    }
}

impl Looked {
    /// Adds what a server holds. The masters of a Redis Cluster have a clock and epochs each: the latest ones count.
    fn add(&mut self, takes: &[Take], (values, epoch, now_us): (Vec<Bytes>, Bytes, u64)) {
        self.now_us = self.now_us.max(now_us);
        self.epoch_us = self.epoch_us.max(epoch.as_deref().and_then(epoch_us).unwrap_or(now_us));
        for (take, value) in takes.iter().zip(values) {
            match value.map(|value| state(&value, &take.demand.measure)) {
                Some(Some(state)) => self.states.push((take.key, state)),
                Some(None) => self.malformed += 1,
                None => {}
            }
        }
    }
}

type Bytes = Option<Vec<u8>>;

/// The values of the buckets, the epoch, and the time just after. Not within MULTI, which the user of the service need
/// not have the right to.
async fn read(
    connection: &mut MultiplexedConnection,
    takes: &[Take],
) -> Result<(Vec<Bytes>, Bytes, u64), LookError> {
    let mut read = pipe();
    let keys = read.cmd("MGET");
    for take in takes {
        keys.arg(&*redis_key(&take.key));
    }
    match takes.first().filter(|take| take.key.tagged_limit().is_some()) {
        Some(tagged) => keys.arg(epoch_key(slot(&tagged.key))),
        None => keys.arg(EPOCH_KEY),
    };
    read.cmd("TIME");
    let reply = read.query_async::<(Vec<Bytes>, (u64, u64))>(connection).await;
    let (mut values, (seconds, micros)) = reply.map_err(refused)?;
    let epoch = values.pop().flatten();
    Ok((values, epoch, seconds.saturating_mul(1_000_000).saturating_add(micros)))
}

/// A call that failed: refused by Redis, or lost.
pub(super) fn refused(error: RedisError) -> NoConnection {
    let complaint = error.code().map(|code| Complaint::of_error(code, error.detail().unwrap_or_default()));
    complaint.map_or_else(|| NoConnection::from(error), NoConnection::Denied)
}

/// Operators may have written it, so it need not be a whole number.
fn epoch_us(text: &[u8]) -> Option<u64> {
    let epoch: f64 = str::from_utf8(text).ok()?.trim().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 2^52, and cut on purpose"
    )]
    (0.0..4_503_599_627_370_496.0).contains(&epoch).then_some(epoch as u64)
}

/// What the script would read; none if the value makes no sense.
fn state(value: &[u8], measure: &Measure) -> Option<State> {
    let sound = |us: u64| (us < TOO_LARGE).then_some(us);
    match measure {
        Measure::TokenBucket(_) => {
            let (head, rest) = value.split_first_chunk::<12>()?;
            let (rate, rest) = rest.split_first_chunk::<4>()?;
            let (whole_us, fraction) = pair(head);
            let per_us = u32::from_le_bytes(*rate);
            let at = Exact { whole_us: sound(whole_us)?, fraction };
            (fraction < per_us).then_some(())?;
            reserved(Counted::TokenBucket(Kept::new(at, per_us)), per_us, rest)
        }
        Measure::FixedWindow(_) => {
            let (head, rest) = value.split_first_chunk::<12>()?;
            let (ends_us, count) = pair(head);
            reserved(Counted::FixedWindow(Window { ends_us: sound(ends_us)?, count }), 1, rest)
        }
        Measure::SlidingLog(_) => {
            let (_held, runs) = value.split_first_chunk::<4>()?;
            let (runs, rest) = runs.as_chunks::<12>();
            let runs: Vec<Run> =
                runs.iter().map(pair).map(|(leaves_us, hits)| Run { leaves_us, hits }).collect();
            sound(runs.last().map_or(0, |run| run.leaves_us))?;
            rest.is_empty().then(|| State::SlidingLog(Box::new(Log::new(runs))))
        }
    }
}

/// A bucket with what is reserved in it, in fractions of `per_us`: nothing, or two generations, each `<I8I8I4`.
fn reserved(counted: Counted, per_us: u32, rest: &[u8]) -> Option<State> {
    if rest.is_empty() {
        return Some(counted.alone());
    }
    let (generations, rest) = rest.as_chunks::<20>();
    let generation = |bytes: &[u8; 20]| {
        let (lapses_us, amount) = bytes.split_first_chunk::<8>()?;
        let (whole_us, fraction) = pair(amount.try_into().ok()?);
        (fraction < per_us).then_some(())?;
        Some(Generation {
            lapses_us: u64::from_le_bytes(*lapses_us),
            amount: Exact { whole_us: (whole_us < TOO_LARGE).then_some(whole_us)?, fraction },
        })
    };
    let [older, younger] = generations else { return None };
    let generations = [generation(older)?, generation(younger)?];
    rest.is_empty().then(|| State::Leased(Box::new(Leased { counted, generations })))
}

/// Reads `<I8I4`.
fn pair(bytes: &[u8; 12]) -> (u64, u32) {
    let (first, second) = bytes.split_first_chunk::<8>().expect("twelve bytes");
    (u64::from_le_bytes(*first), u32::from_le_bytes(second.try_into().expect("four bytes")))
}

impl From<NoConnection> for LookError {
    fn from(none: NoConnection) -> LookError {
        match none {
            NoConnection::Away(error) => LookError::Connect(error),
            NoConnection::Denied(complaint) => LookError::Refused(complaint.to_string()),
        }
    }
}
