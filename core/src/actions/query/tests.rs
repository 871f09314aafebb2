use proptest::{prop_assert_eq, proptest};

use super::first;

fn value(path: &str, name: &str) -> Option<String> {
    first(path.as_bytes(), name).map(|value| value.escape_ascii().to_string())
}

#[test]
fn names_and_values_are_decoded_and_the_first_of_a_name_counts() {
    let found =
        |path, name, expected: &str| assert_eq!(value(path, name).as_deref(), Some(expected), "{path}");
    found("/?id=7&id=8", "id", "7");
    found("/?i%64=%37", "id", "7");
    found("/?id", "id", "");
    found("/?a&i%64", "id", "");
    found("/?id=a=b", "id", "a=b");
    found("/?id=a+b%20c", "id", "a+b c");
    found("/?id=%&x=%2&y=%zz", "id", "%");
    found("/?x=%2", "x", "%2");
    found("/?id=%ff%00", "id", "\\xff\\x00");
    found("/a?b?id=1", "b?id", "1");
}

#[test]
fn a_parameter_that_is_not_there_is_none() {
    for path in ["", "/", "/?", "/id=1", "/?x=id=1", "/?ID=1", "/?i%2564=1", "/?=id"] {
        assert_eq!(value(path, "id"), None, "{path}");
    }
}

proptest! {
    #[test]
    fn whatever_is_encoded_comes_back(text in ".{0,12}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/?x{encoded}={encoded}");
        prop_assert_eq!(&*first(path.as_bytes(), &format!("x{text}")).unwrap(), text.as_bytes());
    }
}
