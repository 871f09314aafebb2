//! What the descriptors of an ordinary request allocate: nothing.

use std::{alloc::System, hint::black_box, net::IpAddr};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_core::actions::{
    Action, ActionSpec, Header, HeaderMatchSpec, HeaderTest, HttpRequest, RateLimit, TextMatchSpec,
    descriptors,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each kind of action once, and formats.
fn lists() -> Vec<RateLimit> {
    let text = str::to_owned;
    let key = |value: &str| ActionSpec::GenericKey {
        descriptor_key: None,
        descriptor_value: text(value),
        default_value: text("none"),
    };
    let matcher = HeaderMatchSpec {
        name: text("x-api-key"),
        test: HeaderTest::Text(TextMatchSpec::Regex(text("[a-z]+"))),
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    let matching = ActionSpec::HeaderValueMatch {
        descriptor_key: None,
        descriptor_value: text("client %REQ(x-api-key)%"),
        default_value: String::new(),
        expect_match: true,
        headers: vec![matcher],
    };
    let header = ActionSpec::RequestHeaders {
        header_name: text("x-api-key"),
        descriptor_key: text("api_key"),
        skip_if_absent: false,
    };
    let query = ActionSpec::QueryParameters {
        query_parameter_name: text("id"),
        descriptor_key: text("id"),
        skip_if_absent: false,
    };
    let network =
        ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: Some(24), v6_prefix_mask_len: Some(64) };
    let lists = [
        vec![key("login"), header.clone(), ActionSpec::RemoteAddress, network],
        vec![matching, query, key("%REQ(x-tenant?x-api-key)%")],
        vec![key("%PATH(NQ)%:%QUERY_PARAM(id)%"), header],
    ];
    let checked = |specs: Vec<ActionSpec>| {
        let actions = specs.into_iter().map(|spec| Action::new(spec).expect("sound"));
        RateLimit::new(actions.collect(), None).expect("sound")
    };
    lists.map(checked).into()
}

#[test]
fn an_ordinary_request_allocates_nothing() {
    let lists = lists();
    let headers = [Header { name: b"accept", value: b"*/*" }, Header { name: b"x-api-key", value: b"alice" }];
    let request = HttpRequest {
        method: b"GET",
        host: b"edge.test",
        path: b"/login?id=%37",
        headers: &headers,
        remote_address: Some(IpAddr::from([203, 0, 113, 7])),
        ..HttpRequest::default()
    };
    // The regular expression makes room for its automaton when it is first asked.
    let made =
        || descriptors(&lists, &request).map(|made| black_box(made).is_ok()).filter(|&made| made).count();
    assert_eq!(made(), 3);
    let region = Region::new(ALLOCATOR);
    assert_eq!(made(), 3);
    assert_eq!(region.change().allocations, 0);
}
