//! Latency through one node: numbers, with bars on one scale.

use super::text::{count, ms};
use crate::{
    demo::figures::{Latency, RUN_AGAIN},
    report::{
        chart::{float, share},
        escape,
    },
};

pub(super) fn section(latencies: &[Latency]) -> String {
    let most = latencies.iter().map(|latency| latency.p50_us.max(latency.p99_us)).max().unwrap_or(0);
    let rows: String = latencies.iter().map(|latency| row(latency, most)).collect();
    format!(
        r#"<section>
<h2>What it costs</h2>
<p>How long a request takes through one node, one after the other: half of them no longer than p50 (solid
bar), 99 of 100 no longer than p99 (faint bar).</p>
<table class="latency" role="table">
<thead role="rowgroup"><tr role="row"><th role="columnheader">Through</th><th role="columnheader"
class="number">p50</th><th role="columnheader" class="number">p99</th><th aria-hidden="true"></th></tr></thead>
<tbody role="rowgroup">
{rows}</tbody>
</table>
<p><code class="command">{RUN_AGAIN}</code></p>
</section>
"#
    )
}

fn row(latency: &Latency, most_us: u64) -> String {
    let percent = |us| share(float(us), float(most_us)) * 100.0;
    format!(
        r#"<tr role="row"><td role="cell" class="through">{through} <span class="small">{samples} requests</span></td>
<td role="cell" class="number">{p50}</td><td role="cell" class="number">{p99}</td>
<td class="bars" aria-hidden="true"><div class="p99" style="width:{p99_percent:.1}%"></div>
<div class="p50" style="width:{p50_percent:.1}%"></div></td></tr>
"#,
        through = escape(latency.through),
        samples = count(latency.samples as u64),
        p50 = ms(latency.p50_us),
        p99 = ms(latency.p99_us),
        p99_percent = percent(latency.p99_us),
        p50_percent = percent(latency.p50_us),
    )
}
