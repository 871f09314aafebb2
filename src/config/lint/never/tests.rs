use super::doubt;

#[track_caller]
fn told(key: &str, value: &str) -> String {
    doubt(key, value).unwrap_or_else(|| panic!("{key}: {value} is not doubted"))
}

#[test]
fn a_range_or_a_port_is_no_address() {
    let range = |instead: &str| {
        format!(
            "never matches: `remote_address` carries one address, which never equals a range; \
                 {instead}use masked_remote_address in Envoy's actions"
        )
    };
    assert_eq!(told("remote_address", "10.0.0.0/8"), range("write `10.*`, or "));
    assert_eq!(told("remote_address", "10.1.0.0/16"), range("write `10.1.*`, or "));
    assert_eq!(told("remote_address", "10.1.2.0/24"), range("write `10.1.2.*`, or "));
    assert_eq!(told("remote_address", "10.1.2.*/24"), range("write `10.1.2.*`, or "));
    for value in ["10.0.0.0/12", "2001:db8::/32", "10.0.0.1/32", "::/0"] {
        assert_eq!(told("remote_address", value), range(""), "{value}");
    }
    for key in ["x-forwarded-for", "X-Forwarded-For", "x-real-ip"] {
        assert!(told(key, "10.0.0.0/8").contains("which never equals a range"), "{key}");
    }
    for value in ["10.0.0.1:443", "[::1]:443"] {
        assert_eq!(
            told("remote_address", value),
            "never matches: `remote_address` carries an address without its port"
        );
    }
    assert!(told("remote_address", "10.0.0").contains("carries an address, and this is not one"));
    assert!(told("remote_address", "10.0.0.256").contains("carries an address, and this is not one"));
}

#[test]
fn an_address_that_envoy_writes_otherwise_is_told_as_envoy_writes_it() {
    for (value, written) in
        [("2001:DB8::1", "2001:db8::1"), ("2001:db8:0:0:0:0:0:1", "2001:db8::1"), ("[::1]", "::1")]
    {
        assert_eq!(
            told("remote_address", value),
            format!("never matches: Envoy writes this address as `{written}`")
        );
    }
    for (value, written) in
        [("10.1.2.3/8", "10.0.0.0/8"), ("2001:DB8::/32", "2001:db8::/32"), ("10.0.0.1/0", "0.0.0.0/0")]
    {
        assert_eq!(
            told("masked_remote_address", value),
            format!("never matches: Envoy writes this range as `{written}`")
        );
    }
    assert!(told("masked_remote_address", "10.1.2.3").contains("carries a range"));
}

#[test]
fn a_regular_expression_is_told_what_to_write_instead_where_that_is_plain() {
    let no_expression = |instead: &str| {
        format!(
            "a value is not a regular expression: `*` matches any characters, and everything else matches \
                 itself{instead}"
        )
    };
    for (key, value, instead) in [
        ("PATH", "^/api/.*$", "; write `/api/*`"),
        ("path", "/api/.*", "; write `/api/*`"),
        ("user-agent", ".*bot.*", "; write `*bot*`"),
        ("plan", "^gold$", "; write `gold`"),
        ("path", "/users/[0-9]+", ""),
        ("path", "/users/\\d+", ""),
        ("host", "api\\.example\\.com", ""),
        ("path", "/(a|b)/c", ""),
        ("path", "(?i)/login", ""),
    ] {
        assert_eq!(told(key, value), no_expression(instead), "{key}: {value}");
    }
}

#[test]
fn a_query_under_any_key_that_carries_a_path_is_told() {
    for key in [":path", "PATH", "path", "request_path", "x-envoy-original-path", "requestPath", "uri", "URL"]
    {
        assert!(told(key, "/login?next=*").starts_with("a `?` in the value of a path"), "{key}");
    }
    assert_eq!(told(":method", "get"), "never matches: methods are in upper case; write `GET`");
}

#[test]
fn what_may_be_meant_is_not_doubted() {
    for (key, value) in [
        ("remote_address", "10.0.0.1"),
        ("remote_address", "10.*"),
        ("remote_address", "2001:db8::1"),
        ("remote_address", "2001:db8:*"),
        ("remote_address", "::ffff:10.0.0.1"),
        ("remote_address", "internal"),
        ("remote_address", "trusted/office"),
        ("x-forwarded-for", "10.0.0.1:443"),
        ("masked_remote_address", "10.0.0.0/8"),
        ("masked_remote_address", "0.0.0.0/0"),
        ("masked_remote_address", "2001:db8::/32"),
        ("masked_remote_address", "10.*"),
        ("masked_remote_address", "::ffff:10.0.0.0/104"),
        ("generic_key", "10.0.0.0/8"),
        ("cidr", "10.0.0.0/8"),
        ("PATH", "/api/*"),
        ("PATH", "/.*"),
        ("path", "/.well-known/*"),
        ("path", "/a.b/c+d/$metadata"),
        ("path", "/v1/models/gemini:generate(x)"),
        ("host", "*.example.com"),
        ("host", "example.*"),
        ("host", "api.example.com:8443"),
        ("destination_cluster", "outbound|80||a.b.svc.cluster.local"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("header_match", "quote-path-auth"),
        ("query", "a?b"),
        ("what", "really?"),
        ("price", "$5"),
        ("user", "CORP\\dave"),
        ("user", "CORP\\bob"),
        ("caret", "^"),
        (":method", "GET"),
        ("method", "get"),
    ] {
        assert_eq!(doubt(key, value), None, "{key}: {value}");
    }
}
