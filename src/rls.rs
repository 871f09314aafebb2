//! The wire.
pub mod codec;
