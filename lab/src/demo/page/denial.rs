//! The captured 429, and what its four headers say.

use crate::report::escape;

const HEADERS: [(&str, &str); 4] = [
    (
        "retry-after",
        "seconds to wait: ratelimit-reset and a little at random, so that clients do not return together",
    ),
    ("ratelimit-limit", "how many requests fit at once: the burst"),
    ("ratelimit-remaining", "how many would be admitted now; none, on a denial"),
    ("ratelimit-reset", "seconds until this request would be admitted: the true wait, without jitter"),
];

pub(super) fn section(denial: &str) -> String {
    let raw: String = denial.trim_end().lines().map(line).collect();
    let meanings: String = HEADERS
        .iter()
        .map(|(name, meaning)| format!("<div><dt><code>{name}</code></dt><dd>{meaning}</dd></div>\n"))
        .collect();
    format!(
        r#"<section>
<h2>What a denied client is told</h2>
<p>A 429 as it came over the socket.</p>
<pre tabindex="0">{raw}</pre>
<dl class="headers">
{meanings}</dl>
</section>
"#
    )
}

/// One of the four headers stands out.
fn line(line: &str) -> String {
    let name = line.split_once(':').map_or("", |(name, _)| name);
    let known = HEADERS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let line = escape(line);
    if known { format!("<b>{line}</b>\n") } else { format!("{line}\n") }
}
