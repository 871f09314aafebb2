//! Sets up the log: lines on stderr, as text or as one JSON object per line.
//!
//! The start line ([`START`]) passes every filter, because scripts read the bound ports from it. Whatever could be
//! logged with every request is logged [`hourly`].

pub mod hourly;
pub mod keys;
pub mod names;
mod short;
pub mod subjects;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
    sync::LazyLock,
    thread,
};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter,
    filter::{Directive, ParseError},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people, in colours on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

pub use short::short;
use subjects::{Due, Warnings};

/// Target of the debug lines that say for each descriptor which limits apply to it, or why none does.
pub const REQUESTS: &str = "tollgate::requests";

/// Target of the line that says where the process listens.
pub const START: &str = "tollgate::start";

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// A filter that does not parse.
    #[error(
        "{origin} says {filter:?}, which is not a log level; write info, for example, or tollgate=debug,h2=warn"
    )]
    Filter {
        /// The flag or variable that it came from.
        origin: String,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A word that is neither a level nor a `target=level`.
    #[error("{origin} says {word:?}, which is not a log level; write off, error, warn, info, debug or trace")]
    NoLevel {
        /// The flag or variable that it came from.
        origin: String,
        /// The word.
        word: String,
    },
    /// Logging was set up before.
    #[error("cannot start logging")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the process. The level is `level`, which comes with the flag or variable that set it, or else
/// that of RUST_LOG, or else info.
///
/// From here on panics are logged too.
///
/// Fails on a level that does not parse, and when called twice.
pub fn init(format: Format, level: Option<(String, &str)>) -> Result<(), LoggingError> {
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
    .map_err(LoggingError::Installed)?;
    panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// Panics, by their place in the code.
static PANICS: LazyLock<Warnings> = LazyLock::new(Warnings::default);

/// Logs a panic in the format of the log. A client might be able to cause one with each connection, so each place in
/// the code is logged the first time, and then once an hour with the number of times.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let (Some(Due::Subject { times }) | Some(Due::Others { times })) = PANICS.occurs(panic.location()) else {
        return;
    };
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        place,
        thread = thread::current().name(),
        times,
        backtrace = is_captured.then(|| tracing::field::display(backtrace)),
        "a bug in Tollgate, please report it: {text}"
    );
}

fn filter(level: Option<(String, &str)>, rust_log: Option<String>) -> Result<EnvFilter, LoggingError> {
    let (origin, filter) = match (level, rust_log) {
        (Some((origin, level)), _) => (origin, level.to_owned()),
        (None, Some(rust_log)) => ("RUST_LOG".to_owned(), rust_log),
        (None, None) => ("the default".to_owned(), String::new()),
    };
    // Blanks around the items of a list are ignored.
    let filter = filter.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    if let Some(word) = filter.split(',').find(|word| !is_level(word) && !word.contains('=')) {
        let word = word.to_owned();
        return Err(LoggingError::NoLevel { origin, word });
    }
    let parsed = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(&filter);
    let start: Directive = format!("{START}=info").parse().expect("a target and a level");
    parsed.map(|filter| filter.add_directive(start)).map_err(|source| LoggingError::Filter {
        origin,
        filter,
        source,
    })
}

/// A bare word that is not a level would be taken for a target, and all other targets would fall silent.
fn is_level(word: &str) -> bool {
    word.is_empty() || word.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(flag: Option<&str>) -> Option<(String, &str)> {
        flag.map(|level| ("--log-level".to_owned(), level))
    }

    fn text(flag: Option<&str>, rust_log: Option<&str>) -> String {
        filter(typed(flag), rust_log.map(str::to_owned)).unwrap().to_string()
    }

    #[test]
    fn the_flag_goes_before_the_environment_and_both_before_info() {
        let with_start = |level: &str| format!("tollgate::start=info,{level}");
        assert_eq!(text(Some("warn"), Some("debug")), with_start("warn"));
        assert_eq!(text(None, Some("debug")), with_start("debug"));
        assert_eq!(text(None, Some("")), with_start("info"));
        assert_eq!(text(None, None), with_start("info"));
        assert_eq!(text(Some("WARN,tollgate=debug"), None), "tollgate::start=info,tollgate=debug,warn");
        assert_eq!(text(None, Some(" warn , tollgate=debug\n")), "tollgate::start=info,tollgate=debug,warn");
    }

    #[test]
    fn a_wrong_level_is_refused_and_named() {
        let error = filter(typed(Some("tollgate=loud")), None).unwrap_err();
        assert!(error.to_string().starts_with("--log-level says \"tollgate=loud\""), "{error}");
        for word in ["loud", "verbose", "warning", "info,tollgate"] {
            let refused = filter(typed(Some(word)), None).unwrap_err().to_string();
            assert!(refused.starts_with("--log-level says ") && refused.contains("which is not a log level"));
            let refused = filter(None, Some(word.to_owned())).unwrap_err().to_string();
            assert!(refused.starts_with("RUST_LOG says "), "{refused}");
        }
    }
}
