//! The reader against prost.

use std::collections::HashMap;

use proptest::prelude::*;
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

use super::*;
use crate::pb::{
    HeaderValue,
    auth::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Peer, Request},
    },
    core::{Address, HeaderMap, Metadata, SocketAddress, address},
};
use tollgate_core::actions::{Metadata as _, MetadataSource, MetadataValue};

fn texts() -> impl Strategy<Value = HashMap<String, String>> {
    prop::collection::hash_map("[a-z-]{0,8}", ".{0,12}", 0..5)
}

fn header_map() -> impl Strategy<Value = Option<HeaderMap>> {
    let line = ("[a-z-]{0,8}", ".{0,8}", prop::collection::vec(any::<u8>(), 0..5));
    let line = line.prop_map(|(key, value, raw)| HeaderValue {
        key: key.into(),
        value: value.into(),
        raw_value: raw.into(),
    });
    prop::option::of(prop::collection::vec(line, 0..4).prop_map(|headers| HeaderMap { headers }))
}

fn peers() -> impl Strategy<Value = Option<Peer>> {
    let peer = (".{0,9}", ".{0,9}", texts()).prop_map(|(address, principal, labels)| {
        let socket = SocketAddress { address, ..SocketAddress::default() };
        let address = Address { address: Some(address::Address::SocketAddress(socket)) };
        Peer { address: Some(address), principal, labels, service: "client".to_owned(), ..Peer::default() }
    });
    prop::option::of(peer)
}

prop_compose! {
    fn requests()(
        source in peers(),
        headers in texts(),
        header_map in header_map(),
        extensions in texts(),
        [method, path, host, scheme, protocol, body] in prop::array::uniform6(".{0,9}"),
        size in any::<i64>(),
    ) -> CheckRequest {
        let http = HttpRequest {
            id: "7".to_owned(), method, headers, header_map, path, host, scheme, size, protocol, body,
            ..HttpRequest::default()
        };
        let request = Request { time: None, http: Some(http) };
        let attributes = AttributeContext {
            source, request: Some(request), context_extensions: extensions, ..AttributeContext::default()
        };
        CheckRequest { attributes: Some(attributes) }
    }
}

fn sorted(lines: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort();
    lines
}

fn read(headers: &[Header<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    sorted(headers.iter().map(|header| (header.name.to_vec(), header.value.to_vec())))
}

fn pairs(texts: &HashMap<String, String>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    texts.iter().map(|(key, value)| (key.clone().into_bytes(), value.clone().into_bytes()))
}

proptest! {
    #[test]
    fn a_request_says_here_what_it_says_to_prost(request in requests()) {
        let bytes = request.encode_to_vec();
        let found = Attributes::read(&bytes).unwrap();
        let attributes = request.attributes.unwrap();
        let http = attributes.request.unwrap().http.unwrap();
        let texts = [found.method, found.path, found.host, found.scheme, found.protocol];
        let expected = [&http.method, &http.path, &http.host, &http.scheme, &http.protocol];
        prop_assert_eq!(texts, expected.map(|text| text.as_bytes()));
        let lines = http.header_map.unwrap_or_default().headers.into_iter().map(|line| {
            let value = if line.raw_value.is_empty() { line.value } else { line.raw_value };
            (line.key.to_vec(), value.to_vec())
        });
        prop_assert_eq!(read(&found.headers), sorted(pairs(&http.headers).chain(lines)));
        prop_assert_eq!(read(&found.context_extensions), sorted(pairs(&attributes.context_extensions)));
        let source = attributes.source.unwrap_or_default();
        prop_assert_eq!(found.principal, source.principal.as_bytes());
        let address = source.address.and_then(|address| match address.address {
            Some(address::Address::SocketAddress(socket)) => Some(socket.address),
            _ => None,
        });
        let address = address.unwrap_or_default();
        prop_assert_eq!(found.source_address, address.as_bytes());
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_and_none_panics(
        request in requests(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let read = Attributes::read(&bytes).is_ok();
            // prost also checks what is skipped here, and UTF-8.
            prop_assert!(read || CheckRequest::decode(&bytes[..]).is_err());
            let _ = Attributes::read(&bytes[..at]);
        }
    }
}

#[test]
fn lines_of_a_header_map_keep_their_order() {
    let line =
        |value: &'static str| HeaderValue { key: "x".into(), value: value.into(), ..Default::default() };
    let http = HttpRequest {
        header_map: Some(HeaderMap { headers: vec![line("b"), line("a"), line("c")] }),
        ..HttpRequest::default()
    };
    let request = Request { http: Some(http), ..Request::default() };
    let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
    let bytes = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
    let found = Attributes::read(&bytes).unwrap();
    let values: Vec<&[u8]> = found.headers.iter().map(|header| header.value).collect();
    assert_eq!(values, [b"b", b"a", b"c"]);
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn fields(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, kind)| (key.to_owned(), value(kind))).collect() }
}

#[test]
fn metadata_is_found_by_its_path_in_each_of_its_types() {
    let list =
        prost_types::ListValue { values: vec![value(Kind::NumberValue(1.0)), value(Kind::BoolValue(false))] };
    let below = fields([
        ("text", Kind::StringValue("gold".to_owned())),
        ("number", Kind::NumberValue(1.5)),
        ("bool", Kind::BoolValue(true)),
        ("null", Kind::NullValue(0)),
        ("list", Kind::ListValue(list)),
    ]);
    let top = fields([("a", Kind::StructValue(below)), ("plan", Kind::StringValue("\"free\"".to_owned()))]);
    let route = fields([("plan", Kind::StringValue("route".to_owned()))]);
    let metadata = |found: Struct| Metadata {
        filter_metadata: HashMap::from([("ns".to_owned(), found), ("other".to_owned(), Struct::default())]),
    };
    let attributes = AttributeContext {
        metadata_context: Some(metadata(top)),
        route_metadata_context: Some(metadata(route)),
        ..AttributeContext::default()
    };
    let bytes = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
    let found = Attributes::read(&bytes).unwrap();
    let find = |source, namespace, path: &str| {
        let path: Vec<String> = path.split(':').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        found.contexts.find(source, namespace, &path)
    };
    let (dynamic, text) = (MetadataSource::Dynamic, MetadataValue::Text);
    assert_eq!(find(dynamic, "ns", "a:text"), Some(text("gold")));
    assert_eq!(find(MetadataSource::Route, "ns", "plan"), Some(text("route")));
    assert_eq!(find(dynamic, "ns", "a:number"), Some(MetadataValue::Number(1.5)));
    assert_eq!(find(dynamic, "ns", "a:bool"), Some(MetadataValue::Bool(true)));
    assert_eq!(find(dynamic, "ns", "a:list"), Some(MetadataValue::Json("[1,false]".to_owned())));
    let json =
        r#"{"a":{"bool":true,"list":[1,false],"null":null,"number":1.5,"text":"gold"},"plan":"\"free\""}"#;
    assert_eq!(find(dynamic, "ns", ""), Some(MetadataValue::Json(json.to_owned())));
    for (namespace, path) in [("ns", "a:null"), ("ns", "b"), ("ns", "plan:x"), ("none", "a"), ("other", "a")]
    {
        assert_eq!(find(dynamic, namespace, path), None, "{namespace} {path}");
    }
}
