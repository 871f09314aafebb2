use proptest::prelude::*;

use super::{Allowance, Denials, Remoteness, Span, too_little, too_much};
use crate::limit::{Limit, Unit};

/// Ten a second, so a token every 100,000 µs.
fn ten_per_second() -> Allowance {
    allowance(10, 10, Remoteness::SameClock)
}

fn allowance(per_second: u32, burst: u32, remoteness: Remoteness) -> Allowance {
    Allowance::for_limit(&Limit::new(per_second, Unit::Second, Some(burst)).unwrap(), remoteness)
}

/// R tokens come back every P µs, so that small spans see both refill and fractions.
fn quick(burst: i128, tokens: i128, period_us: i128, drift: i128) -> Allowance {
    Allowance {
        burst: burst * period_us * 1000,
        token: period_us * 1000,
        refill_at_most: tokens * (1000 + drift),
        refill_at_least: tokens * (1000 - drift),
    }
}

fn span(start_us: u64, end_us: u64) -> Span {
    Span { start_us, end_us }
}

// === the definitions, word by word ===

/// The largest surplus over every s ≤ t up to `horizon` with a request inside, counted anew for each.
fn most_surplus(admitted: &[Span], allowance: &Allowance, horizon: u64) -> i128 {
    let inside =
        |s: u64, t: u64| admitted.iter().filter(|span| s <= span.start_us && span.end_us <= t).count();
    let surplus = |(s, t)| {
        let inside = i128::try_from(inside(s, t)).unwrap();
        let refilled = allowance.refill_at_most * i128::from(t - s);
        (inside > 0).then(|| inside * allowance.token - allowance.burst - refilled)
    };
    (0..=horizon).flat_map(|t| (0..=t).map(move |s| (s, t))).filter_map(surplus).max().unwrap()
}

/// The least that the bucket can have held when `denial` was decided: every s from a back to long
/// before the first request.
fn least_level(charged: &[Span], denial: Span, allowance: &Allowance) -> i128 {
    let (a, b) = (i128::from(denial.start_us), denial.end_us);
    let touching = |s: i128| {
        let n = charged.iter().filter(|span| span.start_us <= b && i128::from(span.end_us) >= s).count();
        i128::try_from(n).unwrap() * allowance.token
    };
    let level = |s| allowance.burst + allowance.refill_at_least * (a - s) - touching(s);
    (-5..=a).map(level).min().unwrap()
}

fn brute_denials(charged: &[Span], denied: &[Span], allowance: &Allowance) -> (u64, Option<u64>) {
    let levels = denied.iter().map(|&denial| least_level(charged, denial, allowance));
    let unjustified: Vec<i128> = levels.filter(|&level| level >= allowance.token).collect();
    let most = unjustified.iter().max().map(|&level| allowance.milli(level));
    (u64::try_from(unjustified.len()).unwrap(), most)
}

const HORIZON: u64 = 40;

prop_compose! {
    fn some_span()(start in 0..=HORIZON, length in 0..=12_u64) -> Span {
        span(start, (start + length).min(HORIZON))
    }
}

