//! Decodes messages.
//!
//! tonic's own prost codec answers INTERNAL to a body that is not protobuf. Here that is INVALID_ARGUMENT, since the
//! fault is the caller's. A request that holds too much is refused before it is decoded.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::bounds::{Bounds, SHORT_MESSAGE, TooMany};
use crate::{
    pb::RateLimitRequest,
    protocol::{
        reply::{Reply, ReplyEncoder, buffers},
        status::Failure,
    },
};

/// The codec of the generated client: writes `T`, reads `U`.
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

/// Writes a message.
#[derive(Debug)]
pub struct ProtoEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf).map_err(|error| Failure::Unencodable(error).into())
    }
}

/// Reads a message of any size.
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        Ok(Some(decoded(buf)?))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

fn decoded<U: Message + Default>(message: impl Buf) -> Result<U, Failure> {
    U::decode(message).map_err(Failure::Undecodable)
}

// === requests ===

/// The codec of the service: reads requests, and writes answers that are encoded already.
#[derive(Debug, Default)]
pub struct ReplyCodec;

impl Codec for ReplyCodec {
    type Encode = Reply;
    type Decode = RateLimitRequest;
    type Encoder = ReplyEncoder;
    type Decoder = RequestDecoder;

    fn encoder(&mut self) -> ReplyEncoder {
        ReplyEncoder
    }

    fn decoder(&mut self) -> RequestDecoder {
        RequestDecoder
    }
}

/// Reads a request within bounds.
#[derive(Debug)]
pub struct RequestDecoder;

impl Decoder for RequestDecoder {
    type Item = RateLimitRequest;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<RateLimitRequest>, Status> {
        request(buf).map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Decodes a request. Fails with INVALID_ARGUMENT if it is not protobuf or holds more than
/// [`MAX_DESCRIPTORS`](super::MAX_DESCRIPTORS) or [`MAX_FIELDS`](super::MAX_FIELDS).
pub fn request(message: impl Buf) -> Result<RateLimitRequest, Status> {
    bounded(message).map_err(Status::from)
}

fn check(message: &[u8]) -> Result<(), TooMany> {
    if message.len() > SHORT_MESSAGE { Bounds::REQUEST.check(message) } else { Ok(()) }
}

fn bounded(mut message: impl Buf) -> Result<RateLimitRequest, Failure> {
    if message.chunk().len() < message.remaining() {
        // tonic's buffer is in one piece. One that is not is copied into one.
        let whole = message.copy_to_bytes(message.remaining());
        check(&whole)?;
        return decoded(whole);
    }
    check(message.chunk())?;
    decoded(message)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::{pb::RateLimitDescriptor, protocol::rls::MAX_DESCRIPTORS};

    #[test]
    fn a_message_in_pieces_is_decoded_and_refused_as_one_in_a_piece_is() {
        for (descriptors, is_refused) in [(2, false), (MAX_DESCRIPTORS, false), (MAX_DESCRIPTORS + 1, true)] {
            let descriptors = vec![RateLimitDescriptor::default(); descriptors];
            let sent = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 3 };
            let bytes = sent.encode_to_vec();
            for at in [0, 1, 9, bytes.len() / 2, bytes.len()] {
                let (start, end) = bytes.split_at(at);
                let read = request(start.chain(end));
                assert_eq!(read.as_ref().ok(), Some(&sent).filter(|_| !is_refused), "in two at {at}");
                assert!(read.err().is_none_or(|status| status.code() == Code::InvalidArgument));
            }
        }
    }
}
