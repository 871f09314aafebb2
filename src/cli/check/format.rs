//! Formats what `tollgate check` found: as text, as JSON, and as commands for GitHub.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    path::Path,
};

use serde_json::{Value, json};

use super::Findings;
use crate::{
    config::{ConfigError, Position},
    error,
};

/// The maximum number of characters of a line that are shown; of a longer line, those around the place.
const WIDTH: usize = 100;
/// Places beyond this number of characters are not shown.
const LONGEST: usize = 10_000;

/// Each finding as `file:line:column: message`, with its line below; then a summary.
pub(super) fn text(findings: &Findings) -> String {
    let mut out = String::new();
    let lines = lines(findings);
    for problem in &findings.problems {
        out.push_str(&format!("{problem}\n"));
        if let Some(at) = problem.at
            && let Some(line) = lines.get(&(problem.file.as_path(), at.line))
        {
            out.push_str(&excerpt(line, at));
        }
    }
    let Findings { errors, warnings, domains, .. } = *findings;
    let counted = |count, what| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
    let domains =
        if findings.errors == 0 { format!("{}: ", counted(domains, "domain")) } else { String::new() };
    let _ = writeln!(out, "{domains}{errors}, {warnings}");
    out
}

/// The lines that the problems are about, so that the rest of a long file is not kept.
fn lines(findings: &Findings) -> HashMap<(&Path, usize), &str> {
    let places =
        findings.problems.iter().filter_map(|problem| Some((problem.file.as_path(), problem.at?.line)));
    let wanted: HashSet<(&Path, usize)> = places.collect();
    let mut lines = HashMap::new();
    for (file, text) in &findings.texts {
        let numbered = text.lines().enumerate().map(|(index, line)| ((file.as_path(), index + 1), line));
        lines.extend(numbered.filter(|(place, _)| wanted.contains(place)));
    }
    lines
}

/// The line, and a mark below the place. Empty for a place beyond [`LONGEST`].
fn excerpt(line: &str, at: Position) -> String {
    let column = at.column - 1;
    if column > LONGEST {
        return String::new();
    }
    let from = if line.chars().nth(WIDTH).is_none() { 0 } else { column.saturating_sub(WIDTH / 2) };
    let shown: String = line.chars().skip(from).take(WIDTH).map(printable).collect();
    let number = at.line.to_string();
    let (margin, blank) = (" ".repeat(number.len()), " ".repeat(column - from));
    format!("  {number} | {shown}\n  {margin} | {blank}^\n")
}

/// A character of the same width, so that the mark is below its place.
fn printable(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

/// `{"errors":…,"warnings":…,"problems":[{"file","line","column","severity","message"}]}`. Line and column are null
/// if the problem is about a file as a whole.
pub(super) fn json(findings: &Findings) -> String {
    let problems: Vec<Value> = findings
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.file.display().to_string(),
                "line": problem.at.map(|at| at.line),
                "column": problem.at.map(|at| at.column),
                "severity": severity(problem),
                "message": message(problem),
            })
        })
        .collect();
    format!("{}\n", json!({"errors": findings.errors, "warnings": findings.warnings, "problems": problems}))
}

/// One workflow command for each finding.
pub(super) fn github(findings: &Findings) -> String {
    let mut out = String::new();
    for problem in &findings.problems {
        let file = property(&problem.file.display().to_string());
        let place = problem.at.map_or(String::new(), |at| format!(",line={},col={}", at.line, at.column));
        let (severity, message) = (severity(problem), data(&message(problem)));
        let _ = writeln!(out, "::{severity} file={file}{place}::{message}");
    }
    out
}

fn severity(problem: &ConfigError) -> &'static str {
    if problem.problem.is_warning() { "warning" } else { "error" }
}

/// The message without file and place, and without the word `warning`, which the severity says already.
fn message(problem: &ConfigError) -> String {
    let text = error::chain(&problem.problem);
    match text.strip_prefix("warning: ") {
        Some(message) if problem.problem.is_warning() => message.to_owned(),
        _ => text,
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
