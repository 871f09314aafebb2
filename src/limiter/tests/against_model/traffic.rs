//! Random rules and requests. There are few buckets, so that each is asked often, and steps of time end just before and
//! just after the waits that were told.

use proptest::{
    option,
    prelude::{Just, Strategy, any, prop},
    prop_oneof,
    sample::{Index, select},
};

use super::{super::model::Member, DOMAIN};
use tollgate_core::{
    applied::QuotaMode,
    descriptor::{Descriptor, Hits},
    limit::{Algorithm, LimitSpec, Overdraft, Period, Unit},
    matcher::Matcher,
    rules::{Domain, Limits, NamedLimit, Options, Pattern},
};

/// The number of keys that rules have. Requests have one more.
pub(super) const KEYS: usize = 3;
pub(super) const VALUES: usize = 2;

const NAMES: [&str; KEYS + 1] = ["user", "team", "path", "stranger"];
const OF_KEYS: [&str; VALUES] = ["one", "two"];

#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The limits of each key, and its flags.
    keys: Vec<(Vec<LimitSpec>, Options)>,
    pub(super) quota_mode: QuotaMode,
}

/// One descriptor of a request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) hits: Hits,
    /// In place of the limits of the rules.
    pub(super) limit: Option<LimitSpec>,
}

/// How time goes on.
#[derive(Debug, Clone)]
pub(super) enum Step {
    By(u64),
    /// To the next edge of a period of that many seconds, or to the microsecond before it.
    ToEdge {
        period_s: u64,
        before: bool,
    },
    /// As long as a wait that was told, or a microsecond less.
    AsTold {
        which: Index,
        before: bool,
    },
}

impl Step {
    pub(super) fn after(&self, now_us: u64, told_us: &[u64]) -> u64 {
        match self {
            Step::By(us) => now_us + us,
            Step::ToEdge { period_s, before } => {
                let length_us = period_s * 1_000_000;
                (now_us / length_us + 1) * length_us - u64::from(*before)
            }
            Step::AsTold { .. } if told_us.is_empty() => now_us,
            Step::AsTold { which, before } => {
                now_us + told_us[which.index(told_us.len())].saturating_sub(u64::from(*before))
            }
        }
    }
}

// === impl Rules ===

impl Rules {
    pub(super) fn matcher(&self) -> Matcher {
        let pattern = |(at, (specs, options)): (usize, &(Vec<LimitSpec>, Options))| Pattern {
            key: NAMES[at].to_owned(),
            limits: Limits::All(specs.iter().map(|spec| NamedLimit::from(spec.check().unwrap())).collect()),
            options: *options,
            ..Pattern::default()
        };
        let descriptors = self.keys.iter().enumerate().map(pattern).collect();
        let name = String::from_utf8(DOMAIN.to_vec()).unwrap();
        Matcher::new(vec![Domain { name, descriptors, ..Domain::default() }])
    }

    /// Every limit of every descriptor, in order.
    pub(super) fn members(&self, request: &[Asked], post_paid: [bool; KEYS]) -> Vec<Member> {
        let members = |(at, asked)| self.members_of(at, asked, post_paid);
        request.iter().enumerate().flat_map(members).collect()
    }

    /// Whether the demand is a peek, if it shows how its rule is charged: rules with `overdraft: auto` remember it.
    pub(super) fn shows(&self, asked: &Asked) -> Option<bool> {
        let (_, options) = self.limits_of(asked);
        let quota = options.quota_mode || self.quota_mode == QuotaMode::Everywhere;
        let is_peek = match asked.hits {
            Hits::Peek => Some(true),
            Hits::One if quota => Some(true),
            Hits::Take(_) => Some(false),
            Hits::One | Hits::GiveBack(_) => None,
        };
        let mut overdrafts = self.keys.get(asked.key)?.0.iter().map(|spec| spec.overdraft);
        let is_auto = match asked.limit {
            None => overdrafts.any(|overdraft| overdraft == Overdraft::Auto),
            Some(_) => overdrafts.find(|overdraft| *overdraft != Overdraft::Never) == Some(Overdraft::Auto),
        };
        is_peek.filter(|_| is_auto)
    }

