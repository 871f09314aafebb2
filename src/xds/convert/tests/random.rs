//! Answers of any content, with and without sense.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::{collection::vec, prop_assert, sample::select};
use prost::Message as _;
use prost_types::{Any, ListValue, Struct, Value, value::Kind};

use super::{Answer, TYPE_URL, answer, config, leaf, policy};
use crate::{
    pb::{
        discovery::DiscoveryResponse,
        rules::{
            RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitReplace, RateLimitUnit as Wire,
        },
    },
    xds::convert::{Unsaid, convert},
};
use tollgate_core::{
    applied::QuotaMode,
    decision::Enforcement,
    descriptor::{Descriptor, Entry, Hits, KeyForm, Request},
    limit::{DefaultAlgorithm, Defaults, Overdraft, Unit, Windows},
    matcher::Matcher,
};

// === any content ===

fn word() -> impl Strategy<Value = String> {
    let long = "x".repeat(5_000);
    select(
        vec!["", "k", "k*", "*", "l", "é\n\u{202e}", "null", "~", long.as_str()]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    )
}

fn value() -> impl Strategy<Value = Value> {
    let numbers = vec![0.0, -0.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let leaf = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|flag| Some(Kind::BoolValue(flag))),
        any::<i32>().prop_map(|null| Some(Kind::NullValue(null))),
        select(numbers).prop_map(|number| Some(Kind::NumberValue(number))),
        word().prop_map(|text| Some(Kind::StringValue(text))),
    ];
    leaf.prop_map(|kind| Value { kind }).prop_recursive(4, 12, 3, |inner| {
        let list = vec(inner.clone(), 0..3).prop_map(|values| Kind::ListValue(ListValue { values }));
        let map = vec((word(), inner), 0..3)
            .prop_map(|fields| Kind::StructValue(Struct { fields: fields.into_iter().collect() }));
        prop_oneof![list, map].prop_map(|kind| Value { kind: Some(kind) })
    })
}

fn any_policy() -> impl Strategy<Value = RateLimitPolicy> {
    let numbers = prop_oneof![any::<u32>(), 0..3_u32, Just(u32::MAX)];
    let replaces = vec(word().prop_map(|name| RateLimitReplace { name }), 0..3);
    (prop_oneof![8 => 0..9_i32, 1 => any::<i32>()], numbers, prop::bool::weighted(0.2), word(), replaces)
        .prop_map(|(unit, requests_per_unit, unlimited, name, replaces)| RateLimitPolicy {
            unit,
            requests_per_unit,
            unlimited,
            name,
            replaces,
        })
}

fn any_descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    let one = (
        word(),
        word(),
        prop::option::of(any_policy()),
        any::<[bool; 3]>(),
        prop::option::weighted(0.2, value()),
    );
    let one =
        one.prop_map(|(key, value, rate_limit, [shadow_mode, quota_mode, detailed_metric], metadata)| {
            let fields = metadata.map(|value| Struct { fields: [("m".to_owned(), value)].into() });
            RateLimitDescriptor {
                key,
                value,
                rate_limit,
                shadow_mode,
                quota_mode,
                detailed_metric,
                metadata: fields,
                descriptors: Vec::new(),
            }
        });
    one.prop_recursive(4, 24, 4, |inner| {
        (inner.clone(), vec(inner, 0..4))
            .prop_map(|(above, descriptors)| RateLimitDescriptor { descriptors, ..above })
    })
}

fn any_config() -> impl Strategy<Value = RateLimitConfig> {
    (word(), word(), vec(any_descriptor(), 0..5)).prop_map(|(name, domain, descriptors)| RateLimitConfig {
        name,
        domain,
        descriptors,
    })
}

fn unsaid() -> impl Strategy<Value = Unsaid> {
    let month = select(vec![Windows::Aligned, Windows::CalendarMonth]);
    (select(Overdraft::ALL.to_vec()), select(DefaultAlgorithm::ALL.to_vec()), month).prop_map(
        |(overdraft, algorithm, month)| Unsaid {
            overdraft,
            counting: Defaults { algorithm, month, ..Defaults::default() },
        },
    )
}

/// Takes the answer, or says why not.
fn is_taken_or_refused_with_words(
    answer: &Answer,
    unsaid: Unsaid,
) -> Result<(), proptest::test_runner::TestCaseError> {
    match convert(answer, unsaid) {
        Ok(converted) => {
            let warnings = converted.warnings.to_string();
            prop_assert!(warnings.len() < 80 << 10 && !warnings.contains(" line "), "{warnings}");
            let matcher = Matcher::new(converted.domains);
            prop_assert!(matcher.limits().iter().all(|limit| !limit.label().is_empty()));
        }
        Err(faults) => {
            let told = faults.to_string();
            prop_assert!(!told.is_empty() && told.len() < 80 << 10, "{} bytes", told.len());
            // A message has no lines, and what a client or an operator named must not forge a line of the log.
            prop_assert!(!told.contains(" line ") && !told.contains('\u{202e}'), "{told}");
            prop_assert!(told.lines().all(|line| line.contains(": ") || line.ends_with(" more")), "{told}");
        }
    }
    Ok(())
}

