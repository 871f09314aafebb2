//! A Kubernetes API with nothing in it, which is all that istiod needs to start: its configuration comes from a folder.
//!
//! Lists are empty, watches stay silent, and what istiod creates is kept.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Objects = Arc<Mutex<HashMap<String, Value>>>;

/// Serves until the runtime ends.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let objects = Objects::default();
    let api =
        Router::new().fallback(async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let accepts = headers.get(ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
            answer(&objects, &method, &uri, accepts, &body)
        });
    tokio::spawn(async move { axum::serve(listener, api).await });
    addr
}

fn answer(objects: &Objects, method: &Method, uri: &Uri, accepts: &str, body: &Bytes) -> Response {
    let query = uri.query().unwrap_or_default();
    let mut objects = objects.lock().expect("no panic");
    let path = uri.path().trim_end_matches('/');
    match *method {
        // Sends the client back to a list and a plain watch.
        Method::GET if query.contains("sendInitialEvents=true") => {
            failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid")
        }
        Method::GET if query.contains("watch=") => silence(),
        Method::GET if path == "/version" => {
            ok(&json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" }))
        }
        Method::GET => match objects.get(path) {
            Some(object) => ok(object),
            None if names_an_object(path) => failure(StatusCode::NOT_FOUND, "NotFound"),
            None => ok(&empty_list(accepts)),
        },
        Method::DELETE => ok(&objects.remove(path).unwrap_or_default()),
        _ => {
            let Ok(object) = serde_json::from_slice::<Value>(body) else {
                return failure(StatusCode::BAD_REQUEST, "BadRequest");
            };
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let kept = if names_an_object(path) { path.to_owned() } else { format!("{path}/{name}") };
            objects.insert(kept, object.clone());
            ok(&object)
        }
    }
}

/// A client that wants only metadata reads the kind. To all others, it is what they asked for.
fn empty_list(accepts: &str) -> Value {
    let mut list = json!({ "metadata": { "resourceVersion": "1" }, "items": [] });
    if accepts.contains("as=PartialObjectMetadataList") {
        list["apiVersion"] = "meta.k8s.io/v1".into();
        list["kind"] = "PartialObjectMetadataList".into();
    }
    list
}

/// Whether the path ends in the name of an object, as `/api/v1/namespaces/NS/configmaps/NAME` does.
fn names_an_object(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let resource = if parts.first() == Some(&"api") { 2 } else { 3 };
    let rest = parts.get(resource..).unwrap_or_default();
    let namespaced = rest.first() == Some(&"namespaces") && rest.len() > 2;
    rest.len() == if namespaced { 4 } else { 2 }
}

fn ok(object: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], object.to_string()).into_response()
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16()
    });
    (code, [(CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}

fn silence() -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::new(Silence)).into_response()
}

/// A body that never comes to an end.
struct Silence;

impl hyper::body::Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
