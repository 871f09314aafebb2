//! The report page: one file that a newcomer opens and understands in a minute.
//!
//! It asks for nothing outside itself and runs no script. Every string of the figures is escaped. It says
//! what was measured, whatever that was; only the texts around it expect that the limit held.

mod admission;
mod claims;
mod denial;
mod herd;
mod latency;
mod live;
#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
mod text;

use self::text::{count, times};
use super::figures::Figures;
use crate::{
    binaries::checkout,
    report::{chart, escape},
};

/// The chart of the page as a file of its own.
pub fn svg(figures: &Figures) -> String {
    admission::svg(&figures.admission)
}

pub fn html(figures: &Figures) -> String {
    let style = [chart::STYLE, include_str!("page/style.css")].concat();
    let body = [
        header(figures),
        admission::section(&figures.admission),
        claims::section(&figures.claims),
        denial::section(&figures.denial),
        live::section(&figures.picture),
        herd::section(&figures.herd),
        latency::section(&figures.latency),
        footer(figures),
    ]
    .concat();
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tollgate: does the limit hold?</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"#
    )
}

fn header(figures: &Figures) -> String {
    let admission = &figures.admission;
    format!(
        r#"<header>
<p class="small">Tollgate, a rate-limit service for Envoy</p>
<h1>Through three nodes, a limiter in each node admitted <b class="naive">{naive}</b> what the limit allows.
Tollgate admitted <b class="tollgate">{tollgate}</b>.</h1>
<p class="summary">{summary}</p>
</header>
"#,
        naive = times(admission.ratio(&admission.naive)),
        tollgate = times(admission.ratio(&admission.tollgate)),
        summary = claims::summary(&figures.claims),
    )
}

fn footer(figures: &Figures) -> String {
    format!(
        r#"<footer>
<h2>What is not promised</h2>
<p>A bucket that starts full admits up to burst + refill. With the usual burst, which is the limit's number, that
is up to twice the limit's number within a second, minute or hour that starts full, as at a fixed window's edge.
What differs is every shorter interval, and that no common edge makes clients return together.</p>
<dl>
<div><dt>Machine</dt><dd>{machine}</dd></div>
<div><dt>It took</dt><dd>{took}&nbsp;s</dd></div>
<div><dt>Run again</dt><dd><code>make demo</code></dd></div>
<div><dt>Read on</dt><dd>{why}, {script}, {course}</dd></div>
</dl>
</footer>
"#,
        machine = escape(&figures.machine),
        took = count(figures.took_s),
        why = link("docs/why-it-holds.md", "why the limit holds"),
        script = link("lua", "the script that decides in Redis"),
        course = link("docs/course.md", "each claim, its command and its figure"),
    )
}

/// To a part of the checkout that the page was made in.
fn link(path: &str, text: &str) -> String {
    let path = checkout().join(path);
    format!(r#"<a href="file://{}">{text}</a>"#, escape(&path.display().to_string()))
}
