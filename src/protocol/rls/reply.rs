//! An answer in the form in which it is sent.

use prost::{DecodeError, Message as _};

use crate::pb::RateLimitResponse;

/// A `RateLimitResponse`, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// The bytes of one `RateLimitResponse`.
    pub fn from_bytes(bytes: Vec<u8>) -> Reply {
        Reply(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads it as a client does.
    pub fn decode(&self) -> Result<RateLimitResponse, DecodeError> {
        RateLimitResponse::decode(&self.0[..])
    }
}

impl From<RateLimitResponse> for Reply {
    fn from(response: RateLimitResponse) -> Reply {
        Reply(response.encode_to_vec())
    }
}
