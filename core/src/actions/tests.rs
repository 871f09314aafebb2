use std::net::IpAddr;

use super::{
    Action, ActionError, ActionSpec, AmountSpec, Header, HeaderMatchSpec, HeaderTest, HitsAddend, HitsSpec,
    HttpRequest, KINDS, Metadata, MetadataSource, MetadataValue, OwnSpec, RateLimit, Reason, TextMatchSpec,
    descriptors,
};
use crate::descriptor::{Descriptor, Hits};

mod hostile;

/// Metadata with one text in it.
#[derive(Debug)]
struct Plan(&'static str);

impl Metadata for Plan {
    fn find(&self, source: MetadataSource, namespace: &str, path: &[String]) -> Option<MetadataValue<'_>> {
        let is_there = source == MetadataSource::Dynamic && namespace == "tenant" && path == ["plan"];
        is_there.then_some(MetadataValue::Text(self.0))
    }
}

pub(super) fn key(value: &str) -> ActionSpec {
    ActionSpec::GenericKey {
        descriptor_key: None,
        descriptor_value: value.to_owned(),
        default_value: String::new(),
    }
}

pub(super) fn header(name: &str, skip_if_absent: bool) -> ActionSpec {
    ActionSpec::RequestHeaders {
        header_name: name.to_owned(),
        descriptor_key: name.to_owned(),
        skip_if_absent,
    }
}

fn has_plan(skip_if_absent: bool, default_value: &str) -> ActionSpec {
    ActionSpec::Metadata {
        descriptor_key: "plan".to_owned(),
        namespace: "tenant".to_owned(),
        path: vec!["plan".to_owned()],
        default_value: default_value.to_owned(),
        source: MetadataSource::Dynamic,
        skip_if_absent,
    }
}

