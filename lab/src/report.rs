//! The report writer that all commands of the lab share.
//!
//! A command turns its figures into this model; how a table looks in a terminal and in Markdown is decided here alone.

mod table;
mod text;

pub(crate) use self::{table::Table, text::escape};
