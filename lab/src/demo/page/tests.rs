use std::fs;

use super::{html, sample, text};
use crate::{binaries, demo::figures::Verdict, report::chart};

#[test]
fn what_looks_like_markup_in_the_figures_is_text_on_the_page() {
    let evil = "<script>alert('1' & \"2\")</script>";
    let mut figures = sample::figures();
    for claim in &mut figures.claims {
        for text in
            [&mut claim.claim, &mut claim.load, &mut claim.subject, &mut claim.reason, &mut claim.command]
        {
            evil.clone_into(text);
        }
    }
    evil.clone_into(&mut figures.denial);
    evil.clone_into(&mut figures.machine);
    figures.picture = Err(evil.to_owned());
    figures.latency[0].through = "<script>alert('1' & \"2\")</script>";
    let page = html(&figures);
    assert!(!page.contains("<script"));
    let escaped = "&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;";
    assert_eq!(page.matches(escaped).count(), 5 * figures.claims.len() + 4);
}

#[test]
fn the_live_page_is_shown_or_it_is_said_why_not() {
    let mut figures = sample::figures();
    let page = html(&figures);
    assert!(page.contains("src=\"data:image/png;base64,bGlnaHQ=\"") && page.contains("base64,ZGFyaw=="));
    figures.picture = Err("No Chromium was found on this machine, so there is no picture of it.".to_owned());
    let page = html(&figures);
    assert!(!page.contains("<img") && page.contains("<p>No Chromium was found on this machine"));
}

#[test]
fn every_number_that_was_measured_can_be_read() {
    let page = html(&sample::figures());
    for text in [
        r#"<b class="naive">3.0 ×</b>"#,
        r#"<b class="tollgate">1.0 ×</b>"#,
        "per-node limiter: 390 (3.0 ×)",
        "Tollgate: 130 (1.0 ×)",
        "allowed: 10 + 10 per second",
        r#"data-name="Allowed">130.4<"#,
        r#"data-name="Admitted">4,480<"#,
        r#"data-name="Ratio">3.00 ×<"#,
        "✓ Shown",
        "? Not proven",
        "4 claims: ",
        "<b>retry-after: 7</b>",
        "peak 1,050",
        "peak 300",
        "a model, not measured<br>1,800 admitted in 45 s",
        "0.18 ms",
        "1.26 ms",
        "2 cores, Envoy 1.40.0, Redis 7.0.15",
        "74&nbsp;s",
        "To repeat a command, run <code>target/release/lab up</code> and use the addresses that it prints.",
    ] {
        assert!(page.contains(&text.replace(" ×", "\u{a0}×").replace(" ms", "\u{a0}ms")), "no {text}");
    }
}

#[test]
fn the_herd_and_the_latency_have_a_command_too() {
    let page = html(&sample::figures());
    assert_eq!(page.matches(r#"<code class="command">make demo</code>"#).count(), 2);
    assert_eq!(page.matches(r#"<code class="command">"#).count(), sample::figures().claims.len() + 2);
}

#[test]
fn a_claim_that_does_not_hold_says_so_in_words() {
    let mut figures = sample::figures();
    figures.claims[1].verdict = Verdict::Refuted;
    let page = html(&figures);
    assert!(page.contains("✗ Refuted:</b> Tollgate admits") && page.contains("✗ 1 refuted"));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = html(&sample::figures());
    // A link is followed by whoever clicks it, and loads nothing.
    let page = page.replace("<a href=\"file:///", "");
    // A picture that is part of the page.
    let page = page.replace("<img class=\"live\"", "").replace(" src=\"data:image/png;base64,", "");
    for asks in ["src=", "href=", "url(", "@import", "<link", "<script", "<iframe", "<img"] {
        assert!(!page.contains(asks), "{asks}");
    }
}

#[test]
fn a_run_in_which_nothing_was_counted_still_makes_a_page() {
    let page = html(&sample::nothing());
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    assert!(page.contains("nobody came back") && page.contains("Nothing was claimed."));
}

#[test]
fn ids_on_the_page_are_unique() {
    let page = html(&sample::figures());
    let mut ids: Vec<_> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), all), (10, 10));
}

#[test]
fn ticks_are_round_and_reach_what_is_shown() {
    assert_eq!(chart::ticks_over(390, 5), [0, 100, 200, 300, 400]);
    assert_eq!(chart::ticks_over(1_050, 4), [0, 500, 1_000, 1_500]);
    assert_eq!(chart::ticks_over(0, 5), [0, 1]);
    assert_eq!(chart::ticks_within(12, 6), [0, 2, 4, 6, 8, 10, 12]);
    assert_eq!(chart::ticks_within(45, 5), [0, 10, 20, 30, 40]);
    assert_eq!(chart::ticks_within(0, 5), [0]);
}

#[test]
fn numbers_are_grouped_and_carry_their_unit() {
    let counts = [0, 999, 1_000, 1_234_567].map(text::count);
    assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([130.0, 130.42, 10_000.96].map(text::amount), ["130", "130.4", "10,001"]);
    assert_eq!([0, 4, 995, 1_260].map(text::ms), ["0.00 ms", "0.00 ms", "1.00 ms", "1.26 ms"].map(nbsp));
}

fn nbsp(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// To see what a change to the page looks like, without a run of the demo.
#[test]
fn samples_lie_in_target_demo_to_be_looked_at() {
    let folder = binaries::checkout().join("target/demo");
    fs::create_dir_all(&folder).unwrap();
    for (name, figures) in [("sample.html", sample::figures()), ("sample-empty.html", sample::nothing())] {
        fs::write(folder.join(name), html(&figures)).unwrap();
    }
}
