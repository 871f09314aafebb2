//! Who may act by the admin port.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use lab::tollgate::{Serve, Tollgate};

use super::{TOKEN, limits, replica, support, token_file, tollgate};

const ORDER: &str = r#"{"domain":"edge","descriptors":[{"entries":[{"key":"user","value":"ann"}]}]}"#;

/// The whole answer to a request of this method, with this value of the authorization header.
fn send(admin: SocketAddr, method: &str, path: &str, authorization: Option<&str>, body: &str) -> String {
    let mut connection = TcpStream::connect(admin).expect("connects");
    let authorization = authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: x\r\n{authorization}content-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).expect("is sent");
    // The server may answer and close before it has read a body.
    let _ = connection.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8(answer).expect("UTF-8")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn peek(admin: SocketAddr, authorization: &str) -> String {
    send(admin, "POST", "/buckets/peek", Some(authorization), ORDER)
}

#[tokio::test]
async fn only_the_token_opens_and_after_some_wrong_ones_nothing_does() {
    let replica = replica("token", "memory").await;
    let admin = replica.admin();
    let right = format!("Bearer {TOKEN}");
    for _ in 0..12 {
        let answer = peek(admin, &right);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(answer.contains("content-type: application/json"), "{answer}");
    }
    assert_eq!(status(&peek(admin, &format!("bearer  {TOKEN} "))), "200", "the scheme has no case");
    let wrong = [
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[..31]),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        "Bearer ".to_owned(),
        "B".to_owned(),
    ];
    for authorization in &wrong {
        let answer = peek(admin, authorization);
        assert!(
            status(&answer) == "401" && answer.contains("www-authenticate: Bearer"),
            "{authorization}: {answer}"
        );
        assert!(answer.contains("--admin-token-file"), "{answer}");
    }
    for act in ["peek", "reset", "grant"] {
        assert_eq!(status(&send(admin, "POST", &format!("/buckets/{act}"), None, ORDER)), "401");
    }
    assert_eq!(status(&peek(admin, "Bearer guess")), "401", "the tenth");
    for authorization in ["Bearer guess", &right] {
        let answer = peek(admin, authorization);
        assert!(status(&answer) == "429" && answer.contains("retry-after: 6"), "{authorization}: {answer}");
    }
    let log = replica.log_text();
    let refused =
        log.lines().filter(|line| line.contains("tollgate::audit") && line.contains("is wrong or missing"));
    assert_eq!(refused.count(), 10, "{log}");
    assert!(!log.contains(TOKEN) && !log.contains("guess"), "{log}");
    assert_eq!(status(&send(admin, "GET", "/metrics", None, "")), "200", "the other pages need no token");
}

#[tokio::test]
async fn without_a_token_file_there_is_no_way_in_and_it_says_how_to_open_one() {
    let args = ["--metrics-listen", "127.0.0.1:0", "--drain-wait", "0s"];
    let replica = Tollgate::start(&Serve::new(limits("off")).args(&args)).await.expect("starts");
    for act in ["peek", "reset", "grant"] {
        let answer = send(
            replica.admin(),
            "POST",
            &format!("/buckets/{act}"),
            Some(&format!("Bearer {TOKEN}")),
            ORDER,
        );
        assert!(status(&answer) == "404" && answer.contains("--admin-token-file"), "{answer}");
    }
    let (admin, token) = (replica.admin().to_string(), token_file("off"));
    let (code, _, error) = tollgate(&["peek", "--admin", &admin, "--admin-token-file", &token, "user=ann"]);
    assert_eq!(code, Some(2));
    let told = format!(
        "http://{admin}: 404: acts on buckets are off; start tollgate serve with --admin-token-file\n"
    );
    assert_eq!(error, told);
}

#[tokio::test]
async fn what_is_no_order_is_refused_with_what_to_write_and_costs_nothing() {
    let replica = replica("orders", "memory").await;
    let right = format!("Bearer {TOKEN}");
    let post =
        |act: &str, body: &str| send(replica.admin(), "POST", &format!("/buckets/{act}"), Some(&right), body);
    for (act, body, code, told) in [
        ("peek", "{", "400", "not JSON"),
        ("peek", "[]", "400", r#""descriptors""#),
        ("grant", ORDER, "400", r#"a grant needs "hits""#),
        (
            "peek",
            r#"{"domain":"edge","descriptors":[{"entries":[{"key":1}]}]}"#,
            "400",
            "a text is wanted here",
        ),
        ("peek", r#"{"domain":"edge","limits":[]}"#, "400", "limits: no such field"),
        ("peek", &ORDER.replace("edge", "egde"), "400", r#"the domain "egde" has no limits; there are edge"#),
        ("peek", &ORDER.replace("user", "usr"), "422", "no limit applies: "),
        ("peek", &ORDER.replace("user", "free"), "422", "unlimited"),
        (
            "peek",
            &ORDER.replacen('{', r#"{"limit":"x","#, 1),
            "400",
            "no limit x applies to this key; write user (tg:",
        ),
        ("peek", &"x".repeat(200 << 10), "400", "the body cannot be read"),
    ] {
        let answer = post(act, body);
        assert!(status(&answer) == code && answer.contains(told), "{act} {body:.100}: {answer}");
    }
    assert_eq!(status(&send(replica.admin(), "GET", "/buckets/peek", Some(&right), "")), "405");
    assert_eq!(status(&post("empty", ORDER)), "404");
    assert_eq!(status(&post("peek", ORDER)), "200");
}

#[test]
fn a_token_file_that_is_no_use_ends_the_start() {
    let config = limits("start").display().to_string();
    let short = support::file("hands-short-token", "secret-but-sh\n").display().to_string();
    for (file, told) in [
        (short.as_str(), "16 to 4096 printable ASCII"),
        ("/nowhere", "cannot read the admin token from /nowhere: "),
    ] {
        let args =
            ["serve", "--config", &config, "--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let (code, _, error) = tollgate(&[&args[..], &["--admin-token-file", file]].concat());
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(told) && error.contains(file) && !error.contains("secret"), "{error}");
    }
}
