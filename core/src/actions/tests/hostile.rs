//! Requests that nobody sends by accident.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::any, prop_assert, proptest};

use super::{has_plan, header, key, line, list, matching};
use crate::actions::{
    ActionSpec, Header, HeaderTest, HttpRequest, OwnSpec, RateLimit, TextMatchSpec, descriptors,
};

proptest! {
    #[test]
    fn no_request_is_too_strange(
        path in vec(any::<u8>(), 0..60),
        value in vec(any::<u8>(), 0..60),
        name in vec(any::<u8>(), 0..12),
    ) {
        let headers = [Header { name: &name, value: &value }, line("x-api-key", &value)];
        let request = HttpRequest {
            path: &path, host: &value, method: &name, headers: &headers, context_extensions: &headers,
            ..HttpRequest::default()
        };
        static LISTS: LazyLock<Vec<RateLimit>> = LazyLock::new(all_kinds);
        for list in &*LISTS {
            if let Ok(built) = list.descriptor(&request) {
                prop_assert!(built.entries().count() <= list.actions().len());
            }
        }
    }
}

/// A list for each kind of action, and for each command.
fn all_kinds() -> Vec<RateLimit> {
    let regex = HeaderTest::Text(TextMatchSpec::Regex(r"(\w+|[^a]\pL)*.?".to_owned()));
    let contains = HeaderTest::Text(TextMatchSpec::Contains { text: "\u{e9}".to_owned(), ignore_case: true });
    let own = OwnSpec::ContextExtension { key: "k".to_owned(), descriptor_key: None, skip_if_absent: true };
    let query = ActionSpec::QueryParameters {
        query_parameter_name: "id".to_owned(),
        descriptor_key: "id".to_owned(),
        skip_if_absent: false,
    };
    let formats = "%REQ(x-api-key?:path):3%%PATH(NQ)%%QUERY_PARAM(a)%%METADATA(ROUTE:a:b)%%PROTOCOL%";
    [
        key(formats),
        header("x-api-key", false),
        header(":path", true),
        matching(regex, true),
        matching(contains, false),
        matching(HeaderTest::Range { start: i64::MIN, end: i64::MAX }, true),
        query,
        has_plan(true, ""),
        ActionSpec::Own(own),
        ActionSpec::Own(OwnSpec::Host { descriptor_key: None }),
        ActionSpec::Own(OwnSpec::Path { descriptor_key: None }),
    ]
    .map(|spec| list([spec]))
    .into()
}

#[test]
fn a_request_of_many_mebibytes_takes_linear_time() {
    // 10,000 headers, one value of 60 kB, a path of 40 kB that is all parameters: quadratic work would take minutes.
    let names: Vec<String> = (0..10_000).map(|number| format!("x-header-{number}")).collect();
    let mut headers: Vec<Header<'_>> = names.iter().map(|name| line(name, b"value")).collect();
    let value = vec![b'a'; 60_000];
    headers.extend(vec![line("x-api-key", &value); 100]);
    let path = [b"/?".as_slice(), &b"%41&".repeat(10_000)].concat();
    let request = HttpRequest { path: &path, headers: &headers, ..HttpRequest::default() };
    let lists = all_kinds();
    let kept = descriptors(&lists, &request).filter(Result::is_ok).count();
    assert!(kept > 3, "{kept}");
}
