//! A page of some cases, and the page of an earlier run for the others.
//!
//! What the new page has replaces the same of the kept one: a case, a row of the targets, the rows of a case beside other
//! services, and the other sections as a whole.

use crate::bench::{cases, targets::Verdict};

pub(super) const PEERS: &str = "Beside other services";
pub(super) const TARGETS: &str = "Targets";
pub(super) const SCALING: &str = "Takes per second, calculated";
pub(super) const CASES: &str = "Cases";

/// What a row of a table is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Case,
    Target,
}

/// The new page, completed by what only the kept one has.
pub fn merged(new: &str, kept: &str) -> String {
    let mut page = preamble(new).to_owned();
    for heading in [PEERS, TARGETS, SCALING] {
        let both = (section(new, heading), section(kept, heading));
        let body = match both {
            (Some(new), Some(kept)) if heading == PEERS => peers(new, kept),
            (Some(new), Some(kept)) if heading == TARGETS => rows(new, kept, Key::Target),
            (Some(body), _) | (None, Some(body)) => body.to_owned(),
            (None, None) => continue,
        };
        page.push_str(&format!("## {heading}\n{body}"));
    }
    page.push_str(&format!("## {CASES}\n"));
    let case = |page, name: &str| case(section(page, CASES).unwrap_or_default(), name);
    for known in cases::all() {
        if let Some(body) = case(new, &known.name).or_else(|| case(kept, &known.name)) {
            page.push_str(&format!("\n### {}\n{}\n", known.name, body.trim_end_matches('\n')));
        }
    }
    page
}

fn preamble(page: &str) -> &str {
    page.find("\n## ").map_or(page, |end| &page[..=end])
}

/// What follows a heading, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n"))?;
    Some(rest.find("\n## ").map_or(rest, |end| &rest[..=end]))
}

fn case<'a>(cases: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = cases.split_once(&format!("\n### {name}\n"))?;
    Some(rest.find("\n### ").map_or(rest, |end| &rest[..=end]))
}

/// Two tables, of which either may be empty in the new page.
fn peers(new: &str, kept: &str) -> String {
    let is_row = |line: &&str| line.starts_with("| ");
    let admissions = |page: &str| {
        let head = page.lines().skip_while(|line| !line.starts_with("| service |"));
        head.take_while(is_row).map(|line| format!("{line}\n")).collect::<String>()
    };
    let (was, is) = (admissions(kept), admissions(new));
    // The head and the rule alone.
    let new = if is.lines().count() > 2 { new.to_owned() } else { new.replace(&is, &was) };
    rows(&new, kept, Key::Case)
}

/// The lines of the new section. In its first table, the rows of each case come from the page that has them.
fn rows(new: &str, kept: &str, key: Key) -> String {
    let (head, table, tail) = first_table(new);
    let (_, kept, _) = first_table(kept);
    let mut lines: Vec<&str> = table.iter().take(2).copied().collect();
    let (table, kept) = (&table[table.len().min(2)..], &kept[kept.len().min(2)..]);
    match key {
        Key::Target => lines.extend(table.iter().map(|row| {
            let unmeasured = row.ends_with(&format!("| {} |", Verdict::NotMeasured.word()));
            kept.iter().find(|was| unmeasured && cells(was, 3) == cells(row, 3)).unwrap_or(row)
        })),
        Key::Case => {
            for known in cases::all() {
                let of_case = |row: &&&str| cells(row, 1) == [known.name.as_str()];
                let from = if table.iter().any(|row| of_case(&row)) { table } else { kept };
                lines.extend(from.iter().filter(of_case));
            }
        }
    }
    let table: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{head}{table}{tail}")
}

/// What is before it, its lines, and what is behind it.
fn first_table(section: &str) -> (&str, Vec<&str>, &str) {
    let start = section.find("\n| ").map_or(section.len(), |at| at + 1);
    let (head, rest) = section.split_at(start);
    let length = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    let (table, tail) = rest.split_at(length);
    (head, table.lines().collect(), tail)
}

/// The first cells of a row.
fn cells(row: &str, count: usize) -> Vec<&str> {
    row.trim_start_matches("| ").split(" | ").take(count).collect()
}
