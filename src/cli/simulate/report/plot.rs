//! Counts over time as bars, in SVG without text; the axes are HTML, so that they stay readable on a narrow screen.

use std::fmt::Write as _;

use super::html::escaped;
use crate::cli::simulate::log::time;

/// The most bars. More would be finer than a screen.
const MOST_BARS: usize = 240;
const HEIGHT: f64 = 100.0;

/// One colour of the bars, from the bottom.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) counts: Vec<u64>,
    /// A colour of the page's style, such as `--s0`.
    pub(super) colour: String,
}

/// When the bars begin, and how long each counts.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) starts_us: u64,
    pub(super) step_us: u64,
    pub(super) count: usize,
}

pub(super) fn plot(what: &str, steps: Steps, series: &[Series]) -> String {
    let per_bar = steps.count.div_ceil(MOST_BARS).max(1);
    let bars = steps.count.div_ceil(per_bar).max(1);
    let sum =
        |series: &Series, bar: usize| -> u64 { series.counts.iter().skip(bar * per_bar).take(per_bar).sum() };
    let total = |bar: usize| -> u64 { series.iter().map(|series| sum(series, bar)).sum() };
    let most = (0..bars).map(total).max().unwrap_or(0).max(1);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {bars} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        escaped(what)
    );
    let step_us = steps.step_us * u64::try_from(per_bar).unwrap_or(1);
    for bar in 0..bars {
        let mut top = HEIGHT;
        let at = time::text(steps.starts_us + step_us * u64::try_from(bar).unwrap_or(0));
        for series in series {
            let count = sum(series, bar);
            if count == 0 {
                continue;
            }
            let height = height(count, most);
            top -= height;
            let (name, colour) = (escaped(&series.name), &series.colour);
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{bar}.05\" y=\"{top:.2}\" width=\".9\" height=\"{height:.2}\" style=\"fill:var({colour})\"><title>{}, {name}: {count}</title></rect>",
                    &at[..16]
                ),
            );
        }
    }
    svg.push_str("</svg>");
    let ends_us = steps.starts_us + step_us * u64::try_from(bars).unwrap_or(1);
    let (from, to) = (time::text(steps.starts_us), time::text(ends_us));
    let span = span(step_us);
    let mut legend = String::new();
    for series in series {
        let (name, colour) = (escaped(&series.name), &series.colour);
        put(&mut legend, format_args!("<li><i style=\"background:var({colour})\"></i>{name}</li>"));
    }
    format!(
        "<div class=\"plot\"><div class=\"axis\"><span>{most} per {span}</span><span>{}</span></div>{svg}<div class=\"axis\"><span>{}</span><span>{}</span></div><ul class=\"legend\">{legend}</ul></div>",
        escaped(what),
        from[..16].replace('T', " "),
        to[..16].replace('T', " ")
    )
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn height(count: u64, most: u64) -> f64 {
    // What is there shows, however small.
    (count as f64 / most as f64 * HEIGHT).max(0.8)
}

fn span(us: u64) -> String {
    match us / 60_000_000 {
        1 => "minute".to_owned(),
        minutes if minutes % 60 == 0 => format!("{} h", minutes / 60),
        minutes => format!("{minutes} min"),
    }
}

fn put(to: &mut String, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a String takes everything");
}
