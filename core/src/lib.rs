//! The part of Tollgate that decides: what a limit is, which limits apply to a request, and whether it fits.
//!
//! Everything here is pure. `now` is a parameter, buckets live behind a trait, and nothing names a runtime, a wire
//! format, Redis, metrics or a clock; this crate's dependencies see to that.
//!
//! | module | answers |
//! |---|---|
//! | [`actions`] | which descriptors does Envoy's configuration make of an HTTP request? |
//! | [`descriptor`] | what does a request ask, and which bucket does it ask? |
//! | [`limit`] | how many hits at once, and how fast do they come back? |
//! | [`rules`] | what was configured, checked? |
//! | [`matcher`] | which rule does a descriptor fall under? |
//! | [`applied`] | which limits apply to a request, and what are clients told about them? |
//! | [`decision`] | does a take fit, what does it leave, and what is the verdict on its request? |
//! | [`audit`] | did a limiter admit too much, or too little, over any interval? |

pub mod actions;
pub mod applied;
pub mod audit;
pub mod decision;
pub mod descriptor;
pub mod duration;
pub mod error;
pub mod limit;
pub mod matcher;
pub mod rules;
