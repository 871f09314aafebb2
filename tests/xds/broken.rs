//! Servers that never answer, never stop, or make no sense. The limits stay, and the log says what is wrong.

use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tollgate::{clock, pb::rate_limit_response::Code};

use crate::{
    Replica,
    support::ads::{Ads, once_a_day},
};

const HEADERS: u8 = 1;
const PING: u8 = 6;
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

/// The type of each frame of HTTP/2 that comes within this time.
async fn frames(stream: &mut TcpStream, time: Duration) -> Vec<u8> {
    let mut types = Vec::new();
    let read = async {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("HTTP/2");
        stream.write_all(&[SETTINGS, SETTINGS_ACK].concat()).await.expect("it reads");
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("the connection stays open");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut content = vec![0; length as usize];
            stream.read_exact(&mut content).await.expect("a whole frame");
            types.push(head[3]);
        }
    };
    let _ = tokio::time::timeout(time, read).await;
    types
}

/// The most memory that it ever had, in MiB.
fn most_mib(replica: &Replica) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", replica.process.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
}

#[tokio::test]
async fn a_server_that_never_answers_is_told_of_and_gets_no_pings() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = silent.local_addr().expect("bound").to_string();
    let mut replica = Replica::start_with(&server, &["--xds-node-id", "someone"]).await;
    let (mut stream, _) = silent.accept().await.expect("connects");
    let types = frames(&mut stream, Duration::from_secs(17)).await;
    assert!(types.contains(&HEADERS), "it has called: {types:?}");
    assert!(!types.contains(&PING), "{types:?}");
    replica.until_told("has not answered yet: it has no rules, or none for this --xds-node-id").await;
    assert_eq!(replica.ask("edge", "key", "a").await, Code::Ok);
}

#[tokio::test]
async fn a_server_that_accepts_connections_and_does_nothing_is_given_up_after_ten_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = silent.local_addr().expect("bound").to_string();
    let replica = Replica::start_with(&server, &["--xds-tls", "on"]).await;
    let (_first, _) = silent.accept().await.expect("connects");
    let start = clock::monotonic();
    let (_second, _) = silent.accept().await.expect("connects again");
    assert!(start.elapsed() > Duration::from_secs(9), "{:?}", start.elapsed());
    replica.until_told("no connection within 10s").await;
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_is_asked_ever_more_rarely_and_limits_stay() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut began = Vec::new();
    for _ in 0..5 {
        let mut stream = ads.stream().await;
        began.push(stream.began);
        stream.request().await;
        stream.send_good("1", &[once_a_day("edge")]).await;
    }
    let gaps: Vec<u128> = began.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    for (gap, least) in gaps.iter().zip([200, 400, 800, 1_600]) {
        assert!(*gap >= least && *gap < 2 * least + 1_000, "{gaps:?}");
    }
    assert!(replica.limits("edge", "a").await);
    assert!(replica.told("the server has closed the stream") >= 4, "{}", replica.process.log_text());
}

#[tokio::test]
async fn a_server_that_sends_without_end_is_read_at_ten_answers_a_second() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    let start = clock::monotonic();
    for number in 0..45 {
        stream.send(&number.to_string(), &[once_a_day("edge")]);
    }
    for _ in 0..45 {
        stream.request().await;
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(10), "{took:?}");
    assert!(replica.limits("edge", "a").await);
}

#[tokio::test]
async fn sixty_four_megabytes_of_nothing_are_refused_in_bounded_memory() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    let mut stream = ads.stream().await;
    stream.request().await;
    stream.send_good("1", &[once_a_day("edge")]).await;

    // Resources without content, and one resource of descriptors without content.
    let type_url = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";
    let mut empty = [&[0x22, u8::try_from(type_url.len()).expect("short")], type_url.as_bytes()].concat();
    empty.extend([0x12, 0].repeat((32 << 20) - 100));
    stream.send_message(&empty);
    let why = stream.request().await.error_detail.expect("refused").message;
    assert!(why.contains("this is no RateLimitConfig"), "{why}");

    let value = [0x1a, 0].repeat((32 << 20) - 200);
    let any = prost_types::Any { type_url: type_url.to_owned(), value };
    stream.send_any("3", vec![any]);
    let why = stream.request().await.error_detail.expect("refused").message;
    assert_eq!(why, "(resource 0): more than 500000 domains, descriptors and limits together");

    // One byte more is not even read.
    let length = (64_u32 << 20) + 1;
    stream.send_bytes([&[0], &length.to_be_bytes()[..]].concat());
    stream.closed().await;
    replica.until_told("--xds-max-message is the most bytes of an answer").await;
    let most = most_mib(&replica);
    assert!(most < 400, "{most} MiB");
    println!("{most} MiB at most");
    assert!(replica.limits("edge", "a").await);
}

#[tokio::test]
async fn bytes_that_are_no_answer_end_the_stream_with_words() {
    let mut ads = Ads::start().await;
    let mut replica = Replica::start(&ads, &[]).await;
    for (bytes, words) in [
        (b"\0\0\0\0\x02\x0a\xff".to_vec(), "bytes that are no DiscoveryResponse"),
        (b"\x01\0\0\0\x02ab".to_vec(), "Internal"),
        (b"\xff\xff\xff\xff\xff".to_vec(), "Internal"),
    ] {
        let mut stream = ads.stream().await;
        stream.request().await;
        stream.send_good("1", &[once_a_day("edge")]).await;
        stream.send_bytes(bytes);
        stream.closed().await;
        replica.until_told(words).await;
    }
    assert!(replica.limits("edge", "a").await);
}

#[tokio::test]
async fn a_server_that_speaks_no_http2_or_is_not_there_is_told_of_once() {
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = other.local_addr().expect("bound").to_string();
    let replica = Replica::start_with(&server, &[]).await;
    for _ in 0..2 {
        let (mut stream, _) = other.accept().await.expect("connects");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
        sleep(Duration::from_millis(200)).await;
    }
    replica.until_told("no connection to the xDS server").await;
    drop(other);
    replica.until_told("connection refused").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(replica.told("connection refused"), 1, "{}", replica.process.log_text());
}
