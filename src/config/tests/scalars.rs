//! Scalars as Go's YAML library reads them.

use super::{descriptors, errors, limit_of};

fn requests_per_unit(scalar: &str) -> u32 {
    let text = format!(
        "domain: e\ndescriptors: [{{key: a, rate_limit: {{unit: day, requests_per_unit: {scalar}}}}}]"
    );
    limit_of(&descriptors(&text)[0]).requests_per_unit()
}

fn value(scalar: &str) -> Option<String> {
    descriptors(&format!("domain: e\ndescriptors: [{{key: a, value: {scalar}}}]")).remove(0).value
}

#[test]
fn whole_numbers_may_be_grouped_octal_hexadecimal_or_binary() {
    let spelled = [
        ("7", 7),
        ("+7", 7),
        ("-0", 0),
        ("1_000", 1000),
        ("010", 8),
        ("0o17", 15),
        ("0x10", 16),
        ("0XfF", 255),
        ("0b101", 5),
        ("00", 0),
        ("4_294_967_295", u32::MAX),
    ];
    for (scalar, number) in spelled {
        assert_eq!(requests_per_unit(scalar), number, "{scalar}");
    }
}

#[test]
fn what_is_no_whole_number_from_0_to_2_32_is_refused_and_told() {
    let spelled = [
        ("'7'", "a string"),
        ("seven", "a string"),
        ("0xg", "a string"),
        ("0x+1", "a string"),
        ("1:30", "a string"),
        ("!!str 7", "a string"),
        ("-1", "the number -1"),
        ("4294967296", "the number 4294967296"),
        ("9223372036854775808", "the number 9223372036854775808"),
        ("-9223372036854775809", "the number -9223372036854775809"),
        ("99999999999999999999999", "the number 99999999999999999999999"),
        ("1.5", "the number 1.5"),
        ("7.", "the number 7."),
        (".5", "the number .5"),
        ("1e3", "the number 1e3"),
        ("08", "the number 08"),
        (".inf", "the number .inf"),
        ("-.INF", "the number -.INF"),
        (".nan", "the number .nan"),
        ("on", "the boolean on"),
        ("[1]", "a list"),
        ("{}", "a map"),
    ];
    for (scalar, found) in spelled {
        let text = format!(
            "domain: e\ndescriptors:\n- {{key: a, rate_limit: {{unit: day,\n   requests_per_unit: {scalar}}}}}"
        );
        let column = if scalar.starts_with('!') { 29 } else { 23 };
        let expected = format!(
            "a.yaml:4:{column}: e.descriptors[0].rate_limit: \
             requests_per_unit must be a whole number from 0 to 4294967295, found {found}"
        );
        assert_eq!(errors(&text), expected, "{scalar}");
    }
}

#[test]
fn an_unquoted_number_or_boolean_as_a_value_keeps_its_spelling() {
    for scalar in ["404", "010", "1_000", "0x10", "true", "yes", "n", "off", "1:30", "2024-01-31", "1.2.3"] {
        assert_eq!(value(scalar).as_deref(), Some(scalar));
    }
    assert_eq!(descriptors("domain: 1\ndescriptors: [{key: yes}]")[0].key, "yes");
}

#[test]
fn a_quoted_null_is_text_and_a_bare_one_is_none() {
    for scalar in ["~", "null", "Null", "NULL", ""] {
        assert_eq!(value(scalar), None, "{scalar}");
    }
    assert_eq!(value("'null'").as_deref(), Some("null"));
    assert_eq!(value("\"~\"").as_deref(), Some("~"));
    assert_eq!(value("!!str null").as_deref(), Some("null"));
    assert_eq!(value("nULL").as_deref(), Some("nULL"));
}

#[test]
fn a_text_that_no_double_can_hold_is_a_value() {
    for scalar in ["12e45678", "9e999", "-9e999", "._5", ".5_"] {
        assert_eq!(value(scalar).as_deref(), Some(scalar));
    }
}

#[test]
fn a_fraction_is_no_value() {
    for scalar in ["1.5", ".5", "1e3", "-1.5", "18446744073709551615"] {
        let expected =
            format!("a.yaml:2:31: e.descriptors[0]: value must be a string, found the number {scalar}");
        assert_eq!(errors(&format!("domain: e\ndescriptors: [{{key: a, value: {scalar}}}]")), expected);
    }
    assert_eq!(value("'1.5'").as_deref(), Some("1.5"));
}

mod resolved {
    use crate::config::{
        scalar::{self, Value, resolve},
        yaml::Scalar,
    };

    fn plain(text: &str) -> Value {
        resolve(&Scalar { text: text.to_owned(), plain: true })
    }

    #[test]
    fn yes_no_on_off_and_their_initials_are_booleans() {
        for text in ["y", "Y", "yes", "Yes", "YES", "on", "ON", "true", "True", "TRUE"] {
            assert_eq!(plain(text), Value::Bool(true), "{text}");
        }
        for text in ["n", "N", "no", "No", "NO", "off", "OFF", "false", "False", "FALSE"] {
            assert_eq!(plain(text), Value::Bool(false), "{text}");
        }
        for text in ["yES", "oN", "tRUE", "yess", "of"] {
            assert_eq!(plain(text), Value::Text, "{text}");
        }
    }

    #[test]
    fn the_least_and_the_greatest_integer_are_integers() {
        assert_eq!(plain("-9223372036854775808"), Value::Int(i64::MIN));
        assert_eq!(plain("9223372036854775807"), Value::Int(i64::MAX));
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in ["+", "-", ".", "_1", "--1", "-+1", "0x", "inf", "nan", "infinity", "1e", "1-2", "٣"] {
            assert_eq!(plain(text), Value::Text, "{text}");
        }
    }

    /// As Go's `yaml.v2` was seen to read them, 120,000 random ones of such letters beside these.
    #[test]
    fn no_number_beyond_a_double_and_no_stray_underscore_makes_a_text_a_number() {
        for text in ["12e45678", "9e999", "-1e400", ".9e999", "._5", ".5_", ".1__0", ".1_e3"] {
            assert_eq!(plain(text), Value::Text, "{text}");
        }
        for text in ["-0xffffffffffffffff", "+0xffffffffffffffff", "0x1p4", "0b1e3", "-0b+1"] {
            assert_eq!(plain(text), Value::Text, "{text}");
        }
        for text in [".1_0", "1e-400", "+_8.7", "5_.5", "0xffffffffffffffff", "+18446744073709551615"] {
            assert_eq!(plain(text), Value::Float, "{text}");
        }
        for (text, int) in [("+_28_", 28), ("-_10", -10), ("0b-1", -1), ("0b+1", 1), ("1__0", 10)] {
            assert_eq!(plain(text), Value::Int(int), "{text}");
        }
        assert!(scalar::float("-0x_f").total_cmp(&-15.0).is_eq());
    }
}
