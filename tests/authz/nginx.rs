//! Through a real nginx, as examples/nginx.conf configures it.

use std::{fs, path::Path, process::Command};

use lab::{
    binaries::{self, Part},
    http, ports,
    process::Process,
    tollgate::{Serve, Tollgate},
};

use super::http_address;

const FLAGS: [&str; 8] = [
    "--authz-http-listen",
    "127.0.0.1:0",
    "--authz-request-from",
    "x-forwarded",
    "--authz-denied-status",
    "403",
    "--authz-address-header",
    "x-real-ip",
];

/// The address of an nginx before that Tollgate. The application behind it is Tollgate's admin port, which answers 404 to
/// most paths.
async fn nginx(name: &str, tollgate: &Tollgate) -> (Process, std::net::SocketAddr) {
    let text = fs::read_to_string(binaries::checkout().join("examples/nginx.conf")).expect("the example");
    let port = ports::free().expect("a free port");
    let mut text = text.replace("127.0.0.1:10020", &format!("127.0.0.1:{port}"));
    assert!(text.contains("proxy_read_timeout 200ms"));
    // Long, so that a busy machine lets no request pass.
    text = text.replace("proxy_read_timeout 200ms", "proxy_read_timeout 5s");
    text = text.replace("proxy_connect_timeout 100ms", "proxy_connect_timeout 5s");
    // One process, which ends with its owner.
    text = text.replace("daemon off;", "daemon off; master_process off;");
    text = text.replace("127.0.0.1:8083", &http_address(tollgate).await.to_string());
    text = text.replace("127.0.0.1:9000", &tollgate.admin().to_string());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{name}"));
    fs::create_dir_all(&folder).expect("can be made");
    fs::write(folder.join("nginx.conf"), text).expect("can be written");
    let mut command = Command::new(Part::Nginx.find().expect("it is available"));
    command.args(["-p", &folder.display().to_string(), "-e", "stderr", "-c", "nginx.conf"]);
    let mut process = Process::spawn("nginx", &command).expect("starts");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    process.ready(async |_| tokio::net::TcpStream::connect(address).await.ok()).await.expect("nginx listens");
    (process, address)
}

#[tokio::test]
async fn a_denial_becomes_a_429_with_its_headers_and_what_passes_reaches_the_application() {
    if !lab::real::available(&[Part::Nginx]) {
        return;
    }
    let serve =
        Serve::new(binaries::checkout().join("examples/limits.yaml")).args(&FLAGS).args(&["--jitter", "0"]);
    let mut tollgate = Tollgate::start(&serve).await.expect("starts");
    let (_nginx, address) = nginx("denial", &tollgate).await;
    let key = [("x-api-key", "k"), ("x-forwarded-uri", "/"), ("x-real-ip", "203.0.113.7")];
    for left in (0..6).rev() {
        let passed = http::get(address, "/login?next=/", &key).await.expect("an answer");
        assert_eq!(passed.status, 404, "the application's own answer");
        assert_eq!(passed.header("ratelimit-remaining"), Some(left.to_string().as_str()));
        assert_eq!(passed.header("retry-after"), None);
    }
    let denied = http::get(address, "/login", &key).await.expect("an answer");
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("ratelimit-limit"), Some("6"));
    assert_eq!(denied.header("retry-after"), denied.header("ratelimit-reset"));
    assert!(denied.header("retry-after").is_some());
    assert_eq!(denied.header("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&denied.body).expect("JSON");
    assert_eq!(problem["status"], 429);

    // Without a key the client's address counts, and it cannot write another.
    let mut passed = 0;
    for n in 0..6 {
        let spoofed = format!("203.0.113.{n}");
        let answer = http::get(address, "/login", &[("x-real-ip", &spoofed)]).await.expect("an answer");
        passed += usize::from(answer.status == 404);
    }
    assert_eq!(passed, 3, "the burst of an address on that route");

    tollgate.kill();
    let open = http::get(address, "/login", &key).await.expect("an answer");
    assert_eq!(open.status, 502, "it was let pass, and the application is gone as well");
}

#[test]
fn nginx_takes_the_example_as_it_is() {
    if !lab::real::available(&[Part::Nginx]) {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nginx-as-it-is");
    fs::create_dir_all(&folder).expect("can be made");
    let example = binaries::checkout().join("examples/nginx.conf");
    let output = Command::new(Part::Nginx.find().expect("it is available"))
        .args([
            "-t",
            "-p",
            &folder.display().to_string(),
            "-e",
            "stderr",
            "-c",
            &example.display().to_string(),
        ])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
