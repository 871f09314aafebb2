mod against_model;
mod day;
mod model;
mod never_fits;
mod post_paid;
mod sharing;
mod sweeping;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{Limiter, Outcome, decisions};
use crate::{
    fallback::{Fallback, Source, local::Local},
    store::{Backend, memory::MemoryStore},
};
use tollgate_core::{
    applied::{Applied, MAX_BUCKETS, QuotaMode, WithoutLimit},
    decision::Verdict,
    descriptor::{BadRequest, Descriptor, Entry, Hits, KeyForm, Request},
    limit::{Limit, Unit},
    matcher::Matcher,
    rules::{Domain, Limits, NamedLimit, OnStoreFailure, Pattern},
};

fn pattern(key: &str, requests_per_unit: u32, burst: u32) -> Pattern {
    let limit = Limit::new(requests_per_unit, Unit::Day, Some(burst)).unwrap();
    Pattern::with_limit(key, None, limit)
}

/// A limiter and the rules that it decides by.
struct Limited {
    limiter: Limiter,
    matcher: Matcher,
}

impl Limited {
    async fn decide<'a>(
        &self,
        domain: &'a [u8],
        descriptors: impl IntoIterator<Item = Descriptor<'a>>,
    ) -> Result<Outcome<'_>, BadRequest> {
        let request = Request { domain, descriptors: descriptors.into_iter().collect() };
        self.limiter.decide(&self.matcher, &request).await
    }
}

fn limiter_on(backend: &Backend, on_store_failure: OnStoreFailure) -> Limited {
    let descriptors = vec![pattern("user", 1, 3), pattern("team", 1, 1), pattern("blocked", 0, 0)];
    let domain = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
    let store = backend.open(Duration::from_secs(1));
    let fallback =
        Fallback { default: on_store_failure, local: Arc::new(Local::new(1_000, Box::new(|| None))) };
    Limited { limiter: Limiter::new(store, fallback), matcher: Matcher::new(vec![domain]) }
}

fn limiter() -> Limited {
    limiter_on(&Backend::memory(1_000), OnStoreFailure::Error)
}

type Asked<'a> = (&'a str, &'a str, Hits);

async fn decide<'l>(limiter: &'l Limited, asked: &[Asked<'_>]) -> Outcome<'l> {
    let descriptors =
        asked.iter().map(|(key, value, hits)| Descriptor::new([(key.as_bytes(), value.as_bytes())], *hits));
    limiter.decide(b"edge", descriptors).await.unwrap()
}

/// The outcome for a request that this store decides at this instant.
fn decided<'m>(
    matcher: &'m Matcher,
    store: &MemoryStore,
    request: &Request<'_>,
    quota_mode: QuotaMode,
    now_us: u64,
) -> Outcome<'m> {
    let Applied { limits, rules, without_limit } =
        matcher.domain(request.domain).unwrap().apply(request, quota_mode, KeyForm::Whole).unwrap();
    let takes: Vec<_> = limits.iter().map(|applied| applied.take).collect();
    let answer = store.take_at(&takes, now_us).unwrap();
    let decisions = decisions(&limits, &answer);
    let verdict = Some(answer.verdict);
    Outcome { verdict, decisions, ..Outcome::without_store(request.descriptors.len(), rules, without_limit) }
}

const ONE: Hits = Hits::Take(1);

