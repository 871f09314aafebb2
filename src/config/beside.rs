//! Members files beside limits files: in a folder that is read whole, or among the files that a shell expanded.
//!
//! The content of such a file must not be shown, even if nothing says that it is one, because the limits file that
//! names it may have errors. So if there are several files, each that has neither `domain` nor `descriptors` is taken
//! for one.

use std::path::{Path, PathBuf};

use super::{Files, Holds, Look, error::Problem, fields::Fields, raw, report::Report, yaml::Node};

/// The content of one of the given files.
pub(super) struct Content {
    pub(super) number: usize,
    /// None if there is an error.
    pub(super) root: Option<Node>,
    /// Its keys show that it is not a members file; for a file that is not valid YAML, its lines do.
    pub(super) is_limits: bool,
}

impl Files {
    /// The limits files. A members file that one of them names is read together with it.
    pub(super) fn without_members(&mut self, contents: Vec<Content>) -> Vec<(usize, Node)> {
        let is_alone = self.seen.len() == 1;
        let named: Vec<(PathBuf, Look)> =
            contents.iter().filter_map(|content| self.named_by(content)).collect();
        let mut limits = Vec::new();
        for Content { number, root, is_limits } in contents {
            let (seen, report) = (&mut self.seen[number], &mut self.reports[number]);
            let is_named =
                named.iter().any(|(path, look)| seen.path == *path || seen.look.is_same_file(look));
            if is_limits || is_alone {
                limits.extend(root.map(|root| (number, root)));
                continue;
            }
            seen.holds = Holds::Members;
            if is_named {
                *report = Report::new(seen.path.clone());
            } else {
                withhold(report, &seen.path, root.is_some());
            }
        }
        limits
    }

    /// The members file that a limits file names, even if that limits file has errors.
    fn named_by(&self, content: &Content) -> Option<(PathBuf, Look)> {
        let root = content.root.as_ref().filter(|_| content.is_limits)?;
        let file = Fields::peek(root, |fields| fields.map("members", |fields| fields.text("file")));
        let path = raw::members_path(&file.ok()???, &self.seen[content.number].path);
        Some((path.clone(), Look::at(&path)))
    }
}

/// Replaces all errors about the content by one that repeats nothing of it.
fn withhold(report: &mut Report, path: &Path, is_yaml: bool) {
    let broken_at = report.syntax_error_at();
    if !is_yaml && broken_at.is_none() {
        // These errors say that it cannot be read, is not text, or is empty, and repeat no key.
        return;
    }
    *report = Report::new(path.to_owned());
    let what = if is_yaml { "" } else { "this is not valid YAML and " };
    let problem = Problem::Refused(format!(
        "{what}has no `domain`. If it is a limits file, give it one. If it is a members file, a limits file that is \
         given too must name it in `members`: mend that one first if it is wrong, or move this file away"
    ));
    report.note(broken_at, problem);
}

/// Whether the root of a file has a key of limits files, by itself or by `<<`. No tier is called like these two.
pub(super) fn is_limits(root: &Node) -> bool {
    Fields::peek(root, |fields| fields.has_key("domain") || fields.has_key("descriptors"))
}

/// The same for a file that is not valid YAML: whether a line could be its `domain`.
pub(super) fn seems_limits(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches(['\u{feff}', ' ', '{', '"', '\'']);
        let behind = line.strip_prefix("domain").unwrap_or_default();
        behind.trim_start_matches(['"', '\'', ' ']).starts_with(':')
    })
}
