//! Charts as SVG: scales, axes, bars, and the file around a chart.
//!
//! A chart is drawn at the size at which it is seen, give or take a third, so that its text stays as large
//! as the text around it: what has to look well on a phone and on a desktop is drawn twice. Colours come from
//! [`STYLE`], which knows light and dark.

use super::text::{count, escape};

/// The style of all charts, for the page or the file that holds them.
pub(crate) const STYLE: &str = include_str!("chart.css");

const FILE_STYLE: &str = "\
svg { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif; }
rect.sheet { fill: var(--sheet); }
";

/// Where the data goes inside an SVG, and which data fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Room above the plot, for what is written on top of the lines.
    pub(crate) top: f64,
    pub(crate) x_max: f64,
    pub(crate) y_max: f64,
}

/// The text for readers who cannot see the chart.
#[derive(Debug)]
pub(crate) struct Label<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    pub(crate) class: &'a str,
    pub(crate) title: &'a str,
    pub(crate) desc: &'a str,
}

const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const BOTTOM: f64 = 26.0;

// === impl Plot ===

impl Plot {
    pub(crate) fn x(&self, value: f64) -> f64 {
        LEFT + share(value, self.x_max) * (self.right() - LEFT)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.bottom() - share(value, self.y_max) * (self.bottom() - self.top)
    }

    pub(crate) fn right(&self) -> f64 {
        self.width - RIGHT
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Horizontal lines at round counts, and round seconds below.
    pub(crate) fn axes(&self, x_ticks: &[u64], y_ticks: &[u64], y_title: &str) -> String {
        let mut axes = format!(r#"<text class="axis" x="0" y="12">{}</text>"#, escape(y_title));
        for &tick in y_ticks {
            let (y, right) = (self.y(float(tick)), self.right());
            let class = if tick == 0 { "base" } else { "grid" };
            axes +=
                &format!(r#"<line class="{class}" x1="{LEFT}" x2="{right:.1}" y1="{y:.1}" y2="{y:.1}"/>"#);
            let (x, y) = (LEFT - 6.0, y + 4.0);
            axes += &format!(r#"<text class="axis end" x="{x}" y="{y:.1}">{}</text>"#, count(tick));
        }
        for &tick in x_ticks {
            let (x, y) = (self.x(float(tick)), self.height - 8.0);
            // The last label would leave the picture if it were centred below the last tick.
            let class = if x + 14.0 > self.width { "axis end" } else { "axis middle" };
            let x = if x + 14.0 > self.width { self.width } else { x };
            axes += &format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{tick}&#160;s</text>"#);
        }
        axes
    }

    /// The chart, to stand in a page that has [`STYLE`].
    pub(crate) fn svg(&self, label: &Label<'_>, content: &str) -> String {
        svg("", self.width, self.height, label, "", content)
    }

    /// The chart as a file.
    pub(crate) fn file(&self, label: &Label<'_>, content: &str) -> String {
        file(self.width, self.height, label, content)
    }
}

/// An SVG file, which brings its own style and a ground to stand on.
pub(crate) fn file(width: f64, height: f64, label: &Label<'_>, content: &str) -> String {
    let attributes = format!(r#"xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" "#);
    let ground = format!(
        "<style>\n{STYLE}{FILE_STYLE}</style>\n<rect class=\"sheet\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    svg(&attributes, width, height, label, &ground, content)
}

fn svg(attributes: &str, width: f64, height: f64, label: &Label<'_>, ground: &str, content: &str) -> String {
    let Label { id, class, title, desc } = label;
    let (title, desc) = (escape(title), escape(desc));
    format!(
        r#"<svg {attributes}class="{class}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-t {id}-d">
{ground}<title id="{id}-t">{title}</title><desc id="{id}-d">{desc}</desc>
{content}
</svg>
"#
    )
}

/// Round numbers from 0, about as many as asked for; the last is the first that is not below `max`.
pub(crate) fn ticks_over(max: u64, about: u64) -> Vec<u64> {
    let step = step(max, about);
    (0..=max.div_ceil(step).max(1)).map(|number| number.saturating_mul(step)).collect()
}

/// Round numbers from 0, about as many as asked for, none above `max`.
pub(crate) fn ticks_within(max: u64, about: u64) -> Vec<u64> {
    let step = step(max, about);
    (0..=max / step).map(|number| number.saturating_mul(step)).collect()
}

#[allow(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// The first of 1, 2, 5, 10, 20, 50, … that needs no more steps than `about`.
fn step(max: u64, about: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [1, 2, 5].map(|digit| power.saturating_mul(digit)) {
            if max.div_ceil(step) <= about.max(1) {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Where a value lies from 0 to `max`; nothing leaves the plot, whatever was counted.
pub(crate) fn share(value: f64, max: f64) -> f64 {
    if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 }
}
