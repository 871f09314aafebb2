//! Where log lines go and how they look: to stderr, as text or as one JSON object a line.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Error)]
pub enum LoggingError {
    #[error("{origin} says {filter:?}, which is no log level (such as info, or tollgate=debug,h2=warn)")]
    Filter { origin: &'static str, filter: String, source: ParseError },
    #[error("cannot start logging")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the process. The level is `level`, else that of RUST_LOG, else info.
///
/// Fails on a level that cannot be understood, and when called twice.
pub fn init(format: Format, level: Option<&str>) -> Result<(), LoggingError> {
    let filter = filter(level, env::var("RUST_LOG").ok())?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => {
            let colours =
                io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colours)).try_init()
        }
        Format::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
        }
    }
    .map_err(LoggingError::Installed)
}

fn filter(level: Option<&str>, rust_log: Option<String>) -> Result<EnvFilter, LoggingError> {
    let (origin, filter) = match (level, rust_log) {
        (Some(level), _) => ("--log-level", level.to_owned()),
        (None, Some(rust_log)) => ("RUST_LOG", rust_log),
        (None, None) => ("the default", String::new()),
    };
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&filter)
        .map_err(|source| LoggingError::Filter { origin, filter, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment_and_both_before_info() {
        let level =
            |flag, rust_log: Option<&str>| filter(flag, rust_log.map(str::to_owned)).unwrap().to_string();
        assert_eq!(level(Some("warn"), Some("debug")), "warn");
        assert_eq!(level(None, Some("debug")), "debug");
        assert_eq!(level(None, Some("")), "info");
        assert_eq!(level(None, None), "info");
    }

    #[test]
    fn a_level_that_is_none_is_refused_and_named() {
        let error = filter(Some("tollgate=loud"), None).unwrap_err();
        assert!(error.to_string().starts_with("--log-level says \"tollgate=loud\""), "{error}");
    }
}
