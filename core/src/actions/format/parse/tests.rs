use proptest::proptest;

use super::super::{Format, FormatError};
use crate::actions::{Header, HttpRequest, write_number};

fn value(format: &str) -> Vec<u8> {
    let headers = [Header { name: b"x-a", value: b"\xffab" }, Header { name: b"x-empty", value: b"" }];
    let request = HttpRequest {
        method: b"GET",
        path: b"/p?q=%41&r",
        headers: &headers,
        remote_address: Some([203, 0, 113, 7].into()),
        principal: b"spiffe://a",
        ..HttpRequest::default()
    };
    Format::new(format).unwrap().value(&request).to_vec()
}

#[test]
fn each_command_is_what_the_request_says_and_the_rest_stands_as_written() {
    assert_eq!(value("plain"), b"plain");
    assert_eq!(value("a%%b"), b"a%b");
    assert_eq!(value("<%REQ(X-A)%>"), b"<\xffab>");
    assert_eq!(value("%REQ(x-a):2%"), b"\xffa");
    assert_eq!(value("%REQ(x-none?:method)%"), b"GET");
    assert_eq!(value("%REQ(x-empty?:method)%"), b"", "a header without a value is there");
    assert_eq!(value("%REQ(x-none)%-"), b"-");
    assert_eq!(value("%PATH%|%PATH(NQ)%|%QUERY_PARAM(q)%"), b"/p?q=%41&r|/p|A");
    assert_eq!(value("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), b"203.0.113.7");
    assert_eq!(value("%DOWNSTREAM_PEER_URI_SAN%"), b"spiffe://a");
}

#[test]
fn a_command_that_is_not_known_or_not_whole_is_refused() {
    let refused = |format: &str| Format::new(format).unwrap_err();
    assert_eq!(refused("%RESP(x)%"), FormatError::Unknown("RESP".to_owned()));
    assert_eq!(refused("%REQ(a)%%"), FormatError::NoCommand("%".to_owned()));
    assert_eq!(refused("50% off"), FormatError::NoCommand("% off".to_owned()));
    assert_eq!(refused("%PROTOCOL:3%"), FormatError::Length("PROTOCOL".to_owned()));
    for format in [
        "%REQ%",
        "%REQ()%",
        "%REQ(a?b?c)%",
        "%REQ(a b)%",
        "%REQ(a)",
        "%REQ(a):x%",
        "%PROTOCOL()%",
        "%PATH(X)%",
        "%%%",
    ] {
        assert!(Format::new(format).is_err(), "{format}");
    }
}

#[test]
fn a_number_is_written_in_the_shorter_notation() {
    for (number, text) in [
        (0.0, "0"),
        (-2.5, "-2.5"),
        (100_000.0, "1e+05"),
        (1_000.0, "1000"),
        (12_345_678_901.0, "12345678901"),
        (1e-7, "1e-07"),
        (0.0001, "1e-04"),
        (0.001, "0.001"),
        (1.5e300, "1.5e+300"),
    ] {
        let mut written = String::new();
        write_number(&mut written, number).unwrap();
        assert_eq!(written, text);
    }
}

proptest! {
    #[test]
    fn no_format_is_too_strange(format in r"[%():?a-cé]{0,6}(%|REQ|PATH|METADATA|[:()?0-9%a-c]){0,12}") {
        if let Ok(format) = Format::new(&format) {
            let _ = format.value(&HttpRequest::default());
        }
    }
}