// === rules that are sound ===

const UNITS: [(Wire, Unit); 7] = [
    (Wire::Second, Unit::Second),
    (Wire::Minute, Unit::Minute),
    (Wire::Hour, Unit::Hour),
    (Wire::Day, Unit::Day),
    (Wire::Week, Unit::Week),
    (Wire::Month, Unit::Month),
    (Wire::Year, Unit::Year),
];

fn sound_policy() -> impl Strategy<Value = RateLimitPolicy> {
    (select(UNITS.to_vec()), 0..9_u32, prop::bool::weighted(0.1)).prop_map(
        |((unit, _), requests, unlimited)| {
            if unlimited {
                RateLimitPolicy { unlimited, ..RateLimitPolicy::default() }
            } else {
                policy(unit, requests)
            }
        },
    )
}

fn sound_descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    let (keys, values) = (select(vec!["k", "l"]), select(vec!["", "a", "b", "w*"]));
    let one =
        (keys, values, sound_policy(), any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    let one = one.prop_map(|(key, value, limit, has_limit, shadow_mode, quota_mode)| {
        let rate_limit = Some(limit).filter(|_| has_limit);
        RateLimitDescriptor {
            rate_limit,
            shadow_mode,
            quota_mode,
            ..leaf(key, value, RateLimitPolicy::default())
        }
    });
    one.prop_recursive(3, 24, 5, |inner| {
        (inner.clone(), vec(inner, 0..5))
            .prop_map(|(above, descriptors)| RateLimitDescriptor { descriptors, ..above })
    })
}

/// Each descriptor with a limit that is to be enforced, as the keys and values of a request that ends there.
fn enforced<'d>(
    descriptors: &'d [RateLimitDescriptor],
    path: &mut Vec<(&'d str, &'d str)>,
    found: &mut Vec<(Vec<(&'d str, &'d str)>, &'d RateLimitPolicy)>,
) {
    for descriptor in descriptors {
        let value = match descriptor.value.as_str() {
            "" => "any",
            "w*" => "wild",
            value => value,
        };
        path.push((&descriptor.key, value));
        if let Some(limit) =
            descriptor.rate_limit.as_ref().filter(|limit| !limit.unlimited && !descriptor.shadow_mode)
        {
            found.push((path.clone(), limit));
        }
        enforced(&descriptor.descriptors, path, found);
        path.pop();
    }
}

proptest! {
    #[test]
    fn whatever_an_answer_holds_it_is_taken_or_refused_with_words(
        configs in vec(any_config(), 0..4), unsaid in unsaid(),
    ) {
        is_taken_or_refused_with_words(&answer(&configs), unsaid)?;
    }

    #[test]
    fn bytes_that_were_damaged_are_taken_or_refused_with_words(
        configs in vec(any_config(), 0..3),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..8),
        unsaid in unsaid(),
    ) {
        let any = |config: &RateLimitConfig| Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() };
        let resources = configs.iter().map(any).collect();
        let mut bytes = DiscoveryResponse { resources, version_info: "1".to_owned(), ..Default::default() }.encode_to_vec();
        for (at, byte, way) in damage {
            let at = at.index(bytes.len().max(1));
            match way {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), byte),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|one| *one = byte),
            }
        }
        if let Ok(answer) = Answer::read(&bytes.into()) {
            is_taken_or_refused_with_words(&answer, unsaid)?;
        }
    }

    /// However siblings disagree: the limit of each descriptor holds, or a lower one for the same period.
    #[test]
    fn no_limit_of_an_answer_that_is_taken_is_lost(
        descriptors in vec(sound_descriptor(), 1..6), split in any::<prop::sample::Index>(), unsaid in unsaid(),
    ) {
        let (first, second) = descriptors.split_at(split.index(descriptors.len()));
        let converted = convert(&answer(&[config("edge", first.to_vec()), config("edge", second.to_vec())]), unsaid);
        let matcher = Matcher::new(converted.map_err(|faults| proptest::test_runner::TestCaseError::fail(faults.to_string()))?.domains);
        let rules = matcher.domain(b"edge").expect("it has descriptors");
        let mut wanted = Vec::new();
        enforced(&descriptors, &mut Vec::new(), &mut wanted);
        for (path, limit) in wanted {
            let entries = path.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() });
            let descriptors = [Descriptor::new(entries, Hits::Take(1))].into_iter().collect();
            let request = Request { domain: b"edge", descriptors };
            let applied = rules.apply(&request, QuotaMode::AsConfigured, KeyForm::Whole).expect("few");
            let unit = UNITS.into_iter().find(|(wire, _)| i32::from(*wire) == limit.unit).expect("known").1;
            let holds = applied.limits.iter().any(|applied| {
                let found = &applied.limit.limit;
                applied.enforcement != Enforcement::Shadow
                    && found.unit() == unit
                    && found.requests_per_unit() <= limit.requests_per_unit
            });
            prop_assert!(holds, "{path:?} {limit:?}: {:?}", applied.limits);
        }
    }
}
