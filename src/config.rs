//! Reads YAML files into checked domains, or reports everything that is wrong with them.
//!
//! All errors of all files are reported at once, each with its line and column. Beyond this module nothing sees raw
//! YAML, and nothing can be wrong. Text becomes a tree with positions (`yaml`). A check walks it (`rules`, which reads
//! with `fields`, `keys` and `scalar`) and reports errors (`report`, `error`). The results of the files (`raw`) are
//! combined by domain (`domain`, `members`), and searched for likely mistakes (`lint`).
//!
//! Rules that came as a message (`message`) have no text, and are checked in the same way.
//!
//! A syntax error hides only the rest of its own file. Hostile files cost bounded time and memory.

mod actions;
mod algorithm;
mod apart;
mod authz;
mod beside;
mod domain;
pub mod envoy;
mod error;
mod fields;
mod foreign;
mod keys;
mod lint;
mod members;
mod message;
mod raw;
mod report;
mod rules;
mod scalar;
mod seen;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use beside::Content;
pub use error::{ConfigError, ConfigErrors, Position, Problem};
pub use message::{Value, check_message};
use raw::RawDomain;
pub(crate) use report::shorten;
use report::{Place, Report, Reported};
pub use seen::{Holds, InFolders, Look, Seen};
pub use text::Encoding;

use crate::file;
use tollgate_core::{limit::Defaults, rules::Domain};

const MAX_FILE_BYTES: u64 = 16 << 20;
const START: Position = Position { line: 1, column: 1 };

/// All rules, checked.
#[derive(Debug)]
pub struct Config {
    /// In the order in which the files first name them; no name twice.
    pub domains: Vec<Domain>,
    /// Warnings about likely mistakes, by file and then by position.
    pub warnings: Vec<ConfigError>,
    /// All files that were read, with folders and members files.
    pub files: Vec<Seen>,
}

/// A configuration with errors, and all that was read for it: a change of any of these may mend it.
#[derive(Debug)]
pub struct Refused {
    pub errors: ConfigErrors,
    pub files: Vec<Seen>,
}

/// The outcome of a check: the configuration or its errors, and the warnings in either case.
#[derive(Debug)]
pub struct Checked {
    pub domains: Result<Vec<Domain>, ConfigErrors>,
    pub warnings: Vec<ConfigError>,
    pub files: Vec<Seen>,
    /// The text of the limits files, as far as it may be shown.
    pub texts: Vec<(PathBuf, String)>,
}

/// The files that were looked at, and a report on each.
#[derive(Default)]
struct Files {
    in_folders: InFolders,
    reports: Vec<Report>,
    seen: Vec<Seen>,
}

/// Reads and checks files, and the files in folders. Without files there are no rules, and no error.
///
/// `defaults` are for limits, and domains, that leave open how they count.
pub fn load(paths: &[PathBuf], defaults: impl Into<Defaults>) -> Result<Config, Refused> {
    load_from(paths, InFolders::default(), defaults)
}

/// Like [`load`], with a say in which files of folders are read.
pub fn load_from(
    paths: &[PathBuf],
    in_folders: InFolders,
    defaults: impl Into<Defaults>,
) -> Result<Config, Refused> {
    let Checked { domains, warnings, files, .. } = check_from(paths, in_folders, defaults.into());
    match domains {
        Ok(domains) => Ok(Config { domains, warnings, files }),
        Err(errors) => Err(Refused { errors, files }),
    }
}

/// Like [`load`], but returns the warnings even if there are errors.
pub fn check(paths: &[PathBuf], defaults: impl Into<Defaults>) -> Checked {
    check_from(paths, InFolders::default(), defaults.into())
}

fn check_from(paths: &[PathBuf], in_folders: InFolders, defaults: Defaults) -> Checked {
    let mut files = Files { in_folders, ..Files::default() };
    let limits = files.add_limits(paths);
    let contents =
        limits.into_iter().map(|(number, path)| content(number, &path, &mut files.reports[number]));
    let contents = contents.collect();
    let roots = files.without_members(contents);
    let found = check_roots(roots, defaults, &mut files);
    finish(found, files)
}

/// Checks each file by itself, once the algorithm of its domain is known.
fn check_roots(roots: Vec<(usize, yaml::Node)>, defaults: Defaults, files: &mut Files) -> Vec<RawDomain> {
    let algorithms = algorithm::of_files(roots.iter().map(|(_, root)| root), defaults.algorithm);
    let found = roots.into_iter().zip(algorithms).filter_map(|((number, root), algorithm)| {
        let defaults = Defaults { algorithm, ..defaults };
        rules::check(&root, number, defaults, &mut files.reports[number]).ok()
    });
    found.collect()
}