    /// Those of the rule, or the request's own. That is charged as the first of the rule that may owe.
    fn limits_of(&self, asked: &Asked) -> (Vec<LimitSpec>, Options) {
        let (specs, options) = self.keys.get(asked.key).cloned().unwrap_or_default();
        let Some(own) = asked.limit else { return (specs, options) };
        let owing = specs.iter().find(|spec| spec.overdraft != Overdraft::Never);
        let owing = owing.map(|spec| LimitSpec { overdraft: spec.overdraft, ..own });
        (vec![owing.filter(|spec| spec.check().is_ok()).unwrap_or(own)], Options::default())
    }

    fn members_of(&self, descriptor: usize, asked: &Asked, post_paid: [bool; KEYS]) -> Vec<Member> {
        let (mut specs, options) = self.limits_of(asked);
        for spec in specs.iter_mut().filter(|spec| spec.overdraft == Overdraft::Auto) {
            spec.overdraft = match asked.hits {
                Hits::Take(_) if post_paid[asked.key] => Overdraft::Charge,
                _ => Overdraft::Never,
            };
        }
        let counts = |spec: &LimitSpec| (spec.algorithm, spec.period.seconds());
        let alike =
            |at: usize| specs[..at].iter().filter(|earlier| counts(earlier) == counts(&specs[at])).count();
        let member = |(at, spec): (usize, &LimitSpec)| Member {
            descriptor,
            owner: format!("{} {}", asked.key, asked.value),
            // Their names tell them apart, and here no limit has one.
            alike: alike(at).min(1),
            spec: *spec,
            quota: options.quota_mode || self.quota_mode == QuotaMode::Everywhere,
            shadow: options.shadow_mode,
            hits: asked.hits,
        };
        specs.iter().enumerate().map(member).collect()
    }

    /// If every descriptor is a quota, one that no rule matches is a quota that fits.
    pub(super) fn a_stranger_fits(&self, request: &[Asked]) -> bool {
        let is_stranger = |asked: &Asked| asked.limit.is_none() && asked.key >= self.keys.len();
        self.quota_mode == QuotaMode::Everywhere && request.iter().any(is_stranger)
    }
}

impl Asked {
    pub(super) fn descriptor(&self) -> Descriptor<'static> {
        let (key, value) = (NAMES[self.key].as_bytes(), OF_KEYS[self.value].as_bytes());
        let limit = self.limit.map(|spec| spec.check().unwrap());
        Descriptor { limit, ..Descriptor::new([(key, value)], self.hits) }
    }
}

// === Strategies ===

fn rules() -> impl Strategy<Value = Rules> {
    let limits =
        prop::collection::vec(limit(select(Overdraft::ALL.to_vec())), 1..=3).prop_map(|mut specs| {
            // A third limit that counts alike would share the bucket of the second, which the configuration refuses.
            let counts = |spec: &LimitSpec| (spec.algorithm, spec.period.seconds());
            if specs.len() == 3 && specs.iter().all(|spec| counts(spec) == counts(&specs[0])) {
                specs.pop();
            }
            specs
        });
    let options = (prop::bool::weighted(0.25), prop::bool::weighted(0.3))
        .prop_map(|(shadow, quota)| Options { shadow_mode: shadow, quota_mode: quota, ..Options::default() });
    let modes = prop_oneof![4 => Just(QuotaMode::AsConfigured), 1 => Just(QuotaMode::Everywhere)];
    (prop::collection::vec((limits, options), KEYS), modes)
        .prop_map(|(keys, quota_mode)| Rules { keys, quota_mode })
}

