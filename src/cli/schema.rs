//! `tollgate schema`: the JSON Schema of limits files, for editors.

use std::io::{self, Write as _};

use clap::Args;

use crate::error::SystemError;

/// The schema, as it is printed.
pub const SCHEMA: &str = include_str!("../../schema/limits.schema.json");

const EXAMPLE: &str = "\
Example:
  tollgate schema > limits.schema.json
and in a limits file, for the YAML language server:
  # yaml-language-server: $schema=limits.schema.json";

/// Print the JSON Schema of limits files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Schema {}

impl Schema {
    pub(super) fn run(&self) -> Result<(), SystemError> {
        io::stdout().write_all(SCHEMA.as_bytes()).map_err(SystemError::from)
    }
}
