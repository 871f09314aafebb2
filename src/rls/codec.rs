//! How messages are read and written.
//!
//! tonic's own prost codec answers INTERNAL to a body that is no protobuf; here that is INVALID_ARGUMENT,
//! since the fault is the caller's.

use std::marker::PhantomData;

use bytes::BufMut as _;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::Reply;
use crate::pb::RateLimitRequest;

/// What tonic allocates for each message before it knows its length, once to read and once to write. Requests
/// and answers have some 100 to 500 bytes; a longer one makes room for itself.
const BUFFER: usize = 512;
/// Only streams have a use for it; tonic's default.
const YIELD_THRESHOLD: usize = 32 << 10;

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER, YIELD_THRESHOLD)
}

/// Writes `T`, reads `U`.
#[derive(Debug)]
pub struct RlsCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for RlsCodec<T, U> {
    fn default() -> Self {
        RlsCodec(PhantomData)
    }
}

impl<T, U> Codec for RlsCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProtoEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtoEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder(PhantomData)
    }
}

#[derive(Debug)]
pub struct ProtoEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf).map_err(|error| Status::internal(format!("answer does not fit its buffer: {error}")))
    }
}

#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buf)
            .map(Some)
            .map_err(|error| Status::invalid_argument(format!("request is not a valid message: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

// === answers ===

/// Reads requests, and writes answers that are encoded already.
#[derive(Debug, Default)]
pub struct ReplyCodec;

impl Codec for ReplyCodec {
    type Encode = Reply;
    type Decode = RateLimitRequest;
    type Encoder = ReplyEncoder;
    type Decoder = ProtoDecoder<RateLimitRequest>;

    fn encoder(&mut self) -> ReplyEncoder {
        ReplyEncoder
    }

    fn decoder(&mut self) -> ProtoDecoder<RateLimitRequest> {
        ProtoDecoder(PhantomData)
    }
}

#[derive(Debug)]
pub struct ReplyEncoder;

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
