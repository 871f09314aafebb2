//! Sends calls over a line, and waits for their replies.

use std::{
    future::{self, Future},
    pin::pin,
    task::Poll,
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::{task::yield_now, time::timeout};

use super::{Connection, Line};
use crate::store::{
    StoreError,
    redis::{
        connection::Dialled,
        script::{self, Call, Now},
    },
    refusal::{Complaint, Refusal},
};

/// In place of the number of a batch: for a call that no replica has to acknowledge.
pub(in crate::store::redis) const NO_LANE: usize = usize::MAX;

impl Line {
    /// Sends a call of the script and returns its reply. It is sent again only if Redis does not know the script. `slot`
    /// is the number of the batch among those under way.
    pub(in crate::store::redis) async fn call(
        &self,
        call: &Call,
        slot: usize,
        deadline: Duration,
    ) -> Result<Vec<u8>, StoreError> {
        let connection = self.connection().ok_or(StoreError::Disconnected)?;
        let command = call.command("EVALSHA", &connection.script);
        let mut reply = self.exchange(&connection, slot, command, deadline).await;
        if reply.as_ref().is_err_and(StoreError::may_be_sent_again) {
            let again = call.command("EVAL", &script::text(Now::Server));
            reply = self.exchange(&connection, slot, again, deadline).await;
        }
        match reply? {
            Value::BulkString(bytes) => Ok(bytes),
            _ => Err(StoreError::Reply("it is not a string")),
        }
    }

    async fn exchange(
        &self,
        connection: &Connection,
        slot: usize,
        command: Cmd,
        deadline: Duration,
    ) -> Result<Value, StoreError> {
        let failed = |error: RedisError| {
            self.note(connection.number, &error);
            store_error(&error)
        };
        let Some(lane) = connection.lanes.get(slot) else {
            let mut handle = connection.dialled.inner.clone();
            let reply = within(deadline, handle.send_packed_command(&command)).await;
            // Redis' errors arrive as values.
            return reply.ok_or(StoreError::Deadline)?.and_then(Value::extract_error).map_err(failed);
        };
        let mut both = Pipeline::with_capacity(2);
        both.add_command(command);
        let replies = self.acknowledged(connection, lane, both, deadline).await?;
        replies.into_iter().next().unwrap_or(Value::Nil).extract_error().map_err(failed)
    }

    /// Sends these commands together, and returns a reply or an error for each. Fails if any reply is missing.
    pub(in crate::store::redis) async fn send_all(
        &self,
        connection: &Connection,
        slot: usize,
        commands: Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        if let Some(lane) = connection.lanes.get(slot) {
            return self.acknowledged(connection, lane, commands, deadline).await;
        }
        let mut handle = connection.dialled.inner.clone();
        let replies = within(deadline, handle.send_packed_commands(&commands, 0, commands.len())).await;
        replies.ok_or(StoreError::Deadline)?.map_err(|error| {
            self.note(connection.number, &error);
            store_error(&error)
        })
    }

    /// The same over a lane, whose replicas must acknowledge the commands.
    async fn acknowledged(
        &self,
        connection: &Connection,
        lane: &Dialled,
        mut commands: Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let failed = |error: RedisError| {
            self.note(connection.number, &error);
            store_error(&error)
        };
        commands.cmd("WAIT").arg(self.acks).arg(patience_ms(deadline));
        let mut handle = lane.inner.clone();
        let replies = within(deadline, handle.send_packed_commands(&commands, 0, commands.len())).await;
        let mut replies = replies.ok_or(StoreError::Deadline)?.map_err(failed)?;
        match replies.pop().unwrap_or(Value::Nil).extract_error().map_err(failed)? {
            Value::Int(acks) if acks >= i64::from(self.acks) => Ok(replies),
            _ => {
                self.is_refused(connection.number, &Complaint::unacknowledged(self.acks));
                Err(StoreError::Unacknowledged)
            }
        }
    }
}

/// How long Redis waits for its replicas: shorter than the deadline, so that its answer still arrives. Zero would mean
/// forever.
fn patience_ms(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis() * 3 / 4).unwrap_or(u64::MAX).max(1)
}

/// None if the answer does not arrive in time. An answer that has arrived by then is still read: a runtime that was
/// busy elsewhere is not a dead Redis.
async fn within<T>(deadline: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(deadline, answer.as_mut()).await {
        return Some(answer);
    }
    for _ in 0..2 {
        // Lets the connection's task read its socket.
        yield_now().await;
        let look = future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx)));
        if let Poll::Ready(answer) = look.await {
            return Some(answer);
        }
    }
    None
}

fn store_error(error: &RedisError) -> StoreError {
    match error.code() {
        Some(code) => StoreError::Refused(Refusal::from_error(code, error.detail().unwrap_or_default())),
        None => StoreError::Disconnected,
    }
}
