//! Maps that stand twice, or come in part by `<<`, are decoded as Go's `yaml.v2` decodes them.

mod checks;
mod grow;
mod model;
mod tree;

use std::{env, fs, path::PathBuf};

use rand::{SeedableRng, rngs::SmallRng};

use super::{by_period, descriptors, errors, limit, limit_of, load_text};
use model::{Any, Descriptor, Root};
use tollgate_core::{
    limit::Unit,
    rules::{Domain, Limits, Metadata, MetadataValue, NamedLimit, Options, Pattern},
};
use tree::{Is, Scalar};

// === What the model loads, as the rules say it ===

fn domain(root: Root) -> Domain {
    let descriptors = root.descriptors.iter().map(pattern).collect();
    Domain { name: root.domain, descriptors, ..Domain::default() }
}

fn pattern(descriptor: &Descriptor) -> Pattern {
    let Descriptor { key, value, shadow_mode, quota_mode, detailed_metric, .. } = descriptor;
    let (shadow_mode, quota_mode, detailed_metric) = (*shadow_mode, *quota_mode, *detailed_metric);
    let limits = descriptor.limit.as_ref().map(|own| NamedLimit {
        limit: Unit::from_name(&own.unit)
            .filter(|_| !own.unlimited)
            .map(|unit| by_period(own.requests_per_unit, unit)),
        name: own.name.clone(),
        replaces: own.replaces.clone(),
        on_store_failure: None,
    });
    let metadata = descriptor.metadata.iter().map(|(key, value)| (key.clone(), json(value)));
    Pattern {
        key: key.clone(),
        value: Some(value.clone()).filter(|value| !value.is_empty()),
        limits: limits.map_or(Limits::None, |limit| Limits::All(vec![limit])),
        options: Options { shadow_mode, quota_mode, detailed_metric, ..Options::default() },
        metadata: metadata.collect(),
        descriptors: descriptor.descriptors.iter().map(pattern).collect(),
    }
}

fn json(any: &Any) -> MetadataValue {
    match any {
        Any::List(items) => MetadataValue::List(items.iter().map(json).collect()),
        Any::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (key.name().to_owned(), json(value)));
            MetadataValue::Map(pairs.collect::<Metadata>())
        }
        Any::Scalar(Scalar { is, written }) => match is {
            Is::Null => MetadataValue::Null,
            Is::Bool(flag) => MetadataValue::Bool(*flag),
            Is::Int(int) => MetadataValue::Number(f64::from(i32::try_from(*int).expect("all are small"))),
            Is::Float(float) => MetadataValue::Number(*float),
            Is::Text => MetadataValue::Text((*written).to_owned()),
        },
    }
}

const FILES: u64 = 1_500;

/// With TOLLGATE_RANDOM_LIMITS there are ten times as many files. Each is left in that folder, with what it means here
/// as JSON, to be compared with what the reference itself makes of it.
#[test]
fn random_maps_that_stand_twice_or_come_by_merges_load_as_in_the_reference() {
    let folder = env::var_os("TOLLGATE_RANDOM_LIMITS").map(PathBuf::from);
    let (mut loaded, mut told_twice) = (0, 0);
    for seed in 0..if folder.is_some() { 10 * FILES } else { FILES } {
        let root = grow::root(&mut SmallRng::seed_from_u64(seed));
        let text = tree::file(&root);
        let here = load_text(&text);
        if let Some(folder) = &folder {
            let meaning = here.as_ref().map_or(serde_json::Value::Null, |config| shown(&config.domains[0]));
            fs::write(folder.join(format!("{seed:05}.yaml")), &text).unwrap();
            fs::write(folder.join(format!("{seed:05}.json")), meaning.to_string()).unwrap();
        }
        let warnings = here.as_ref().map_or(0, |config| {
            config.warnings.iter().filter(|warning| warning.to_string().contains("both count")).count()
        });
        told_twice += usize::from(warnings > 0);
        match (model::load(&root), here) {
            (None, Err(_)) => {}
            (Some(there), Ok(here)) => {
                loaded += 1;
                assert_eq!(here.domains, [domain(there)], "seed {seed}:\n{text}");
            }
            (Some(_), Err(told)) => {
                panic!("seed {seed} loads in the reference, and not here: {told}\n{text}")
            }
            (None, Ok(_)) => panic!("seed {seed} is refused by the reference, and loads here:\n{text}"),
        }
    }
    assert!(loaded > 400 && told_twice > 60, "{loaded} files loaded, {told_twice} with a map twice");
}

fn shown(domain: &Domain) -> serde_json::Value {
    serde_json::json!({ "domain": domain.name, "descriptors": all_shown(&domain.descriptors) })
}

