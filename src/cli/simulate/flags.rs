//! The flags of `tollgate simulate`, and what they mean together.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::PathBufValueParser};
use thiserror::Error;

use super::{
    SimulateError,
    log::{self, Names, Pattern, Role},
    making::FieldDescriptor,
};
use crate::{
    cli::{
        defaults::DefaultFlags,
        values::{self, Item},
    },
    config::{self, Config},
};
use tollgate_core::{applied::QuotaMode, duration, limit::Unit};

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct RuleFlags {
    /// YAML file with limits, or a folder, as for `tollgate serve`: the limits that are tried.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "PATH", value_delimiter = ',', required_unless_present = "suggest",
        value_parser = Item(PathBufValueParser::new()))]
    pub(super) config: Vec<PathBuf>,

    /// Limits in force now: report what changes from these to those of --config.
    #[arg(long, value_name = "PATH", value_delimiter = ',', conflicts_with = "suggest",
        value_parser = Item(PathBufValueParser::new()))]
    pub(super) against: Vec<PathBuf>,

    #[command(flatten)]
    defaults: DefaultFlags,

    /// Deny a request only when all of its limits are used up, as `tollgate serve --quota-mode`.
    #[arg(long, env = "TOLLGATE_QUOTA_MODE", value_name = "SWITCH", num_args = 0..=1, require_equals = true,
        default_missing_value = "on", value_parser = values::switch)]
    quota_mode: Option<bool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The log")]
pub(super) struct LogFlags {
    /// Format of lines that are not JSON, as text_format of Envoy's access log has it [default: Envoy's own].
    #[arg(long, value_name = "FORMAT")]
    pattern: Option<String>,

    /// What a field is, where its name does not say it: --field key=%REQ(x-api-key)%; may be repeated.
    ///
    /// NAME is the name in the log, with those of the objects around it before a dot. The names of Envoy's, Istio's and
    /// Envoy Gateway's default formats are known; any other field counts as the header of its name.
    #[arg(long, value_name = "NAME=OPERATOR", value_parser = field)]
    field: Vec<(String, Role)>,

    /// Field with the time when the request began: RFC 3339 and the like, or a number since the epoch [default: start_time,
    /// else timestamp, @timestamp, time or ts].
    #[arg(long, value_name = "NAME")]
    time_field: Option<String>,

    /// How far the times of a log may go back and still be sorted; Envoy writes a line when the request ends.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    pub(super) sort_window: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "From requests to descriptors")]
pub(super) struct MakingFlags {
    /// Make the descriptors by the rate_limits of this Envoy configuration, in YAML [default: by `authz` of the limits
    /// files].
    #[arg(long, value_name = "FILE", conflicts_with = "descriptor")]
    pub(super) envoy: Option<PathBuf>,

    /// Take the route of this name in the Envoy configuration for all requests.
    #[arg(long, value_name = "NAME", requires = "envoy")]
    pub(super) route: Option<String>,

    /// Take a descriptor from fields of the log: KEY=FIELD, or KEY:=TEXT for a constant, joined by commas; may be repeated.
    ///
    /// An address counts without its port, and a path without its query. Without the field there is no descriptor.
    #[arg(long, value_name = "ENTRIES")]
    pub(super) descriptor: Vec<FieldDescriptor>,

    /// Domain of the descriptors [default: the only one in the limits files, the one with `authz`, or that in --envoy].
    #[arg(long, value_name = "DOMAIN")]
    pub(super) domain: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Proposing limits")]
pub(super) struct SuggestFlags {
    /// Print a limits file that this log calls for, instead of trying one.
    #[arg(long)]
    pub(super) suggest: bool,

    /// Unit of the limits that are proposed: second, minute or hour.
    #[arg(long, value_name = "UNIT", default_value = "minute", value_parser = unit)]
    pub(super) unit: Unit,

    /// Burst of the limits that are proposed [default: as many as requests per unit].
    #[arg(long, value_name = "COUNT", requires = "suggest", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) burst: Option<u32>,

    /// Percentage of the clients that the limits must not touch.
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = percentile)]
    pub(super) percentile: f64,
}

/// A value of a flag that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NotAValue {
    #[error("write NAME=OPERATOR, such as key=%REQ(x-api-key)%")]
    Field,
    #[error("{0}")]
    Operator(#[from] log::NotAPattern),
    #[error("the unit is second, minute or hour")]
    Unit,
    #[error("a percentage is a number above 0, up to 100")]
    Percentile,
}

fn field(text: &str) -> Result<(String, Role), NotAValue> {
    let (name, operator) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NotAValue::Field)?;
    Ok((name.to_owned(), log::one_operator(operator)?))
}

fn unit(text: &str) -> Result<Unit, NotAValue> {
    Unit::from_name(text).filter(|unit| unit.seconds() <= Unit::Hour.seconds()).ok_or(NotAValue::Unit)
}

fn percentile(text: &str) -> Result<f64, NotAValue> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_no_number| NotAValue::Percentile)?;
    if number > 0.0 && number <= 100.0 { Ok(number) } else { Err(NotAValue::Percentile) }
}

impl RuleFlags {
    pub(super) fn quota_mode(&self) -> QuotaMode {
        if self.quota_mode == Some(true) { QuotaMode::Everywhere } else { QuotaMode::AsConfigured }
    }

    pub(super) fn load(&self, paths: &[PathBuf]) -> Result<Config, SimulateError> {
        Ok(config::load(paths, self.defaults.defaults()).map_err(|refused| refused.errors)?)
    }
}

impl LogFlags {
    /// The names that flags tell of, and the pattern.
    pub(super) fn read(&self) -> Result<(Names, Pattern), SimulateError> {
        let mut names = Names::default();
        for (name, role) in &self.field {
            names.tell(name, role.clone());
        }
        if let Some(name) = &self.time_field {
            names.tell(name, Role::FIRST_TIME);
        }
        let pattern = self.pattern.as_deref().unwrap_or(log::ENVOY_DEFAULT);
        let pattern = Pattern::new(pattern, &mut names).map_err(SimulateError::Pattern)?;
        Ok((names, pattern))
    }

    /// The fields that flags name.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.field.iter().map(|(name, _)| name).chain(&self.time_field).map(String::as_str)
    }
}