fn matching(test: HeaderTest, expect_match: bool) -> ActionSpec {
    let matcher = HeaderMatchSpec {
        name: "x-api-key".to_owned(),
        test,
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    ActionSpec::HeaderValueMatch {
        descriptor_key: None,
        descriptor_value: "v".to_owned(),
        default_value: String::new(),
        expect_match,
        headers: vec![matcher],
    }
}

fn list(specs: impl IntoIterator<Item = ActionSpec>) -> RateLimit {
    RateLimit::new(specs.into_iter().map(|spec| Action::new(spec).unwrap()).collect(), None).unwrap()
}

/// The descriptor as text, or the action that dropped it and why.
fn made(list: &RateLimit, request: &HttpRequest<'_>) -> Result<String, (Option<usize>, Reason)> {
    let built = list.descriptor(request).map_err(|dropped| (dropped.action, dropped.reason))?;
    let entries =
        built.entries().map(|entry| format!("{}={}", entry.key.escape_ascii(), entry.value.escape_ascii()));
    Ok(entries.collect::<Vec<_>>().join(" "))
}

fn line<'a>(name: &'a str, value: &'a [u8]) -> Header<'a> {
    Header { name: name.as_bytes(), value }
}

#[test]
fn the_first_action_that_finds_nothing_drops_the_descriptor_and_is_named() {
    let list = list([key("first"), header("x-a", false), header("x-b", false)]);
    let headers = [line("x-b", b"2")];
    let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
    assert_eq!(made(&list, &request), Err((Some(1), Reason::NoHeader)));
    let headers = [line("x-b", b"2"), line("x-a", b"1")];
    let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
    assert_eq!(
        made(&list, &request).unwrap(),
        "generic_key=first x-a=1 x-b=2",
        "in the order of the actions"
    );
    assert_eq!(list.actions()[1].to_string(), "request_headers x-a");
}

#[test]
fn a_list_of_which_every_action_is_skipped_makes_a_descriptor_without_entries() {
    let list = list([header("x-a", true), has_plan(true, "")]);
    assert_eq!(made(&list, &HttpRequest::default()).unwrap(), "");
}

#[test]
fn one_list_that_makes_nothing_does_not_touch_the_others() {
    let lists = [list([key("1")]), list([header("x-a", false)]), list([key("3")])];
    let request = HttpRequest::default();
    let kept: Vec<bool> = descriptors(&lists, &request).map(|made| made.is_ok()).collect();
    assert_eq!(kept, [true, false, true]);
}

#[test]
fn an_empty_header_is_a_value_and_an_empty_text_of_metadata_is_none() {
    let headers = [line("x-a", b"")];
    let request = HttpRequest { headers: &headers, metadata: &Plan(""), ..HttpRequest::default() };
    assert_eq!(made(&list([header("x-a", false)]), &request).unwrap(), "x-a=");
    assert_eq!(made(&list([has_plan(false, "")]), &request), Err((Some(0), Reason::NoMetadata)));
    assert_eq!(made(&list([has_plan(false, "free")]), &request).unwrap(), "plan=free");
    let request = HttpRequest { metadata: &Plan("pro"), ..request };
    assert_eq!(made(&list([has_plan(false, "free")]), &request).unwrap(), "plan=pro");
}

#[test]
fn of_a_repeated_header_the_first_line_counts_as_a_value_and_any_line_as_a_match() {
    let headers = [line("x-api-key", b"a"), line("x-api-key", b"b")];
    let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
    assert_eq!(made(&list([header("x-api-key", false)]), &request).unwrap(), "x-api-key=a");
    let exact =
        |text: &str| HeaderTest::Text(TextMatchSpec::Exact { text: text.to_owned(), ignore_case: false });
    assert_eq!(made(&list([matching(exact("b"), true)]), &request).unwrap(), "header_match=v");
    assert_eq!(made(&list([matching(exact("a,b"), true)]), &request), Err((Some(0), Reason::NoMatch)));
    assert_eq!(made(&list([matching(exact("b"), false)]), &request), Err((Some(0), Reason::Match)));
}

#[test]
fn what_envoy_has_joined_is_never_split_at_a_comma() {
    let headers = [line("x-api-key", b"a,b")];
    let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
    assert_eq!(made(&list([header("x-api-key", false)]), &request).unwrap(), "x-api-key=a,b");
    let exact = HeaderTest::Text(TextMatchSpec::Exact { text: "a".to_owned(), ignore_case: false });
    assert!(made(&list([matching(exact, true)]), &request).is_err());
}

#[test]
fn a_host_has_one_name_however_a_client_spells_it() {
    let by_host = list([ActionSpec::Own(OwnSpec::Host { descriptor_key: None })]);
    let name = |host: &str| made(&by_host, &HttpRequest { host: host.as_bytes(), ..HttpRequest::default() });
    for host in ["edge.test", "EDGE.test", "edge.test:80", "edge.test.", "Edge.Test.:8080", "edge.test:"] {
        assert_eq!(name(host).unwrap(), "host=edge.test", "{host}");
    }
    for (host, expected) in [("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("::1", "::1"), ("a:b", "a:b")] {
        assert_eq!(name(host).unwrap(), format!("host={expected}"));
    }
    assert_eq!(name("").unwrap_err().1, Reason::NotKnown);
}

#[test]
fn the_actions_of_our_own_say_what_the_request_says_and_drop_where_it_says_nothing() {
    let none = None::<String>;
    let all = list([
        ActionSpec::Own(OwnSpec::Path { descriptor_key: none.clone() }),
        ActionSpec::Own(OwnSpec::Method { descriptor_key: Some("verb".to_owned()) }),
        ActionSpec::Own(OwnSpec::Principal { descriptor_key: none.clone(), skip_if_absent: true }),
        ActionSpec::Own(OwnSpec::ContextExtension {
            key: "route".to_owned(),
            descriptor_key: none,
            skip_if_absent: false,
        }),
    ]);
    let extensions = [line("other", b"1"), line("route", b"")];
    let request = HttpRequest {
        method: b"GET",
        path: b"/a?b=/c",
        context_extensions: &extensions,
        ..HttpRequest::default()
    };
    assert_eq!(made(&all, &request).unwrap(), "path=/a verb=GET context_extension=");
    let request = HttpRequest { principal: b"spiffe://a", ..request };
    let expected = "path=/a verb=GET principal=spiffe://a context_extension=";
    assert_eq!(made(&all, &request).unwrap(), expected);
    let request = HttpRequest { context_extensions: &[], ..request };
    assert_eq!(made(&all, &request), Err((Some(3), Reason::NotKnown)));
}

#[test]
fn an_address_that_is_not_known_drops_the_descriptor_and_a_known_one_is_cut_to_its_network() {
    let by_address = list([
        ActionSpec::RemoteAddress,
        ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: Some(20), v6_prefix_mask_len: Some(33) },
    ]);
    assert_eq!(made(&by_address, &HttpRequest::default()), Err((Some(0), Reason::NoAddress)));
    for (address, network) in [
        ("203.0.113.7", "203.0.112.0/20"),
        ("2001:db8:ffff::1", "2001:db8:8000::/33"),
        ("::1.2.3.4", "::/33"),
    ] {
        let parsed: IpAddr = address.parse().unwrap();
        let request = HttpRequest { remote_address: Some(parsed), ..HttpRequest::default() };
        let expected = format!("remote_address={address} masked_remote_address={network}");
        assert_eq!(made(&by_address, &request).unwrap(), expected);
    }
}

#[test]
fn a_value_that_comes_out_empty_is_its_default_or_drops_the_descriptor() {
    let with = |default: &str| ActionSpec::GenericKey {
        descriptor_key: Some("k".to_owned()),
        descriptor_value: "%REQ(x-a)%%REQ(x-b)%".to_owned(),
        default_value: default.to_owned(),
    };
    let nothing = HttpRequest::default();
    assert_eq!(made(&list([with("")]), &nothing), Err((Some(0), Reason::EmptyValue)));
    assert_eq!(made(&list([with("d")]), &nothing).unwrap(), "k=d");
    let headers = [line("x-b", b"b")];
    assert_eq!(made(&list([with("d")]), &HttpRequest { headers: &headers, ..nothing }).unwrap(), "k=b");
}

#[test]
fn hits_that_are_no_number_in_bounds_drop_the_descriptor() {
    let cost = |text: &[u8], is_negative_hits| {
        let spec = HitsSpec { amount: AmountSpec::Format("%REQ(x-cost)%".to_owned()), is_negative_hits };
        let actions = vec![Action::new(key("k")).unwrap()];
        let list = RateLimit::new(actions, Some(HitsAddend::new(spec).unwrap())).unwrap();
        let headers = [line("x-cost", text)];
        let request = HttpRequest { headers: &headers, ..HttpRequest::default() };
        list.descriptor(&request).map(|built| built.hits()).map_err(|dropped| dropped.reason)
    };
    assert_eq!(cost(b"7", false), Ok(Hits::Take(7)));
    assert_eq!(cost(b"7.9", true), Ok(Hits::GiveBack(7)));
    assert_eq!(cost(b"0", false), Ok(Hits::Peek));
    // Envoy makes 2^63 hits of nan, which would give back everything.
    for junk in ["", "abc", "-1", "1000000001", "nan", "NaN", "inf", "0x", "1 2", "\u{663}"] {
        assert_eq!(cost(junk.as_bytes(), true), Err(Reason::NoHits), "{junk}");
    }
    assert_eq!(cost(b"\xff", false), Err(Reason::NoHits));
}

#[test]
fn the_limiter_gets_the_entries_and_one_hit_where_the_list_says_nothing_of_hits() {
    let (list, request) = (list([key("a"), key("b")]), HttpRequest::default());
    let built = list.descriptor(&request).unwrap();
    let entries = [(b"generic_key".as_slice(), b"a".as_slice()), (b"generic_key", b"b")];
    assert_eq!(built.as_descriptor(), Descriptor::new(entries, Hits::One));
}

/// What is refused, as an operator reads it.
fn refused(spec: ActionSpec) -> String {
    Action::new(spec).unwrap_err().to_string()
}

#[test]
fn an_error_names_the_field_below_the_action() {
    assert_eq!(refused(key("")), "descriptor_value: is missing or empty");
    assert_eq!(refused(header("x y", false)), "header_name: 'x y' cannot be the name of a header");
    assert_eq!(
        refused(matching(HeaderTest::Text(TextMatchSpec::Regex("(".to_owned())), true)),
        "headers[0].safe_regex: not a regular expression: unclosed group"
    );
    assert_eq!(
        refused(ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: Some(33), v6_prefix_mask_len: None }),
        "v4_prefix_mask_len: 33 is not a prefix length, which is at most 32"
    );
    assert_eq!(
        refused(key("100%")),
        "descriptor_value: '%' begins no command such as %REQ(x-tenant)%; a percent sign is written %%"
    );
    assert_eq!(RateLimit::new(Vec::new(), None).unwrap_err().to_string(), "actions: is missing or empty");
}

#[test]
fn an_action_that_is_not_known_is_refused_with_those_that_are_or_with_the_reason() {
    let text = ActionError::unknown_action("request_header").to_string();
    assert!(text.contains("no action 'request_header'") && text.contains(&KINDS.join(", ")), "{text}");
    let text = ActionError::unknown_action("source_cluster").to_string();
    assert!(text.contains("write a generic_key"), "{text}");
}