/// Rules, and the same rules with other numbers, as another replica may have them.
pub(super) fn rules_twice() -> impl Strategy<Value = [Rules; 2]> {
    let changes = prop::collection::vec(option::of((requests_per_unit(), option::of(1..=12_u32))), 3 * KEYS);
    (rules(), changes).prop_map(|(rules, changes)| {
        let mut changed = rules.clone();
        let specs = changed.keys.iter_mut().flat_map(|(specs, _)| specs);
        for (spec, change) in specs.zip(changes) {
            let Some((requests_per_unit, burst)) = change else { continue };
            let burst = burst.filter(|_| spec.algorithm == Algorithm::TokenBucket && requests_per_unit > 0);
            let other = LimitSpec { requests_per_unit, burst, ..*spec };
            *spec = if other.check().is_ok() { other } else { *spec };
        }
        [rules, changed]
    })
}

/// Requests, each to one replica or the other.
pub(super) fn requests() -> impl Strategy<Value = Vec<(Step, usize, Vec<Asked>)>> {
    prop::collection::vec((step(), 0..2_usize, prop::collection::vec(asked(), 1..=4)), 1..=20)
}

fn asked() -> impl Strategy<Value = Asked> {
    let key = prop_oneof![20 => 0..KEYS, 1 => Just(KEYS)];
    let limit = option::weighted(0.1, limit(Just(Overdraft::Never)));
    (key, 0..VALUES, hits(), limit).prop_map(|(key, value, hits, limit)| Asked { key, value, hits, limit })
}

fn hits() -> impl Strategy<Value = Hits> {
    prop_oneof![
        4 => Just(Hits::One),
        3 => Just(Hits::Take(1)),
        6 => (1..=13_u64).prop_map(Hits::Take),
        1 => select(vec![u64::from(u32::MAX), 1 << 32, u64::MAX]).prop_map(Hits::Take),
        3 => Just(Hits::Peek),
        2 => (0..=5_u64).prop_map(Hits::GiveBack),
        1 => select(vec![u64::from(u32::MAX), u64::MAX]).prop_map(Hits::GiveBack),
    ]
}

fn requests_per_unit() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => 1..=10_u32,
        1 => Just(0),
        1 => select(vec![1_000_003, u32::MAX / 2, u32::MAX]),
    ]
}

fn limit(overdraft: impl Strategy<Value = Overdraft>) -> impl Strategy<Value = LimitSpec> {
    let units = select(vec![Unit::Second, Unit::Minute, Unit::Minute, Unit::Day, Unit::Year]);
    let burst = option::of(1..=12_u32);
    (requests_per_unit(), units, 1..=2_u32, select(Algorithm::ALL.to_vec()), burst, overdraft)
        .prop_filter_map("unsound", |(requests_per_unit, unit, multiplier, algorithm, burst, overdraft)| {
            let spec = LimitSpec {
                requests_per_unit,
                period: Period { unit, multiplier },
                algorithm,
                burst: burst.filter(|_| algorithm == Algorithm::TokenBucket && requests_per_unit > 0),
                overdraft: match algorithm {
                    Algorithm::SlidingWindowLog => Overdraft::Never,
                    Algorithm::TokenBucket | Algorithm::FixedWindow => overdraft,
                },
                ..LimitSpec::new(requests_per_unit, unit)
            };
            spec.check().is_ok().then_some(spec)
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::By(0)),
        1 => Just(Step::By(1)),
        2 => (0..=1_200_000_u64).prop_map(Step::By),
        2 => (0..=70_000_000_u64).prop_map(Step::By),
        1 => (0..=200_000_000_000_u64).prop_map(Step::By),
        1 => (select(vec![1, 60, 86_400]), any::<bool>()).prop_map(|(period_s, before)| Step::ToEdge { period_s, before }),
        4 => (any::<Index>(), any::<bool>()).prop_map(|(which, before)| Step::AsTold { which, before }),
    ]
}