prop_compose! {
    fn some_allowance()(burst in 1..=5_i128, tokens in 1..=4_i128, period in 1..=9_i128, drift in 0..=1_i128)
        -> Allowance
    {
        quick(burst, tokens, period, drift)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn too_much_is_what_counting_every_interval_finds(
        admitted in prop::collection::vec(some_span(), 1..30), allowance in some_allowance(),
    ) {
        let worst = too_much(&admitted, &allowance).unwrap();
        prop_assert_eq!(worst.surplus, most_surplus(&admitted, &allowance, HORIZON));
        // The interval that is named must be one that shows it.
        let inside = admitted.iter().filter(|s| worst.from_us <= s.start_us && s.end_us <= worst.to_us);
        let inside = u64::try_from(inside.count()).unwrap();
        prop_assert_eq!(worst.admitted, inside);
        let refilled = allowance.refill_at_most * i128::from(worst.length_us());
        prop_assert_eq!(worst.surplus, i128::from(inside) * allowance.token - allowance.burst - refilled);
    }

    #[test]
    fn too_little_is_what_trying_every_instant_finds(
        charged in prop::collection::vec(some_span(), 0..25),
        denied in prop::collection::vec(some_span(), 0..12),
        never_answered in prop::collection::vec(0..=HORIZON, 0..2),
        allowance in some_allowance(),
    ) {
        let mut charged = charged;
        charged.extend(never_answered.iter().map(|&start| span(start, u64::MAX)));
        let found = too_little(&charged, &denied, &allowance);
        let (unjustified, most) = brute_denials(&charged, &denied, &allowance);
        prop_assert_eq!(found.checked, u64::try_from(denied.len()).unwrap());
        prop_assert_eq!(found.unjustified, unjustified);
        prop_assert_eq!(found.worst.map(|worst| worst.level_milli), most);
    }

    /// Requests decided by a real bucket, at a hidden instant of their spans, must pass both audits.
    #[test]
    fn an_exact_bucket_is_never_accused(
        requests in prop::collection::vec((0..=HORIZON, 0..=6_u64, 0..=6_u64), 1..40),
        burst in 1..=5_i128, tokens in 1..=4_i128, period in 1..=9_i128,
    ) {
        let allowance = quick(burst, tokens, period, 0);
        let mut requests = requests;
        requests.sort_by_key(|&(decided, ..)| decided);
        let (mut level, mut at) = (allowance.burst, 0);
        let (mut admitted, mut denied) = (Vec::new(), Vec::new());
        for (decided, before, after) in requests {
            let refilled = allowance.refill_at_least * i128::from(decided - at);
            (level, at) = ((level + refilled).min(allowance.burst), decided);
            let span = span(decided.saturating_sub(before), decided + after);
            if level >= allowance.token {
                level -= allowance.token;
                admitted.push(span);
            } else {
                denied.push(span);
            }
        }
        prop_assert!(!too_much(&admitted, &allowance).unwrap().is_too_much());
        prop_assert_eq!(too_little(&admitted, &denied, &allowance).unjustified, 0);
    }
}

// === examples at the edges ===

#[test]
fn exactly_the_burst_at_once_is_allowed_and_one_more_is_not() {
    let mut admitted = vec![span(5, 5); 10];
    let worst = too_much(&admitted, &ten_per_second()).unwrap();
    assert!(!worst.is_too_much());
    admitted.push(span(5, 5));
    let worst = too_much(&admitted, &ten_per_second()).unwrap();
    assert!(worst.is_too_much());
    assert_eq!((worst.from_us, worst.to_us, worst.admitted), (5, 5, 11));
    assert_eq!(worst.surplus_milli(&ten_per_second()), 1000);
}

#[test]
fn one_microsecond_before_a_token_is_back_is_too_early() {
    let mut admitted = vec![span(0, 0); 10];
    admitted.push(span(99_999, 99_999));
    assert!(too_much(&admitted, &ten_per_second()).unwrap().is_too_much());
    admitted[10] = span(100_000, 100_000);
    assert!(!too_much(&admitted, &ten_per_second()).unwrap().is_too_much());
}

#[test]
fn another_machines_clock_may_run_a_thousandth_off() {
    let remote = allowance(10, 10, Remoteness::OtherClock);
    let mut admitted = vec![span(0, 0); 10];
    admitted.push(span(99_901, 99_901));
    assert!(!too_much(&admitted, &remote).unwrap().is_too_much());
    admitted[10] = span(99_900, 99_900);
    assert!(too_much(&admitted, &remote).unwrap().is_too_much());

    let emptied = vec![span(0, 0); 10];
    assert_eq!(too_little(&emptied, &[span(100_050, 100_050)], &remote).unjustified, 0);
    assert_eq!(too_little(&emptied, &[span(100_101, 100_101)], &remote).unjustified, 1);
}

#[test]
fn a_denial_before_anything_was_charged_is_unjustified() {
    let found = too_little(&[], &[span(3, 4)], &ten_per_second());
    assert_eq!(found.unjustified, 1);
    assert_eq!(found.worst.unwrap().level_milli, 10_000);
}

#[test]
fn a_denial_among_as_many_as_the_burst_is_justified_whoever_came_first() {
    let charged = vec![span(0, 50); 10];
    assert_eq!(too_little(&charged, &[span(50, 60)], &ten_per_second()).unjustified, 0);
    assert_eq!(too_little(&charged[..9], &[span(50, 60)], &ten_per_second()).unjustified, 1);
}

#[test]
fn a_request_without_an_answer_may_be_charged_at_any_later_time() {
    let mut charged = vec![span(0, 10); 9];
    charged.push(span(0, u64::MAX));
    let late = span(99_000, 99_001);
    assert_eq!(too_little(&charged[..9], &[late], &ten_per_second()).unjustified, 1);
    // Nine refilled by now; the tenth may strike at this very moment, but then nine are left.
    let found = too_little(&charged, &[late], &ten_per_second());
    assert_eq!(found, Denials { checked: 1, ..Denials::default() });
}

#[test]
fn nothing_admitted_has_no_worst_interval() {
    assert_eq!(too_much(&[], &ten_per_second()), None);
}

/// A million requests in under two seconds is what a release build must do:
/// `cargo test --release -p tollgate-core audit -- --nocapture`. Unoptimised, a tenth of that in
/// ten times as long, which still fails if something here became quadratic.
#[test]
fn a_million_requests_are_audited_in_two_seconds() {
    let (requests, budget_ms) = if cfg!(debug_assertions) { (100_000, 20_000) } else { (1_000_000, 2_000) };
    let allowance = allowance(50_000, 10_000, Remoteness::OtherClock);
    // Deterministic, overlapping and out of order: half admitted, half denied.
    let spans: Vec<Span> = (0..requests)
        .map(|i: u64| {
            let start = i * 10 + i.wrapping_mul(0x9E37_79B9) % 997;
            span(start, start + 50 + i.wrapping_mul(0x85EB_CA6B) % 5_003)
        })
        .collect();
    let (admitted, denied) = spans.split_at(spans.len() / 2);
    #[allow(clippy::disallowed_methods, reason = "this test measures its own cost")]
    let from = std::time::Instant::now();
    let worst = too_much(admitted, &allowance).unwrap();
    let half = from.elapsed();
    let found = too_little(admitted, denied, &allowance);
    let mixed = too_little(&spans, denied, &allowance);
    let whole = too_much(&spans, &allowance).unwrap();
    let took = from.elapsed();
    println!(
        "{requests} requests: {half:?} for too much of one half, {took:?} for both audits of both halves \
         (surplus {} and {}, unjustified {} and {})",
        worst.surplus, whole.surplus, found.unjustified, mixed.unjustified
    );
    assert!(took.as_millis() < budget_ms, "{took:?}");
}
