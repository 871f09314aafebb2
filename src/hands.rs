//! An operator's acts on the buckets of one key: finds them as those of a request, and has their store do it.
//!
//! What is done is in [`tollgate_core::act`]. Here no value of a descriptor is kept: a report names limits, and buckets by
//! their keys.

pub mod json;

use thiserror::Error;

use crate::store::redis::keys::redis_key;
use tollgate_core::{
    act::{Act, Level, Shown},
    applied::{AppliedLimit, QuotaMode},
    decision::{Answer, Enforcement, Takes},
    descriptor::{BadRequest, KeyForm, Request},
    limit::Algorithm,
    matcher::{DomainRules, Matcher},
};

/// What to do, and to which limits of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub act: Act,
    /// The label of a limit, or the key of a bucket. None: all limits that apply.
    pub limit: Option<String>,
}

/// The rules by which the limits of a key are found, and the form of their buckets' keys.
#[derive(Debug, Clone, Copy)]
pub struct RulesInForce<'a> {
    /// The rules.
    pub matcher: &'a Matcher,
    /// Whether all limits are quotas, which is reported.
    pub quota_mode: QuotaMode,
    /// The form of keys in the store.
    pub key_form: KeyForm,
}

/// What was done, or was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the act.
    pub act: String,
    /// The domain of the limits.
    pub domain: String,
    /// The clock of the store, in microseconds since the Unix epoch.
    pub now_us: u64,
    /// At least one, and each bucket once.
    pub buckets: Vec<BucketReport>,
}

/// One bucket before and after the act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketReport {
    /// The number of its descriptor, from 1.
    pub descriptor: usize,
    /// The label of its limit.
    pub limit: String,
    /// The limit in words, such as `10 per minute, burst 20, token_bucket`.
    pub numbers: String,
    /// The most hits that it holds.
    pub burst: u32,
    /// `enforced`, `quota` or `shadow`.
    pub enforcement: String,
    /// Its key in Redis.
    pub bucket: String,
    /// What was left, and what is left now.
    pub shown: Shown,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum HandsError<E> {
    /// The domain has no rules, or none was named and there are several.
    #[error("{0}")]
    Domain(String),
    /// No bucket belongs to the key.
    #[error("no limit applies: {0}")]
    NoLimit(String),
    /// The limit that was named does not apply.
    #[error("no limit {asked} applies to this key; write {}", .there.join(" or "))]
    OtherLimit {
        /// The limit as it was named.
        asked: String,
        /// Those that apply, by label and by bucket.
        there: Vec<String>,
    },
    /// The request has no meaning.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// The store did not answer. What was asked of it may have been done.
    #[error("the store")]
    Store(#[source] E),
}

/// Does it to the buckets of this request, in one call to the store, `ask`. An empty domain means the only one that there
/// is.
pub async fn act<'a, E, F: Future<Output = Result<Answer, E>>>(
    rules: RulesInForce<'a>,
    request: &Request<'a>,
    order: &Order,
    ask: impl FnOnce(Takes) -> F,
) -> Result<Report, HandsError<E>> {
    let RulesInForce { matcher, quota_mode, key_form } = rules;
    let domain = domain(matcher, request.domain)?;
    let request = Request { domain: domain.as_bytes(), descriptors: request.descriptors.clone() };
    let rules = matcher.domain(request.domain).ok_or_else(|| unknown(matcher, request.domain))?;
    let applied = rules.apply(&request, quota_mode, key_form)?;
    let limits = chosen(&applied.limits, order)?;
    if limits.is_empty() {
        return Err(HandsError::NoLimit(why_no_limit(rules, &request)));
    }
    let answer = ask(order.act.takes(limits.iter().copied())).await.map_err(HandsError::Store)?;
    let shown = order.act.shown(limits.iter().copied(), &answer);
    let buckets = limits.iter().zip(shown).map(|(limit, shown)| BucketReport::new(limit, shown)).collect();
    let act = order.act.name().to_owned();
    Ok(Report { act, domain: domain.to_owned(), now_us: answer.now_us, buckets })
}

