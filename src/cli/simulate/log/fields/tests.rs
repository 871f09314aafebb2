use super::*;

#[test]
fn usual_names_say_what_they_say_in_any_spelling_and_all_others_are_headers() {
    let mut names = Names::default();
    names.tell("k", Role::Header(b"x-api-key"[..].into()));
    let mut fields = Fields::default();
    for (name, value) in [
        ("path", "/rewritten"),
        ("X-ENVOY-ORIGINAL-PATH", "/a?b=c"),
        ("authority", "example.com"),
        ("downstream_remote_address", "[2001:db8::1]:443"),
        ("user_agent", "curl"),
        ("k", "abc"),
        ("x_empty", "-"),
    ] {
        let name = names.index(name).unwrap();
        fields.put(name, value.as_bytes());
    }
    fields.request(&names, |request| {
        assert_eq!((request.path, request.host), (&b"/a?b=c"[..], &b"example.com"[..]));
        assert_eq!(request.remote_address, Some("2001:db8::1".parse().unwrap()));
        let headers: Vec<&[u8]> = request.headers.iter().map(|header| header.name).collect();
        assert_eq!(headers, [&b"user-agent"[..], b"x-api-key"]);
    });
}

#[test]
fn without_an_address_the_last_forwarded_one_counts() {
    let mut names = Names::default();
    let mut fields = Fields::default();
    let name = names.index("x_forwarded_for").unwrap();
    fields.put(name, b"10.0.0.1, 203.0.113.7");
    fields.request(&names, |request| {
        assert_eq!(request.remote_address, Some("203.0.113.7".parse().unwrap()));
    });
    let name = names.index("downstream_remote_address").unwrap();
    fields.put(name, b"198.51.100.2:1234");
    fields.request(&names, |request| {
        assert_eq!(request.remote_address, Some("198.51.100.2".parse().unwrap()));
    });
}
