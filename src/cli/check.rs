//! `tollgate check`: finds errors in limits files, and warns of what is legal but surely not meant.

mod format;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::defaults::DefaultFlags;
use crate::{
    config::{self, Checked, ConfigError, Problem},
    error::SystemError,
};

// clap wraps these lines.
const EXAMPLES: &str = "\
Exit status: 0 if there are no errors; 1 if there are errors (with --strict: or warnings); 2 if a file cannot be \
read, or a folder has no limits files.

The files of one domain are checked together, so give all of them, or their folder.

Examples:
  tollgate check limits.yaml
  tollgate check /etc/tollgate
  tollgate check --strict --format github limits/*.yaml";

/// Report all errors and warnings in limits files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Limits files, or folders of *.yaml and *.yml files. The members files that they name are checked too.
    #[arg(required = true, value_name = "PATH")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    defaults: DefaultFlags,

    /// Exit with 1 on warnings too.
    #[arg(long)]
    strict: bool,

    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people, with the line that each is about.
    Text,
    /// One JSON object.
    Json,
    /// Workflow commands that annotate a change on GitHub.
    Github,
}

/// The errors and warnings, in the order in which they are printed.
struct Findings {
    problems: Vec<ConfigError>,
    errors: usize,
    warnings: usize,
    domains: usize,
    texts: Vec<(PathBuf, String)>,
}

impl Check {
    pub(super) fn run(&self) -> Result<ExitCode, SystemError> {
        let findings = Findings::new(config::check(&self.files, self.defaults.defaults()));
        let text = match self.format {
            Format::Text => format::text(&findings),
            Format::Json => format::json(&findings),
            Format::Github => format::github(&findings),
        };
        io::stdout().write_all(text.as_bytes()).map_err(SystemError::from)?;
        Ok(ExitCode::from(findings.status(self.strict)))
    }
}

// === impl Findings ===

impl Findings {
    fn new(checked: Checked) -> Findings {
        let Checked { domains, warnings, files, texts } = checked;
        let (domains, errors) = match domains {
            Ok(domains) => (domains.len(), Vec::new()),
            Err(errors) => (0, errors.into_iter().collect()),
        };
        let count = |problems: &[ConfigError]| problems.iter().map(|problem| problem.problem.count()).sum();
        let (errors_count, warnings_count) = (count(&errors), count(&warnings));
        let mut problems: Vec<ConfigError> = errors.into_iter().chain(warnings).collect();
        let order: HashMap<&Path, usize> = files.iter().map(|seen| seen.path.as_path()).zip(0..).collect();
        problems.sort_by_key(|problem| {
            (order.get(problem.file.as_path()), problem.problem.is_rest(), problem.at)
        });
        Findings { problems, errors: errors_count, warnings: warnings_count, domains, texts }
    }

    fn status(&self, strict: bool) -> u8 {
        let is_unreadable = |problem: &ConfigError| {
            matches!(problem.problem, Problem::Unreadable(_) | Problem::EmptyFolder | Problem::EmptyTree)
        };
        if self.problems.iter().any(is_unreadable) {
            2
        } else {
            u8::from(self.errors > 0 || (strict && self.warnings > 0))
        }
    }
}