fn domain<'a, E>(matcher: &'a Matcher, named: &'a [u8]) -> Result<&'a str, HandsError<E>> {
    let mut domains = matcher.domains();
    match (named, domains.next(), domains.next()) {
        (b"", Some(only), None) => Ok(only),
        (b"", ..) => Err(HandsError::Domain(format!("name the domain: there are {}", listed(matcher)))),
        _ => str::from_utf8(named).map_err(|_not_text| unknown(matcher, named)),
    }
}

fn unknown<E>(matcher: &Matcher, named: &[u8]) -> HandsError<E> {
    let named = String::from_utf8_lossy(named);
    HandsError::Domain(format!("the domain {named:?} has no limits; there are {}", listed(matcher)))
}

fn listed(matcher: &Matcher) -> String {
    let mut domains: Vec<&str> = matcher.domains().collect();
    domains.sort_unstable();
    if domains.is_empty() { "no domains".to_owned() } else { domains.join(", ") }
}

/// The limits that the order is for. Of several with one bucket, the first.
fn chosen<'l, 'm, E>(
    limits: &'l [AppliedLimit<'m>],
    order: &Order,
) -> Result<Vec<&'l AppliedLimit<'m>>, HandsError<E>> {
    let mut all: Vec<&AppliedLimit<'_>> = Vec::new();
    for limit in limits {
        if all.iter().all(|other| other.take.key != limit.take.key) {
            all.push(limit);
        }
    }
    let Some(asked) = &order.limit else { return Ok(all) };
    let is_asked = |limit: &&AppliedLimit<'_>| limit.limit.label() == **asked || bucket(limit) == *asked;
    let chosen: Vec<_> = all.iter().copied().filter(is_asked).collect();
    if chosen.is_empty() && !all.is_empty() {
        let there = all.iter().map(|limit| format!("{} ({})", limit.limit.label(), bucket(limit))).collect();
        return Err(HandsError::OtherLimit { asked: asked.clone(), there });
    }
    Ok(chosen)
}

fn why_no_limit(rules: &DomainRules, request: &Request<'_>) -> String {
    let each = request.descriptors.iter().map(|descriptor| match rules.find(descriptor.entries()) {
        Some(_) => "its rule is unlimited, or limits of other descriptors replace its own".to_owned(),
        None => rules.ending(descriptor.entries()).to_string(),
    });
    each.collect::<Vec<_>>().join("; ")
}

fn bucket(limit: &AppliedLimit<'_>) -> String {
    redis_key(&limit.take.key).to_string()
}

// === impl BucketReport ===

impl BucketReport {
    fn new(applied: &AppliedLimit<'_>, shown: Shown) -> BucketReport {
        let limit = &applied.limit.limit;
        let burst = match limit.algorithm() {
            Algorithm::TokenBucket => format!(", burst {}", limit.burst()),
            Algorithm::FixedWindow | Algorithm::SlidingWindowLog => String::new(),
        };
        let (requests, per, algorithm) = (limit.requests_per_unit(), limit.per(), limit.algorithm().name());
        let enforcement = match applied.enforcement {
            Enforcement::Enforced => "enforced",
            Enforcement::Quota => "quota",
            Enforcement::Shadow => "shadow",
        };
        BucketReport {
            descriptor: applied.descriptor + 1,
            limit: applied.limit.label().into_owned(),
            numbers: format!("{requests} per {per}{burst}, {algorithm}"),
            burst: limit.burst(),
            enforcement: enforcement.to_owned(),
            bucket: bucket(applied),
            shown,
        }
    }

    /// What the act gave back.
    pub fn given_back(&self) -> Level {
        Level(self.shown.after.0 - self.shown.before.0)
    }
}
