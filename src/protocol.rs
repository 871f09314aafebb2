//! What comes in and goes out on the wire.
//!
//! Each protocol parses its own messages once, asks the limiter, and encodes what came out.

pub mod rls;
