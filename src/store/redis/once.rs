//! Asks for takes once, over a connection of its own, for commands that are no service: no queue, no breaker, no denial
//! cache, and no replica count.

use tokio::time::timeout;

use super::{
    RedisBackend,
    look::{LookError, PATIENCE, refused},
    script::{self, Call, Now},
};
use tollgate_core::decision::{Answer, Take};

impl RedisBackend {
    /// Takes all or none. After [`LookError::Silent`] it is not known whether that was done.
    pub async fn take_once(&self, takes: &[Take]) -> Result<Answer, LookError> {
        timeout(PATIENCE, self.take_unbounded(takes)).await.unwrap_or(Err(LookError::Silent))
    }

    async fn take_unbounded(&self, takes: &[Take]) -> Result<Answer, LookError> {
        let parts = self.parts(takes).await?;
        let [(server, _)] = &parts[..] else { return Err(LookError::Slots(parts.len())) };
        let mut dialled = self.reach(server).await?;
        let script = Call::new([takes]).command("EVAL", &script::text(Now::Server));
        let reply = script.query_async::<Vec<u8>>(&mut dialled.inner).await;
        let reply = reply.map_err(|error| LookError::from(refused(error)))?;
        let mut answers = script::answers(&reply, [takes].into_iter()).map_err(LookError::Reply)?;
        Ok(answers.pop().expect("each request has an answer"))
    }
}