fn all_shown(patterns: &[Pattern]) -> serde_json::Value {
    let shown = patterns.iter().map(|pattern| {
        let limit = match &pattern.limits {
            Limits::All(limits) => limits.first(),
            Limits::None | Limits::OfMember => None,
        };
        let limit = limit.map(|named| {
            let limit = named.limit.as_ref();
            let unit = limit.map(|limit| limit.period().unit.name());
            serde_json::json!([
                limit.map(|limit| limit.requests_per_unit()),
                unit,
                named.name,
                named.replaces
            ])
        });
        let options = &pattern.options;
        let flags = [options.shadow_mode, options.quota_mode, options.detailed_metric];
        let metadata: serde_json::Map<_, _> =
            pattern.metadata.iter().map(|(key, value)| (key.clone(), json_shown(value))).collect();
        let below = all_shown(&pattern.descriptors);
        serde_json::json!([pattern.key, pattern.value, limit, flags, metadata, below])
    });
    shown.collect()
}

fn json_shown(value: &MetadataValue) -> serde_json::Value {
    match value {
        MetadataValue::Null => serde_json::Value::Null,
        MetadataValue::Bool(flag) => (*flag).into(),
        MetadataValue::Number(number) => (*number).into(),
        MetadataValue::Text(text) => text.clone().into(),
        MetadataValue::List(items) => items.iter().map(json_shown).collect(),
        MetadataValue::Map(map) => serde_json::Value::Object(
            map.iter().map(|(key, value)| (key.clone(), json_shown(value))).collect(),
        ),
    }
}

// === By hand ===

#[test]
fn a_limit_that_stands_twice_is_merged_key_by_key() {
    let twice = "domain: d
descriptors:
- key: k
  rate_limit: { unit: second, requests_per_unit: 5, name: n }
  rate_limit: { unit: minute }
- key: l
  rate_limit: { unit: second, requests_per_unit: 5 }
  rate_limit: { requests_per_unit: 7 }
";
    let patterns = descriptors(twice);
    assert_eq!(limit_of(&patterns[0]), limit(5, Unit::Minute, None));
    assert_eq!(limit_of(&patterns[1]), limit(7, Unit::Second, None));
    let warnings: Vec<String> = load_text(twice).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].ends_with(
            "a.yaml:5:3: warning: d.descriptors[0]: `rate_limit` is given twice in this map, and both \
                 count; where both set a key, the last one wins; the first is at line 4"
        ),
        "{warnings:?}"
    );
}

#[test]
fn defaults_by_an_anchor_are_kept_where_a_limit_says_only_part() {
    let text = "domain: d
descriptors:
- &defaults { key: a, rate_limit: { unit: hour, requests_per_unit: 9 }, metadata: { x: 1, y: 2 } }
- { <<: *defaults, key: b, rate_limit: { requests_per_unit: 3 }, metadata: { y: 3 } }
- { <<: *defaults, key: c, rate_limit: ~ }
";
    let config = load_text(text).unwrap();
    let patterns = &config.domains[0].descriptors;
    assert_eq!(limit_of(&patterns[1]), limit(3, Unit::Hour, None));
    let number = |name: &str| patterns[1].metadata.get(name).cloned();
    assert_eq!(number("x"), Some(MetadataValue::Number(1.0)));
    assert_eq!(number("y"), Some(MetadataValue::Number(3.0)));
    assert_eq!(patterns[2].limits, Limits::None);
    assert!(!config.warnings.iter().any(|warning| warning.to_string().contains("twice")));
}

#[test]
fn what_a_later_map_hides_must_have_the_right_shape_and_no_more() {
    let twice = |first: &str, last: &str| {
        format!("domain: d\ndescriptors:\n- key: k\n  rate_limit: {first}\n  rate_limit: {last}\n")
    };
    let place = "a.yaml:4:";
    let last = "{ unit: day, requests_per_unit: 1, replaces: [] }";
    for (first, told) in [
        (
            "{ requests_per_unit: x }",
            "requests_per_unit must be a whole number from 0 to 4294967295, found a string",
        ),
        ("{ unit: [day] }", "unit must be a string, found a list"),
        ("{ replaces: [b] }", "replaces must be a map, found a string"),
        ("{ foo: { [a]: 1 } }", "a key must be a string, found a list"),
        ("{ <<: 1 }", "`<<` takes a map or a list of maps, found the number 1"),
        ("5", "rate_limit must be a map, found the number 5"),
    ] {
        let errors = errors(&twice(first, last));
        assert!(
            errors.starts_with(place) && errors.ends_with(told) && !errors.contains('\n'),
            "{first}: {errors}"
        );
    }
    let overlooked = twice("{ foo: 1, ~: 2, requests_per_unit: 1.5, replaces: [{ nme: 3 }] }", last);
    let config = load_text(&overlooked).unwrap();
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|told| told
            .contains("4:17: warning: d.descriptors[0].rate_limit: unknown key `foo`; it has no effect")),
        "{told:?}"
    );
}

#[test]
fn a_merge_that_stands_last_is_told_to_have_the_last_word() {
    let text = "domain: d
descriptors:
- &all { key: a, rate_limit: { unit: hour, requests_per_unit: 9 } }
- { key: b, value: c, <<: *all }
";
    let config = load_text(text).unwrap();
    assert_eq!(config.domains[0].descriptors[1].key, "a");
    let told = config.warnings[0].to_string();
    assert!(
        told.ends_with(
            "a.yaml:4:5: warning: d.descriptors[1]: the `<<` at line 4 comes later and overrides `key`; \
                 put `<<` first"
        ),
        "{told}"
    );
}
