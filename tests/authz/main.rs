//! ext_authz: the second door to the same limits, asked directly and through real Envoy nodes.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod direct;
mod envoy;
mod http_form;
mod nginx;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use lab::tollgate::{Serve, Tollgate};
use tollgate::pb::auth::{
    AttributeContext, CheckRequest, CheckResponse,
    attribute_context::{HttpRequest, Request},
    authorization_client::AuthorizationClient,
    check_response::HttpResponse,
};
use tonic::{Status, transport::Channel};

/// Tollgate on the memory store, with these limits and flags.
async fn serve(name: &str, limits: &str, args: &[&str]) -> Tollgate {
    let limits = support::file(&format!("authz-{name}.yaml"), limits);
    Tollgate::start(&Serve::new(&limits).args(args)).await.expect("starts")
}

async fn channel(tollgate: &Tollgate) -> Channel {
    let channel = Channel::from_shared(format!("http://{}", tollgate.grpc())).expect("an address");
    channel.connect().await.expect("connects")
}

/// The address for ext_authz by HTTP, which it logs after the first line.
async fn http_address(tollgate: &Tollgate) -> SocketAddr {
    for _ in 0..500 {
        let log = tollgate.log_text();
        if let Some((_, rest)) = log.split_once("authz_http=") {
            return rest.split_whitespace().next().expect("an address").parse().expect("an address");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no address: {}", tollgate.log_text())
}

fn texts(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What Envoy asks about such a request.
fn about(method: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let http = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "api.example.com".to_owned(),
        headers: texts(headers),
        protocol: "HTTP/1.1".to_owned(),
        ..HttpRequest::default()
    };
    let request = Request { http: Some(http), time: None };
    let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
    CheckRequest { attributes: Some(attributes) }
}

/// The same, from a virtual host with these context extensions.
fn with_extensions(mut request: CheckRequest, extensions: &[(&str, &str)]) -> CheckRequest {
    request.attributes.get_or_insert_default().context_extensions = texts(extensions);
    request
}

async fn check(channel: &Channel, request: CheckRequest) -> Result<CheckResponse, Status> {
    let answer = AuthorizationClient::new(channel.clone()).check(request).await;
    answer.map(tonic::Response::into_inner)
}

/// The status for the client (200 if it may pass), the code of the answer, its headers and its body.
#[derive(Debug)]
struct Told {
    status: i32,
    code: i32,
    headers: Vec<(String, String)>,
    actions: Vec<i32>,
    body: String,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

async fn told(channel: &Channel, request: CheckRequest) -> Told {
    let answer = check(channel, request).await.expect("an answer");
    let code = answer.status.map_or(0, |status| status.code);
    let (status, options, body) = match answer.http_response.expect("it is always set") {
        HttpResponse::OkResponse(ok) => (200, ok.response_headers_to_add, String::new()),
        HttpResponse::DeniedResponse(denied) | HttpResponse::ErrorResponse(denied) => {
            (denied.status.expect("it is always set").code, denied.headers, denied.body)
        }
    };
    let actions = options.iter().map(|option| option.append_action).collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let headers = options.into_iter().map(|option| {
        let header = option.header.expect("a header");
        (text(&header.key), text(&header.value))
    });
    Told { status, code, headers: headers.collect(), actions, body }
}

/// The value of a series on the metrics page.
async fn metric(tollgate: &Tollgate, series: &str) -> Option<u64> {
    let page = lab::http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}
