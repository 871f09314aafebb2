//! Draws the view as lines.

use std::fmt::Write as _;

use super::{
    figures::Row,
    screen::{Colours, Tone},
    text,
    view::{State, View},
};

struct Column {
    name: &'static str,
    side: Side,
    /// Narrow terminals lose the columns with the highest number first; 0 stays.
    dispensable: u8,
    cell: fn(&View, State, &Row) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

const RULE: usize = 1;
/// The column of the rule is made so narrow before another one is left out.
const NARROWEST_RULE: usize = 20;
const BETWEEN: usize = 2;

const COLUMNS: [Column; 9] = [
    Column { name: "STATE", side: Side::Left, dispensable: 0, cell: |_, state, _| word(state).to_owned() },
    Column { name: "RULE", side: Side::Left, dispensable: 0, cell: |view, _, row| rule(view, row) },
    Column { name: "LIMIT", side: Side::Left, dispensable: 3, cell: |_, _, row| text::cut(&row.limits, 40) },
    Column {
        name: "ADMITTED/S",
        side: Side::Right,
        dispensable: 0,
        cell: |_, _, row| text::count(row.admitted),
    },
    Column { name: "DENIED/S", side: Side::Right, dispensable: 0, cell: |_, _, row| denied(row) },
    Column { name: "IN USE", side: Side::Right, dispensable: 1, cell: |_, _, row| share(row) },
    Column { name: "NEAR", side: Side::Right, dispensable: 5, cell: |_, _, row| text::count(row.keys_near) },
    Column { name: "OVER", side: Side::Right, dispensable: 4, cell: |_, _, row| text::count(row.keys_over) },
    Column { name: "LAST DENIAL", side: Side::Right, dispensable: 2, cell: |view, _, row| last(view, row) },
];

/// All of it, without colours, as wide as it is.
pub(super) fn whole(view: &View) -> String {
    let mut out = String::new();
    for line in head(view) {
        out.push_str(&line);
        out.push('\n');
    }
    if !view.rows.is_empty() {
        out.push('\n');
    }
    for line in table(view, usize::MAX, usize::MAX, Colours::Off) {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// As many lines as fit, each as wide as fits.
pub(super) fn screen(view: &View, width: usize, height: usize, colours: Colours) -> Vec<String> {
    if view.is_empty() {
        let waits = view.problems.iter().map(|problem| fit(problem, width));
        return std::iter::once(fit("Waiting for figures. q ends.", width))
            .chain(waits)
            .take(height)
            .collect();
    }
    let mut lines: Vec<String> = Vec::new();
    for (at, line) in head(view).iter().enumerate() {
        let tone = match (at, view.problems.is_empty()) {
            (0, _) if view.rows.iter().any(|(state, _)| *state == State::Denying) => Tone::Denied,
            (0, _) => Tone::Strong,
            (_, true) => Tone::Plain,
            (_, false) => Tone::Near,
        };
        lines.push(colours.paint(&fit(line, width), tone));
    }
    lines.push(String::new());
    let room = height.saturating_sub(lines.len() + 1);
    lines.extend(table(view, width, room, colours));
    lines.push(colours.paint(&fit("q ends", width), Tone::Soft));
    lines.truncate(height);
    lines
}

fn head(view: &View) -> Vec<String> {
    let mut lines = vec![view.headline()];
    if view.problems.is_empty() {
        lines.push(view.well());
    } else {
        lines.extend(view.problems.iter().take(6).map(|problem| format!("! {problem}")));
    }
    lines
}

/// `height` includes the head of the table, and the line about rows that do not fit.
fn table(view: &View, width: usize, height: usize, colours: Colours) -> Vec<String> {
    if view.rows.is_empty() || height == 0 {
        return Vec::new();
    }
    let fits = view.rows.len() < height;
    let shown = if fits { view.rows.len() } else { height.saturating_sub(2) };
    let cells: Vec<Vec<String>> = view.rows[..shown]
        .iter()
        .map(|(state, row)| COLUMNS.iter().map(|column| (column.cell)(view, *state, row)).collect())
        .collect();
    let widths = widths(&cells, width);
    let names: Vec<String> = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
    let mut lines = vec![colours.paint(&line(&names, &widths, Colours::Off, None), Tone::Soft)];
    for ((state, _), cells) in view.rows.iter().zip(&cells) {
        lines.push(line(cells, &widths, colours, Some(*state)));
    }
    let hidden = view.rows.len() - shown;
    let left_out = view.left_out.rules;
    if hidden > 0 || left_out > 0 {
        let more = text::plural(hidden as u64 + left_out, "more rule");
        lines.push(colours.paint(&fit(&format!("and {more}"), width), Tone::Soft));
    }
    lines
}

/// None: the column is left out.
fn widths(cells: &[Vec<String>], width: usize) -> Vec<Option<usize>> {
    let longest = |at: usize| {
        let cells = cells.iter().map(|cells| cells[at].chars().count());
        cells.chain([COLUMNS[at].name.len()]).max().unwrap_or_default()
    };
    let mut widths: Vec<Option<usize>> = (0..COLUMNS.len()).map(|at| Some(longest(at))).collect();
    let total = |widths: &[Option<usize>]| {
        widths.iter().flatten().map(|width| width + BETWEEN).sum::<usize>() - BETWEEN
    };
    while total(&widths) > width {
        let rule = widths[RULE].unwrap_or_default();
        let over = total(&widths) - width;
        let narrower = rule.saturating_sub(over).max(NARROWEST_RULE.min(rule));
        if narrower < rule {
            widths[RULE] = Some(narrower);
            continue;
        }
        let next =
            (0..COLUMNS.len()).filter(|at| widths[*at].is_some()).max_by_key(|at| COLUMNS[*at].dispensable);
        match next.filter(|at| COLUMNS[*at].dispensable > 0) {
            // Another column may leave more than it needs to the rule.
            Some(at) => {
                widths[at] = None;
                widths[RULE] = Some(longest(RULE));
            }
            None => {
                widths[RULE] = Some(rule.saturating_sub(over).max(1));
                break;
            }
        }
    }
    widths
}

fn line(cells: &[String], widths: &[Option<usize>], colours: Colours, state: Option<State>) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let Some(width) = *width else { continue };
        let cell = fit(cell, width);
        let blanks = " ".repeat(width - cell.chars().count());
        let cell = match COLUMNS[at].side {
            Side::Left => format!("{cell}{blanks}"),
            Side::Right => format!("{blanks}{cell}"),
        };
        let gap = if at == 0 { 0 } else { BETWEEN };
        let painted = colours.paint(&cell, state.map_or(Tone::Plain, |state| tone(at, state)));
        let _ = write!(line, "{:gap$}{painted}", "");
    }
    line
}

/// The state and its number have a colour; so the words and numbers of other columns stay calm.
fn tone(column: usize, state: State) -> Tone {
    match (COLUMNS[column].name, state) {
        ("STATE" | "DENIED/S", State::Denying) => Tone::Denied,
        ("STATE" | "IN USE", State::Near) => Tone::Near,
        ("STATE" | "DENIED/S", State::WouldDeny | State::Shadow) | ("STATE", State::Ok) | ("LIMIT", _) => {
            Tone::Soft
        }
        _ => Tone::Plain,
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Denying => "denying",
        State::Near => "near",
        State::WouldDeny => "would deny",
        State::Shadow => "shadow",
        State::Ok => "ok",
    }
}

fn rule(view: &View, row: &Row) -> String {
    let one = view.rows.iter().all(|(_, other)| other.domain == row.domain);
    if one { row.rule.clone() } else { format!("{} {}", row.domain, row.rule) }
}

/// In parentheses: what a rule in shadow mode would have denied.
fn denied(row: &Row) -> String {
    if row.denied == 0 && row.would_deny > 0 {
        return format!("({})", text::count(row.would_deny));
    }
    text::count(row.denied)
}

fn share(row: &Row) -> String {
    row.share.map_or_else(
        || "-".to_owned(),
        // Not 100 % before nothing is left.
        |share| format!("{:.0} %", if share < 1.0 { (share * 100.0).min(99.0) } else { 100.0 }),
    )
}

fn last(view: &View, row: &Row) -> String {
    let Some(at) = row.last_denial_ms else { return "-".to_owned() };
    match view.time_ms.saturating_sub(at) {
        0..2_000 => "now".to_owned(),
        ms => format!("{} ago", text::seconds(ms / 1_000)),
    }
}

/// At most so wide; each character counts as one.
fn fit(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}
