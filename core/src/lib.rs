//! The part of Tollgate that decides: what a limit is, which limits apply to a request, and whether it fits.
//!
//! Everything here is pure: `now` is a parameter, and buckets live behind a trait. No runtime, wire format, Redis,
//! metrics or clock is among its dependencies.
//!
//! | module | answers |
//! |---|---|
//! | [`actions`] | which descriptors does Envoy's configuration make of an HTTP request? |
//! | [`descriptor`] | what does a request ask, and which bucket does it ask? |
//! | [`limit`] | how many hits at once, and how fast do they come back? |
//! | [`billing`] | is a rule charged after the response? |
//! | [`rules`] | what was configured, checked? |
//! | [`matcher`] | which rule does a descriptor fall under? |
//! | [`applied`] | which limits apply to a request, and what are clients told about them? |
//! | [`decision`] | does a take fit, what does it leave, and what is the verdict on its request? |
//! | [`act`] | what does an operator's peek, reset or grant do to the buckets of a key? |
//! | [`audit`] | did a limiter admit too much, or too little, over any interval? |
//!
//! # Example
//!
//! One limit: two requests at once for each user, and one more every second.
//!
//! ```
//! use std::collections::HashMap;
//! use tollgate_core::{
//!     applied::{QuotaMode, figures},
//!     decision::{Verdict, decide},
//!     descriptor::{Descriptor, Entry, Hits, KeyForm, Request},
//!     limit::{Limit, Unit},
//!     matcher::Matcher,
//!     rules::{Domain, Pattern},
//! };
//!
//! let limit = Limit::new(1, Unit::Second, Some(2))?;
//! let descriptors = vec![Pattern::with_limit("user", None, limit)];
//! let matcher = Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, ..Domain::default() }]);
//!
//! let entry = Entry { key: b"user", value: b"alice" };
//! let descriptor = Descriptor::new([entry].into_iter(), Hits::Take(1));
//! let request = Request { domain: b"edge", descriptors: [descriptor].into_iter().collect() };
//! let rules = matcher.domain(request.domain).expect("the domain has rules");
//! let applied = rules.apply(&request, QuotaMode::AsConfigured, KeyForm::Whole)?;
//! let takes: Vec<_> = applied.limits.iter().map(|applied| applied.take).collect();
//!
//! let mut buckets = HashMap::new();
//! let noon_us = 1_800_000_000_000_000;
//! for verdict in [Verdict::Allow, Verdict::Allow, Verdict::Deny] {
//!     assert_eq!(decide(&takes, noon_us, &mut buckets).verdict, verdict);
//! }
//! let denied = decide(&takes, noon_us + 400_000, &mut buckets);
//! let figures = figures(&applied.limits, None, &denied, 0);
//! assert_eq!((figures.remaining, figures.reset_us), (0, 600_000), "the next token comes in 0.6 s");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

pub mod act;
pub mod actions;
pub mod applied;
pub mod audit;
pub mod authz;
pub mod billing;
pub mod calendar;
pub mod decision;
pub mod descriptor;
pub mod duration;
pub mod error;
pub mod limit;
pub mod matcher;
pub mod rules;
