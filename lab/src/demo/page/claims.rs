//! The claims: a table that falls apart into cards on a narrow screen.

use super::text::{amount, code, count, times_exactly};
use crate::demo::figures::{Claim, TO_REPEAT, Verdict};
use crate::report::escape;

pub(super) fn section(claims: &[Claim]) -> String {
    let rows: String = claims.iter().map(row).collect();
    let to_repeat = code(TO_REPEAT);
    format!(
        r#"<section>
<h2>What was claimed, and what was measured</h2>
<p>Below each row is its claim, and whether the run has <b class="shown">✓ shown</b> it,
<b class="refuted">✗ refuted</b> it, or <b class="not-proven">? not proven</b> it, because answers were missing or
fallback answers. Ratio: admitted divided by allowed. {to_repeat}.</p>
<table class="claims" role="table">
<thead role="rowgroup"><tr role="row"><th role="columnheader">Load</th><th role="columnheader">Subject</th>
<th role="columnheader" class="number">Admitted</th><th role="columnheader" class="number">Allowed</th>
<th role="columnheader" class="number">Ratio</th></tr></thead>
{rows}</table>
</section>
"#
    )
}

/// Such as `4 claims: 3 shown, 1 not proven.`
pub(super) fn summary(claims: &[Claim]) -> String {
    let verdicts = [Verdict::Shown, Verdict::Refuted, Verdict::NotProven];
    let of_each: Vec<_> = verdicts
        .into_iter()
        .map(|verdict| (claims.iter().filter(|claim| claim.verdict == verdict).count(), verdict))
        .filter(|(number, _)| *number > 0)
        .map(|(number, verdict)| {
            let (mark, word, class) = look(verdict);
            format!(r#"<b class="{class}">{mark} {number} {}</b>"#, word.to_lowercase())
        })
        .collect();
    if of_each.is_empty() {
        return "Nothing was claimed.".to_owned();
    }
    let plural = if claims.len() == 1 { "" } else { "s" };
    format!("{} claim{plural}: {}.", claims.len(), of_each.join(", "))
}

/// Two rows of one body: the figures, and below them why and how.
fn row(claim: &Claim) -> String {
    let (mark, word, class) = look(claim.verdict);
    let ratio = if claim.allowed > 0.0 { times_exactly(claim.ratio()) } else { "–".to_owned() };
    format!(
        r#"<tbody role="rowgroup" class="{class}">
<tr role="row"><td role="cell" class="load">{load}</td><td role="cell" class="subject">{subject}</td>
<td role="cell" class="number" data-name="Admitted">{measured}</td>
<td role="cell" class="number" data-name="Allowed">{allowed}</td>
<td role="cell" class="number" data-name="Ratio">{ratio}</td></tr>
<tr role="row"><td role="cell" class="why" colspan="5"><p><b class="{class}">{mark} {word}:</b> {claim}</p><p class="small">{reason}</p><code class="command">{command}</code></td></tr>
</tbody>
"#,
        load = escape(&claim.load),
        subject = escape(&claim.subject),
        measured = count(claim.measured),
        allowed = amount(claim.allowed),
        claim = escape(&claim.claim),
        reason = escape(&claim.reason),
        command = escape(&claim.command),
    )
}

/// Its mark, word and class: colour alone would tell some readers nothing.
fn look(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Shown => ("✓", "Shown", "shown"),
        Verdict::Refuted => ("✗", "Refuted", "refuted"),
        Verdict::NotProven => ("?", "Not proven", "not-proven"),
    }
}
