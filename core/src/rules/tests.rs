use super::*;

fn number(number: f64) -> MetadataValue {
    MetadataValue::Number(number)
}

fn map<const N: usize>(fields: [(&str, MetadataValue); N]) -> Metadata {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn merged(parts: &[Metadata]) -> Metadata {
    let mut merged = Metadata::new();
    parts.iter().for_each(|part| merge(&mut merged, part));
    merged
}

#[test]
fn metadata_is_put_together_and_the_first_value_of_a_name_stays() {
    let parts = [map([("a", number(1.0))]), map([("a", number(2.0)), ("b", MetadataValue::Null)]), map([])];
    assert_eq!(merged(&parts), map([("a", number(1.0)), ("b", MetadataValue::Null)]));
    assert_eq!(merged(&[]), map([]));
}

#[test]
fn maps_below_one_name_are_merged_and_nothing_else_is() {
    let nested = |fields| map([("at", MetadataValue::Map(fields))]);
    let parts = [nested(map([("a", number(1.0))])), nested(map([("a", number(2.0)), ("b", number(3.0))]))];
    assert_eq!(merged(&parts), nested(map([("a", number(1.0)), ("b", number(3.0))])));
    let list =
        |numbers: &[f64]| map([("at", MetadataValue::List(numbers.iter().copied().map(number).collect()))]);
    assert_eq!(merged(&[list(&[1.0]), list(&[2.0])]), list(&[1.0]));
    assert_eq!(merged(&[list(&[1.0]), nested(map([]))]), list(&[1.0]));
    assert_eq!(merged(&[nested(map([])), list(&[1.0])]), nested(map([])));
}
