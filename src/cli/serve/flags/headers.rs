//! Which groups of headers are sent.

use std::collections::HashSet;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::super::ServeError;
use crate::{
    cli::{values::Item, variables::Origins},
    response::Group,
};

/// The groups of headers and the body; `tollgate explain` has them too.
#[derive(Debug, Args)]
pub(in crate::cli) struct Headers {
    /// Groups to send: retry-after, ratelimit, ratelimit-structured, problem-body; or none.
    #[arg(long, env = "TOLLGATE_HEADERS", value_name = "GROUP", value_delimiter = ',',
        default_value = "retry-after,ratelimit,problem-body", hide_possible_values = true, ignore_case = true,
        value_parser = header_group())]
    headers: Vec<String>,
}

impl Headers {
    pub(in crate::cli) fn groups(&self, origins: &Origins) -> Result<Vec<Group>, ServeError> {
        let mut seen = HashSet::new();
        let origin = || origins.name("headers");
        if let Some(name) = self.headers.iter().find(|name| !seen.insert(*name)) {
            return Err(ServeError::HeadersTwice { origin: origin(), name: name.clone() });
        }
        // All names but `none` are groups: clap has checked them.
        let groups: Vec<Group> = self.headers.iter().filter_map(|name| name.parse().ok()).collect();
        if groups.len() < self.headers.len() && self.headers.len() > 1 {
            return Err(ServeError::HeadersNoneAndMore { origin: origin() });
        }
        Ok(groups)
    }
}

const HEADER_GROUPS: [&str; 5] = ["retry-after", "ratelimit", "ratelimit-structured", "problem-body", "none"];

fn header_group() -> impl TypedValueParser<Value = String> {
    Item(PossibleValuesParser::new(HEADER_GROUPS).map(|name| name.to_ascii_lowercase()))
}
