//! Answers, which are encoded before tonic sees them.

use bytes::BufMut as _;
use prost::{DecodeError, Message};
use tonic::{
    Status,
    codec::{BufferSettings, EncodeBuf, Encoder},
};

/// The bytes that tonic allocates for each message before it knows its length, once to read and once to write.
/// Requests and answers have some 100 to 500 bytes; for a longer one the buffer grows.
const BUFFER: usize = 512;
/// Only streams use it; it is tonic's default.
const YIELD_THRESHOLD: usize = 32 << 10;

pub(super) fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER, YIELD_THRESHOLD)
}

/// An answer, encoded: a `RateLimitResponse` or a `CheckResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply(Vec<u8>);

/// Writes the bytes of a [`Reply`].
#[derive(Debug)]
pub struct ReplyEncoder;

// === impl Reply ===

impl Reply {
    /// Wraps the bytes of one answer.
    pub fn from_bytes(bytes: Vec<u8>) -> Reply {
        Reply(bytes)
    }

    /// The bytes, as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes it as a client does.
    pub fn decode<M: Message + Default>(&self) -> Result<M, DecodeError> {
        M::decode(&self.0[..])
    }
}

impl<M: Message> From<M> for Reply {
    fn from(answer: M) -> Reply {
        Reply(answer.encode_to_vec())
    }
}

impl Encoder for ReplyEncoder {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(reply.as_bytes());
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
