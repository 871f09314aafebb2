//! What was admitted over time, under the identical load: the line chart.

use super::text::{amount, count, times};
use crate::{
    demo::figures::Admission,
    report::chart::{Label, Plot, float, ticks_over, ticks_within},
};

pub(super) fn section(admission: &Admission) -> String {
    let charts = chart(admission, "wide", 760.0, 400.0) + &chart(admission, "narrow", 360.0, 340.0);
    format!(
        r#"<section>
<h2>The same load, two limiters</h2>
<p>One client sends as fast as it can through three Envoy nodes. Its limit allows {burst} requests at once and
{per_second} more each second: the shaded area, up to the dashed line. A limiter in each node grants that much at every node; with
Tollgate all nodes take from one bucket. The chart and the first two rows of the table below count the same {seconds}: a
burst, and the load that follows it.</p>
<figure>
{charts}</figure>
</section>
"#,
        burst = count(admission.burst),
        per_second = count(admission.per_second),
        seconds = seconds(admission),
    )
}

/// Such as `10.1 s`, never broken between lines.
fn seconds(admission: &Admission) -> String {
    let bins = admission.naive.len().max(admission.tollgate.len()) as u64;
    format!("{}\u{a0}s", amount(float(admission.bin_ms.saturating_mul(bins)) / 1_000.0))
}

/// The chart as a file.
pub(super) fn svg(admission: &Admission) -> String {
    draw(admission, "file", 760.0, 400.0, Plot::file)
}

fn chart(admission: &Admission, size: &str, width: f64, height: f64) -> String {
    draw(admission, size, width, height, Plot::svg)
}

fn draw(
    admission: &Admission,
    size: &str,
    width: f64,
    height: f64,
    write: fn(&Plot, &Label<'_>, &str) -> String,
) -> String {
    let bins = admission.naive.len().max(admission.tollgate.len());
    let [naive, tollgate] = [&admission.naive, &admission.tollgate].map(|bins| bins.iter().sum::<u64>());
    let ms = admission.bin_ms.saturating_mul(bins as u64);
    let y_ticks = ticks_over(naive.max(tollgate).max(admission.burst), 5);
    let plot = Plot {
        width,
        height,
        top: 42.0,
        x_max: float(ms) / 1_000.0,
        y_max: y_ticks.last().copied().map_or(1.0, float),
    };

    let allowed = admission.allowed_after(bins);
    let content = plot.axes(&ticks_within(ms / 1_000, 6), &y_ticks, "requests admitted since the start")
        + &band(admission, &plot, allowed)
        + &line(&plot, "naive", admission.bin_ms, &admission.naive)
        + &line(&plot, "tollgate", admission.bin_ms, &admission.tollgate)
        + &allowed_line(admission, &plot, allowed)
        + &end_labels(&plot, admission, naive, tollgate);
    let desc = format!(
        "After {} s the limit had allowed {}. The per-node limiter had admitted {}, Tollgate {}.",
        amount(plot.x_max),
        amount(allowed),
        count(naive),
        count(tollgate)
    );
    let id = format!("admission-{size}");
    let label = Label { id: &id, class: size, title: "Requests admitted over time", desc: &desc };
    write(&plot, &label, &content)
}

/// All that the limit allows, from nothing up to burst + refill.
fn band(admission: &Admission, plot: &Plot, allowed: f64) -> String {
    let (left, right, base) = (plot.x(0.0), plot.right(), plot.bottom());
    let (from, to) = (plot.y(float(admission.burst)), plot.y(allowed));
    let (label_x, label_y) = (right - 6.0, base - 9.0);
    format!(
        r#"<path class="band" d="M{left:.1} {base:.1}V{from:.1}L{right:.1} {to:.1}V{base:.1}Z"/>
<text class="allowed end" x="{label_x:.1}" y="{label_y:.1}">allowed: {} + {} per second</text>
"#,
        count(admission.burst),
        count(admission.per_second),
    )
}

/// Dashed, and above the lines: a limiter that admits all that it may would hide it otherwise.
fn allowed_line(admission: &Admission, plot: &Plot, allowed: f64) -> String {
    let (left, right) = (plot.x(0.0), plot.right());
    let (from, to) = (plot.y(float(admission.burst)), plot.y(allowed));
    format!(r#"<path class="allowed" d="M{left:.1} {from:.1}L{right:.1} {to:.1}"/>"#)
}

fn line(plot: &Plot, class: &str, bin_ms: u64, bins: &[u64]) -> String {
    let (mut ms, mut sum) = (0_u64, 0_u64);
    let mut path = format!("M{:.1} {:.1}", plot.x(0.0), plot.y(0.0));
    for admitted in bins {
        ms = ms.saturating_add(bin_ms);
        sum = sum.saturating_add(*admitted);
        path += &format!("L{:.1} {:.1}", plot.x(float(ms) / 1_000.0), plot.y(float(sum)));
    }
    let (x, y) = (plot.x(float(ms) / 1_000.0), plot.y(float(sum)));
    format!(
        r#"<path class="line {class}" d="{path}"/><circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>
"#
    )
}

/// The names stand above the ends of their lines, and apart where the lines end together.
fn end_labels(plot: &Plot, admission: &Admission, naive: u64, tollgate: u64) -> String {
    const ABOVE: f64 = 10.0;
    const LINE_HEIGHT: f64 = 18.0;
    // The foot of the plot belongs to the band's own label.
    let lowest = plot.bottom() - 9.0 - LINE_HEIGHT;
    let [mut naive_y, mut tollgate_y] = [naive, tollgate].map(|sum| (plot.y(float(sum)) - ABOVE).min(lowest));
    if naive_y <= tollgate_y {
        naive_y = naive_y.min(tollgate_y - LINE_HEIGHT);
    } else {
        tollgate_y = tollgate_y.min(naive_y - LINE_HEIGHT);
    }
    let label = |class, y, subject, admitted, bins: &[u64]| {
        let (x, admitted, ratio) = (plot.right(), count(admitted), times(admission.ratio(bins)));
        format!(
            r#"<text class="{class} name end" x="{x:.1}" y="{y:.1}">{subject}: {admitted} ({ratio})</text>"#
        )
    };
    label("naive", naive_y, "per-node limiter", naive, &admission.naive)
        + &label("tollgate", tollgate_y, "Tollgate", tollgate, &admission.tollgate)
}
