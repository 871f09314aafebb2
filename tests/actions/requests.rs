//! Random requests: sent to Envoy over HTTP/1.1, or handed to the engine.

use std::{fmt, net::IpAddr, net::SocketAddr};

use rand::{
    Rng as _, RngExt as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tollgate_core::actions::{Header, HttpRequest, Metadata, MetadataSource, MetadataValue, write_number};

use crate::{
    node,
    words::{
        ADDRESSES, HOSTS, METHODS, NAMES, NUMBERS, PARAMETERS, PATHS, PLANS, SEPARATORS, VALUES, WEIGHTS,
    },
};

/// One request, and the metadata that Envoy's filters write for it.
pub(crate) struct Sent {
    method: &'static str,
    host: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    address: IpAddr,
    metadata: Tree,
}

/// Metadata as JSON.
#[derive(Debug)]
struct Tree {
    dynamic: Value,
    route: Value,
}

impl Sent {
    pub(crate) fn random(random: &mut StdRng) -> Sent {
        let mut headers = Vec::new();
        for name in ["x-api-key", "x-tenant"] {
            for _ in 0..*[0, 0, 1, 1, 1, 1, 2, 3].choose(random).expect("some") {
                headers.push((name, value(random)));
            }
        }
        for _ in 0..*[0, 1, 1, 1, 2].choose(random).expect("some") {
            headers.push(("x-number", pick(NUMBERS, random).as_bytes().to_vec()));
        }
        if random.random_range(0..6) == 0 {
            headers.push(("x-envoy-original-path", path(random).into_bytes()));
        }
        let mut tenant = Map::new();
        if random.random() {
            let plan = pick(&PLANS, random);
            headers.push(("x-plan", plan.as_bytes().to_vec()));
            tenant.insert("plan".to_owned(), plan.into());
        }
        if random.random() {
            let weight = pick(&WEIGHTS, random);
            headers.push(("x-weight", weight.as_bytes().to_vec()));
            tenant.insert("weight".to_owned(), weight.parse::<f64>().expect("a number").into());
        }
        let address = if random.random_range(0..8) > 0 {
            let address = pick(&ADDRESSES, random);
            headers.push(("x-forwarded-for", address.as_bytes().to_vec()));
            address.rsplit(", ").next().and_then(|last| last.parse().ok()).expect("an address")
        } else {
            IpAddr::from([127, 0, 0, 1])
        };
        headers.shuffle(random);
        let mut dynamic = json!({ "fixed": node::fixed() });
        if !tenant.is_empty() {
            dynamic["tenant"] = tenant.into();
        }
        Sent {
            method: pick(&METHODS, random),
            host: pick(&HOSTS, random),
            path: path(random),
            headers,
            address,
            metadata: Tree { dynamic, route: json!({ "route": node::route() }) },
        }
    }

    /// Sends the request on a connection of its own and returns the status.
    pub(crate) async fn send(&self, to: SocketAddr) -> u16 {
        let mut text =
            format!("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.method, self.path, self.host)
                .into_bytes();
        for (name, value) in &self.headers {
            text.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        let mut stream = TcpStream::connect(to).await.expect("connects");
        stream.write_all(&text).await.expect("writes");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("reads");
        let status = answer.get(9..12).and_then(|status| str::from_utf8(status).ok());
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer to {self:?}"))
    }

    pub(crate) fn with_request<T>(&self, use_it: impl FnOnce(&HttpRequest<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> =
            self.headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value }).collect();
        use_it(&HttpRequest {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            scheme: b"http",
            protocol: b"HTTP/1.1",
            headers: &headers,
            remote_address: Some(self.address),
            metadata: &self.metadata,
            ..HttpRequest::default()
        })
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.host, self.path)?;
        self.headers.iter().try_for_each(|(name, value)| write!(f, " | {name}: {}", value.escape_ascii()))
    }
}

impl Metadata for Tree {
    fn find(&self, source: MetadataSource, namespace: &str, path: &[String]) -> Option<MetadataValue<'_>> {
        let tree = match source {
            MetadataSource::Dynamic => &self.dynamic,
            MetadataSource::Route => &self.route,
        };
        let found = path.iter().try_fold(tree.get(namespace)?, |value, key| value.as_object()?.get(key));
        match found? {
            Value::Null => None,
            Value::String(text) => Some(MetadataValue::Text(text)),
            Value::Bool(value) => Some(MetadataValue::Bool(*value)),
            Value::Number(number) => number.as_f64().map(MetadataValue::Number),
            other => Some(MetadataValue::Json(json_text(other))),
        }
    }
}

/// JSON as Envoy writes it.
fn json_text(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Number(number) => {
            let mut text = String::new();
            write_number(&mut text, number.as_f64().expect("a number")).expect("a string takes everything");
            text
        }
        Value::Array(values) => format!("[{}]", list(values.iter().map(json_text).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{}:{}", json!(key), json_text(value)));
            format!("{{{}}}", list(fields.collect()))
        }
        other => other.to_string(),
    }
}

fn pick<T: Copy>(from: &[T], random: &mut StdRng) -> T {
    *from.choose(random).expect("not empty")
}

fn value(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..20) {
        0 => vec![b'a'; random.random_range(100..5_000)],
        1 => {
            let mut bytes = vec![0; random.random_range(1..12)];
            random.fill_bytes(&mut bytes);
            // A header cannot hold control bytes, and blanks at its ends would be lost.
            bytes
                .iter_mut()
                .for_each(|byte| *byte = if *byte < 0x21 || *byte == 0x7f { b'_' } else { *byte });
            bytes
        }
        _ => pick(&VALUES, random).to_vec(),
    }
}

fn path(random: &mut StdRng) -> String {
    let mut path = pick(&PATHS, random).to_owned();
    for number in 0..*[0, 0, 1, 1, 2, 3, 5].choose(random).expect("some") {
        path.push_str(if number == 0 { "?" } else { pick(&SEPARATORS, random) });
        path.push_str(pick(&NAMES, random));
        if random.random_range(0..4) > 0 {
            path.push('=');
            path.push_str(pick(&PARAMETERS, random));
        }
    }
    if random.random_range(0..12) == 0 {
        path.push_str(pick(&["?", "&", "&&", "=", "&id"], random));
    }
    path
}