fn finish(found: Vec<RawDomain>, mut files: Files) -> Checked {
    let domains = domain::merge(found, &mut files);
    let Files { mut reports, seen, .. } = files;
    let texts = reports.iter_mut().filter_map(Report::take_text).collect();
    let warnings = reports.iter_mut().flat_map(Report::take_warnings).collect();
    let errors: Vec<ConfigError> = reports.into_iter().flat_map(Report::into_errors).collect();
    let domains = if errors.is_empty() { Ok(domains) } else { Err(ConfigErrors(errors)) };
    Checked { domains, warnings, files: seen, texts }
}

// === impl Files ===

impl Files {
    /// The number of a file, which is not read before: how it looks now is what later looks are compared with.
    fn add(&mut self, path: &Path, holds: Holds) -> usize {
        let (path, in_folders) = (path.to_owned(), self.in_folders);
        let look = Look::within(&path, in_folders);
        self.reports.push(Report::new(path.clone()));
        self.seen.push(Seen { path, look, holds, in_folders });
        self.seen.len() - 1
    }

    /// All limits files at these paths, those in folders too.
    fn add_limits(&mut self, paths: &[PathBuf]) -> Vec<(usize, PathBuf)> {
        let mut limits = Vec::new();
        for path in paths {
            let number = self.add(path, Holds::Limits);
            let mut found = Vec::new();
            if self.add_found(number, &mut Vec::new(), &mut found) && found.is_empty() {
                let is_deep = self.in_folders.is_deep();
                let problem = if is_deep { Problem::EmptyTree } else { Problem::EmptyFolder };
                self.reports[number].note(None, problem);
            }
            limits.append(&mut found);
        }
        limits
    }

    /// Finds the limits file at a path that was added, or those in the folder there. Returns whether it is a folder.
    /// `above` has the folders on the way to it.
    fn add_found(
        &mut self,
        number: usize,
        above: &mut Vec<PathBuf>,
        found: &mut Vec<(usize, PathBuf)>,
    ) -> bool {
        let path = self.path(number).to_owned();
        let Look::Folder(names) = &self.seen[number].look else {
            let is_known = |(known, _): &(usize, PathBuf)| {
                self.in_folders.is_deep() && self.seen[*known].look.is_same_file(&self.seen[number].look)
            };
            if !found.iter().any(is_known) {
                found.push((number, path));
            }
            return false;
        };
        // A link to a folder above would lead round and round.
        let real = path.canonicalize().unwrap_or_else(|_unreadable| path.clone());
        if above.contains(&real) {
            return true;
        }
        above.push(real);
        for name in names.clone() {
            let number = self.add(&path.join(name), Holds::Limits);
            self.add_found(number, above, found);
        }
        above.pop();
        true
    }

    fn path(&self, number: usize) -> &Path {
        &self.seen[number].path
    }
}

/// Reads one of the given files. Its text is kept only if it certainly is a limits file, since messages show lines of
/// it.
fn content(number: usize, path: &Path, report: &mut Report) -> Content {
    let Ok(text) = read(path, report) else { return Content { number, root: None, is_limits: false } };
    let mut root = root(&text, report).ok();
    let is_limits = root.as_ref().map_or_else(|| beside::seems_limits(&text), beside::is_limits);
    if is_limits {
        report.keep(text);
    }
    if let Some(what) = root.as_ref().and_then(foreign::what_it_is) {
        report.note(None, Problem::Refused(what.to_owned()));
        root = None;
    }
    Content { number, root, is_limits }
}

/// The text of a file, which is read once.
fn read(path: &Path, report: &mut Report) -> Result<String, Reported> {
    let bytes =
        file::read(path, MAX_FILE_BYTES).map_err(|error| report.note(None, Problem::Unreadable(error)))?;
    text(bytes, report)
}

/// Like [`check`], for one file that is in memory. The members file that it names is not read.
pub(crate) fn check_bytes(bytes: &[u8]) -> Checked {
    let mut files = Files::default();
    let number = files.add(Path::new("limits.yaml"), Holds::Limits);
    let report = &mut files.reports[number];
    let root = text(bytes.to_vec(), report).and_then(|text| root(&text, report));
    let roots = root.map(|root| vec![(number, root)]).unwrap_or_default();
    let found = check_roots(roots, Defaults::default(), &mut files);
    let found = found.into_iter().map(|domain| RawDomain { members: None, ..domain });
    finish(found.collect(), files)
}

fn text(bytes: Vec<u8>, report: &mut Report) -> Result<String, Reported> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(report.note(None, Problem::TooLarge));
    }
    text::decode(bytes).map_err(|error| report.note(Some(error.at), Problem::NotText(error.encoding)))
}

/// The first document of a file.
fn root(text: &str, report: &mut Report) -> Result<yaml::Node, Reported> {
    let document =
        yaml::parse(text).map_err(|error| report.note(Some(error.at), Problem::Syntax(error.message)))?;
    if let Some(at) = document.second {
        report.warn(
            at,
            &Place::Root,
            format_args!("a second YAML document starts here; it and everything after it is ignored"),
        );
    }
    match document.root {
        Some(root) if !fields::is_null(&root) => Ok(root),
        _ => Err(report.refuse(START, &Place::Root, format_args!("the file is empty"))),
    }
}
