//! YAML files into checked domains, or all that is wrong with them.
//!
//! Every error of every file is told at once, each with its line and column. Past this module nothing
//! sees raw YAML, and nothing can be wrong. Text becomes a located tree (`yaml`), which a check walks
//! (`rules`, reading with `fields` and `scalar`) and complains about (`report`, `error`).
//!
//! A syntax error hides the rest of its own file only. Hostile files cost bounded time and memory.

mod error;
mod fields;
mod report;
mod rules;
mod scalar;
mod yaml;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use error::{ConfigError, ConfigErrors, Position, Problem};
use report::{Place, Report, Reported, shorten};

use crate::rules::Domain;

const MAX_FILE_BYTES: u64 = 16 << 20;
const START: Position = Position { line: 1, column: 1 };

/// All rules, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// One per file, in the order of the files; no name twice.
    pub domains: Vec<Domain>,
    /// What is legal but surely not meant.
    pub warnings: Vec<String>,
    /// All files that were read.
    pub files: Vec<PathBuf>,
}

/// Reads and checks the files. No files are no rules, which is no error.
pub fn load(paths: &[PathBuf]) -> Result<Config, ConfigErrors> {
    let mut domains = Vec::new();
    let mut errors = Vec::new();
    // Where each domain was named first.
    let mut places: HashMap<String, (&Path, usize)> = HashMap::new();
    for path in paths {
        let mut report = Report::new(path.clone());
        if let Ok((domain, at)) = check_file(path, &mut report) {
            match places.entry(domain.name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert((path, at.line));
                    domains.push(domain);
                }
                Entry::Occupied(first) => {
                    let (file, line) = first.get();
                    let name = shorten(&domain.name);
                    let message = format_args!("the domain `{name}` is already in {}:{line}", file.display());
                    report.refuse(at, &Place::Root, message);
                }
            }
        }
        errors.extend(report.into_errors());
    }
    if errors.is_empty() {
        Ok(Config { domains, warnings: Vec::new(), files: paths.to_vec() })
    } else {
        Err(ConfigErrors(errors))
    }
}

fn check_file(path: &Path, report: &mut Report) -> Result<(Domain, Position), Reported> {
    let text = read(path, report)?;
    let document =
        yaml::parse(&text).map_err(|error| report.note(Some(error.at), Problem::Syntax(error.message)))?;
    if let Some(at) = document.second {
        report.refuse(at, &Place::Root, format_args!("a second document starts here; a file holds one"));
    }
    match document.root {
        Some(root) if !fields::is_null(&root) => rules::check(&root, report),
        _ => Err(report.refuse(START, &Place::Root, format_args!("the file is empty"))),
    }
}

fn read(path: &Path, report: &mut Report) -> Result<String, Reported> {
    let bytes = read_bytes(path).map_err(|error| report.note(None, Problem::Unreadable(error.into())))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(report.note(None, Problem::TooLarge));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line_start = valid.rfind('\n').map_or(0, |line_break| line_break + 1);
        let at = Position {
            line: valid.matches('\n').count() + 1,
            column: valid[line_start..].chars().count() + 1,
        };
        report.note(Some(at), Problem::NotUtf8(error.utf8_error()))
    })
}

/// One byte more than allowed at most, so that even an endless file ends.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
