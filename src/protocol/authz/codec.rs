//! Hands over the bytes of messages, which are read and written elsewhere.

use bytes::{Buf as _, Bytes};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};

use crate::protocol::reply::{Reply, ReplyEncoder, buffers};

/// A `CheckRequest`, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckMessage(pub Bytes);

/// The codec of the service.
#[derive(Debug, Default)]
pub struct CheckCodec;

/// Takes the bytes of a message.
#[derive(Debug)]
pub struct CheckDecoder;

impl Codec for CheckCodec {
    type Encode = Reply;
    type Decode = CheckMessage;
    type Encoder = ReplyEncoder;
    type Decoder = CheckDecoder;

    fn encoder(&mut self) -> ReplyEncoder {
        ReplyEncoder
    }

    fn decoder(&mut self) -> CheckDecoder {
        CheckDecoder
    }
}

impl Decoder for CheckDecoder {
    type Item = CheckMessage;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<CheckMessage>, Status> {
        Ok(Some(CheckMessage(buf.copy_to_bytes(buf.remaining()))))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