#[tokio::test]
async fn a_request_without_meaning_is_refused() {
    let empty = || [Descriptor::new([] as [Entry<'_>; 0], ONE)];
    let refused = |outcome: Result<Outcome<'_>, BadRequest>| outcome.map(|_| ()).unwrap_err();
    assert_eq!(refused(limiter().decide(b"edge", []).await), BadRequest::NoDescriptors);
    assert_eq!(refused(limiter().decide(b"", empty()).await), BadRequest::EmptyDomain);
}

#[tokio::test]
async fn what_no_rule_matches_is_allowed_without_asking_the_store() {
    let limiter = limiter();
    for (domain, key) in [("edge", "unknown"), ("edge", ""), ("elsewhere", "user")] {
        let entry = Entry { key: key.as_bytes(), value: b"\xff\xfe" };
        let descriptor = Descriptor::new([entry], Hits::Take(u64::MAX));
        let outcome = limiter.decide(domain.as_bytes(), [descriptor]).await.unwrap();
        assert_eq!((outcome.verdict, outcome.descriptors), (Some(Verdict::Allow), 1));
        assert!(outcome.store_call.is_none() && outcome.decisions.is_empty());
    }
}

#[tokio::test]
async fn more_than_512_matched_limits_are_refused_and_unmatched_ones_do_not_count() {
    let limiter = limiter();
    let names: Vec<String> = (0..=MAX_BUCKETS).map(|number| number.to_string()).collect();
    let one_of_each = |key: &'static str, count: usize| {
        let names = names[..count].iter();
        names.map(|name| Descriptor::new([(key.as_bytes(), name.as_bytes())], ONE)).collect::<Vec<_>>()
    };
    let refused = limiter.decide(b"edge", one_of_each("user", MAX_BUCKETS + 1)).await.map(|_| ());
    assert_eq!(refused.unwrap_err(), BadRequest::TooManyBuckets);
    let allowed = limiter.decide(b"edge", one_of_each("user", MAX_BUCKETS)).await.unwrap();
    assert_eq!(allowed.decisions.len(), MAX_BUCKETS);
    let unmatched = limiter.decide(b"edge", one_of_each("nobody", MAX_BUCKETS + 1)).await.unwrap();
    assert_eq!((unmatched.verdict, unmatched.descriptors), (Some(Verdict::Allow), MAX_BUCKETS + 1));
}

#[tokio::test]
async fn descriptors_that_no_limit_holds_are_counted_by_why() {
    let exempt = Pattern { limits: Limits::None, value: Some("admin".to_owned()), ..pattern("user", 1, 1) };
    let unlimited = NamedLimit { limit: None, ..NamedLimit::from(Limit::new(1, Unit::Day, None).unwrap()) };
    let unlimited = Pattern { limits: Limits::All(vec![unlimited]), ..pattern("free", 1, 1) };
    let limiter = limiter();
    let domain = Domain {
        name: "edge".to_owned(),
        descriptors: vec![pattern("user", 1, 3), exempt, unlimited],
        ..Domain::default()
    };
    let limiter = Limited { matcher: Matcher::new(vec![domain]), ..limiter };
    let asked = [
        ("user", "u", ONE),
        ("user", "admin", ONE),
        ("free", "", ONE),
        ("nobody", "", ONE),
        ("who", "", ONE),
    ];
    let counted = |outcome: Outcome<'_>| outcome.without_limit;
    let expected = WithoutLimit { unmatched: 2, exempt: 1, unlimited: 1, ..WithoutLimit::default() };
    assert_eq!(counted(decide(&limiter, &asked).await), expected);
    let descriptor =
        |limit| Descriptor { limit, ..Descriptor::new([Entry { key: b"user", value: b"u" }], ONE) };
    let own = Limit::new(1, Unit::Day, None).unwrap();
    let elsewhere = limiter.decide(b"elsewhere", [descriptor(None), descriptor(Some(own.clone()))]);
    let expected = WithoutLimit { unknown_domain: 2, ..WithoutLimit::default() };
    assert_eq!(counted(elsewhere.await.unwrap()), expected, "not even the limit that one brings along");
    let own = limiter.decide(b"edge", [descriptor(Some(own))]);
    assert_eq!(counted(own.await.unwrap()), WithoutLimit::default());
}

#[tokio::test]
async fn figures_count_down_and_a_denial_charges_nothing() {
    let limiter = limiter();
    let both = [("team", "t", ONE), ("user", "u", ONE)];
    let allowed = decide(&limiter, &both).await;
    assert_eq!(allowed.decisions.iter().map(|d| d.remaining).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(allowed.speaker().unwrap().limit.label(), "team");

    let denied = decide(&limiter, &both).await;
    assert_eq!(denied.verdict, Some(Verdict::Deny));
    assert_eq!(denied.decisions[0].verdict, Verdict::Deny);
    assert_eq!((denied.decisions[1].verdict, denied.decisions[1].remaining), (Verdict::Allow, 2));
    let day_us = 86_400_000_000;
    let reset_us = denied.speaker().unwrap().reset_us;
    assert!((day_us - 10_000_000..=day_us).contains(&reset_us), "{reset_us}");
}

#[tokio::test]
async fn a_peek_shows_the_level_and_a_refund_raises_it() {
    let limiter = limiter();
    let remaining = async |hits| decide(&limiter, &[("user", "u", hits)]).await.decisions[0].remaining;
    assert_eq!(remaining(Hits::Peek).await, 3);
    assert_eq!(remaining(Hits::Take(2)).await, 1);
    assert_eq!(remaining(Hits::Peek).await, 1);
    assert_eq!(remaining(Hits::GiveBack(1)).await, 2);
    assert_eq!(remaining(Hits::GiveBack(9)).await, 3);
}

#[tokio::test]
async fn a_bucket_that_stands_twice_is_judged_by_what_it_is_asked_for_in_all() {
    let limiter = limiter();
    let twice = [("user", "u", Hits::Take(2)), ("user", "u", Hits::Take(2))];
    let never = decide(&limiter, &twice).await;
    assert_eq!((never.verdict, never.decisions[1].never_fits), (Some(Verdict::Deny), true));
    assert_eq!(never.decisions[0].remaining, 3, "nothing was charged");

    let three = [("user", "u", ONE), ("user", "u", ONE), ("team", "t", Hits::Take(2))];
    let denied = decide(&limiter, &three).await;
    assert_eq!(denied.verdict, Some(Verdict::Deny));
    assert_eq!(denied.decisions.iter().map(|d| d.remaining).collect::<Vec<_>>(), [3, 3, 0]);
    let allowed = decide(&limiter, &three[..2]).await;
    assert_eq!(allowed.decisions.iter().map(|d| d.remaining).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn in_quota_mode_a_descriptor_whose_limits_are_all_replaced_is_a_quota_that_fits() {
    let named = |name: &str, replaces: &[&str], requests| NamedLimit {
        name: name.to_owned(),
        replaces: replaces.iter().map(ToString::to_string).collect(),
        ..NamedLimit::from(Limit::new(requests, Unit::Day, None).unwrap())
    };
    let pattern = |key: &str, limits| Pattern { limits: Limits::All(limits), ..pattern(key, 1, 1) };
    let descriptors = vec![
        pattern("special", vec![named("", &["general"], 0)]),
        pattern("general", vec![named("general", &[], 5)]),
        pattern("both", vec![named("general", &[], 5), named("", &[], 0)]),
        pattern("free", vec![NamedLimit { limit: None, ..named("", &["general"], 1) }]),
    ];
    let domain = Domain { name: "edge".to_owned(), descriptors, ..Domain::default() };
    let verdict = async |mode, keys: &[&str]| {
        let limiter = limiter().limiter.quota_mode(mode);
        let limited = Limited { limiter, matcher: Matcher::new(vec![domain.clone()]) };
        let asked: Vec<Asked<'_>> = keys.iter().map(|key| (*key, "x", ONE)).collect();
        decide(&limited, &asked).await.verdict.unwrap()
    };
    use QuotaMode::{AsConfigured, Everywhere};
    // What it stands in for fits, as what matches nothing does.
    assert_eq!(verdict(Everywhere, &["special", "general"]).await, Verdict::Allow);
    assert_eq!(verdict(Everywhere, &["special", "stranger"]).await, Verdict::Allow);
    // A limit is left of it, and does not fit; and what is unlimited counts as no quota.
    assert_eq!(verdict(Everywhere, &["special", "both"]).await, Verdict::Deny);
    assert_eq!(verdict(Everywhere, &["both", "free"]).await, Verdict::Deny);
    assert_eq!(verdict(Everywhere, &["special"]).await, Verdict::Deny);
    assert_eq!(verdict(AsConfigured, &["special", "general"]).await, Verdict::Deny);
}

#[tokio::test]
async fn without_a_store_the_answer_is_the_one_configured() {
    // Nothing listens on port 1 of loopback.
    let nowhere = Backend::parse("redis://127.0.0.1:1").unwrap();
    for (on_failure, verdict, source) in [
        (OnStoreFailure::Allow, Some(Verdict::Allow), Source::Allow),
        (OnStoreFailure::Deny, Some(Verdict::Deny), Source::Deny),
        (OnStoreFailure::Error, None, Source::Error),
    ] {
        let limiter = limiter_on(&nowhere, on_failure);
        let outcome = decide(&limiter, &[("user", "u", ONE)]).await;
        assert_eq!((outcome.verdict, outcome.source), (verdict, source));
        let error = outcome.store_call.unwrap().error.unwrap();
        assert_eq!(error.kind(), "disconnected");
    }
}

#[tokio::test]
async fn a_limit_whose_local_bucket_was_not_asked_because_another_is_an_error_is_one_too() {
    let nowhere = Backend::parse("redis://127.0.0.1:1").unwrap();
    let limit = Limit::new(1, Unit::Day, None).unwrap();
    let limit = NamedLimit { on_store_failure: Some(OnStoreFailure::Error), ..NamedLimit::from(limit) };
    let erring = Pattern { limits: Limits::All(vec![limit]), ..pattern("team", 1, 1) };
    let domain = Domain {
        name: "edge".to_owned(),
        descriptors: vec![pattern("user", 1, 3), erring],
        ..Domain::default()
    };
    let local = Local::new(1_000, Box::new(|| NonZeroU32::new(1)));
    let fallback = Fallback { default: OnStoreFailure::Local, local: Arc::new(local) };
    let limiter = Limiter::new(nowhere.open(Duration::from_secs(1)), fallback);
    let limited = Limited { limiter, matcher: Matcher::new(vec![domain]) };
    let sources = |outcome: &Outcome<'_>| -> Vec<Source> {
        outcome.decisions.iter().map(|decision| decision.source).collect()
    };
    let both = decide(&limited, &[("user", "u", ONE), ("team", "t", ONE)]).await;
    assert_eq!((both.verdict, &sources(&both)[..]), (None, &[Source::Error, Source::Error][..]));
    let alone = decide(&limited, &[("user", "u", ONE)]).await;
    assert_eq!((alone.verdict, &sources(&alone)[..]), (Some(Verdict::Allow), &[Source::Local][..]));
}
