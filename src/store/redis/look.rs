//! Reads buckets without asking anything of them: no take, no replica count, no epoch, not even a script.
//!
//! `tollgate explain` copies what is found into a store of its own and decides there.

use std::time::Duration;

use redis::{aio::MultiplexedConnection, pipe};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    RedisBackend,
    connection::{NoConnection, connect},
    discovery::Discovery,
    keys::redis_key,
    password::PasswordError,
    probe,
    script::EPOCH_KEY,
};
use crate::store::refusal::Complaint;
use tollgate_core::{
    decision::{
        Measure, State, Take,
        fixed_window::Window,
        sliding_log::{Log, Run},
    },
    descriptor::BucketKey,
    limit::{Exact, Kept},
};

/// The time for connecting and for reading the buckets.
const PATIENCE: Duration = Duration::from_secs(3);
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
        let server = match &self.discovery {
            Discovery::Named(server) => server.clone(),
            Discovery::Sentinels(sentinels) => sentinels.master_once().await.map_err(LookError::Connect)?,
        };
        let mut dialled = connect(&server).await?;
        let connection = &mut dialled.inner;
        if let Some(complaint) = probe::kind(connection).await.map_err(NoConnection::from)? {
            return Err(NoConnection::Denied(complaint).into());
        }
        let (values, epoch, now_us) = read(connection, takes).await?;
        let mut looked = Looked { now_us, epoch_us: now_us, states: Vec::new(), malformed: 0 };
        if let Some(epoch_us) = epoch.as_deref().and_then(epoch_us) {
            looked.epoch_us = epoch_us;
        }
        for (take, value) in takes.iter().zip(values) {
            match value.map(|value| state(&value, &take.demand.measure)) {
                Some(Some(state)) => looked.states.push((take.key, state)),
                Some(None) => looked.malformed += 1,
                None => {}
            }
        }
        Ok(looked)
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
    keys.arg(EPOCH_KEY);
    read.cmd("TIME");
    let reply = read.query_async::<(Vec<Bytes>, (u64, u64))>(connection).await;
    let (mut values, (seconds, micros)) = reply.map_err(|error| {
        let complaint =
            error.code().map(|code| Complaint::of_error(code, error.detail().unwrap_or_default()));
        complaint.map_or_else(|| NoConnection::from(error), NoConnection::Denied)
    })?;
    let epoch = values.pop().flatten();
    Ok((values, epoch, seconds.saturating_mul(1_000_000).saturating_add(micros)))
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
            let (whole_us, fraction) = pair(head);
            let per_us = u32::from_le_bytes(rest.try_into().ok()?);
            let at = Exact { whole_us: sound(whole_us)?, fraction };
            (fraction < per_us).then_some(State::TokenBucket(Kept::new(at, per_us)))
        }
        Measure::FixedWindow(_) => {
            let (ends_us, count) = pair(value.try_into().ok()?);
            Some(State::FixedWindow(Window { ends_us: sound(ends_us)?, count }))
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
