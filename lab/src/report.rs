//! The report writer that all commands of the lab share.
//!
//! A command turns its figures into this model. How a table looks in a terminal and in Markdown, and a chart on a
//! page and in a file of its own, is decided here alone.

pub(crate) mod chart;
mod table;
mod text;

pub(crate) use self::{
    table::Table,
    text::{count, escape},
};
