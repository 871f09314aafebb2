//! Which lists of actions count for a request: `tollgate explain` follows an Envoy configuration as a real Envoy does.

mod nodes;

use std::{fmt, net::SocketAddr};

use lab::{binaries::Part, envoy::Envoy};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tollgate::config::envoy::{self, EnvoyFile};
use tollgate_core::actions::{Header, HttpRequest};

use self::nodes::{all_matches, all_places, config, with_hits};
use crate::{Seen, node, recorder::Recorder};

#[derive(Debug, Clone)]
struct Get {
    host: String,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
}

/// What is sent for one request: the domain and the descriptors.
#[derive(PartialEq, Eq)]
struct Asked {
    domain: String,
    descriptors: Vec<Seen>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.domain, self.descriptors)
    }
}

/// The status of the answer.
async fn send(get: &Get, to: SocketAddr) -> u16 {
    let headers: String = get.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text =
        format!("GET {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n", get.path, get.host);
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.write_all(text.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("reads");
    let status = answer.get(9..12).and_then(|status| str::from_utf8(status).ok()?.parse().ok());
    status.unwrap_or_else(|| panic!("no answer to {get:?}"))
}

/// None if Envoy does not ask.
async fn by_envoy(get: &Get, to: SocketAddr, recorder: &mut Recorder) -> Option<Asked> {
    // The recorder answers OVER_LIMIT, so any other status means that Envoy did not ask it.
    if send(get, to).await != 429 {
        return None;
    }
    let call = recorder.next().await;
    Some(Asked { domain: call.domain, descriptors: call.descriptors.iter().map(Seen::from).collect() })
}

fn by_choice(get: &Get, file: &EnvoyFile) -> Option<Asked> {
    let headers: Vec<Header<'_>> = get
        .headers
        .iter()
        .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
        .collect();
    let request = HttpRequest {
        method: b"GET",
        host: get.host.as_bytes(),
        path: get.path.as_bytes(),
        headers: &headers,
        ..HttpRequest::default()
    };
    let choice = file.choose(&request, None).expect("a choice");
    assert_eq!(choice.notes, [""; 0], "{get:?}");
    let lists = choice.lists.iter().filter(|one| one.stage == choice.stage);
    let descriptors: Vec<Seen> = lists
        .flat_map(|one| {
            crate::through_the_engine(std::slice::from_ref(one.list.as_ref().expect("known")), &request)
        })
        .collect();
    (!descriptors.is_empty()).then(|| Asked { domain: choice.domain.to_owned(), descriptors })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lists_that_count_are_those_that_count_in_envoy() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let mut recorder = Recorder::start().await;
    let (places, matches) = (all_places(), all_matches());
    let runs = [
        ("places", &places, None),
        ("filter", &places, Some(json!([with_hits("filter")]))),
        ("matches", &matches, None),
    ];
    let (mut differences, mut asked, mut not_asked) = (Vec::new(), 0, 0);
    for (name, (hosts, gets), filter_lists) in runs {
        let config = config(hosts, filter_lists, recorder.addr());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lists-{name}.yaml"));
        std::fs::write(&path, config.to_string()).expect("can be written");
        let file = envoy::load(&path).expect("is read");
        let envoy = Envoy::start(&node::of_json(&config)).await.expect("Envoy starts");
        for get in gets {
            let (real, chosen) = (by_envoy(get, envoy.listen(), &mut recorder).await, by_choice(get, &file));
            if real.is_some() {
                asked += 1;
            } else {
                not_asked += 1;
            }
            if real != chosen {
                differences.push(format!("{name}: {get:?}\n  Envoy: {real:?}\n  chosen: {chosen:?}"));
            }
        }
    }
    let first = differences.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {} differ:\n{first}", differences.len(), asked + not_asked);
    assert!(asked > 500 && not_asked > 50, "{asked} asked, {not_asked} not");
}
