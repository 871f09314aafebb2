//! Many readers, bad ones, and the end.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    Service,
    stream::{Stream, row},
};

#[tokio::test]
async fn a_hundred_readers_get_the_same_and_one_more_is_turned_away() {
    let mut service = Service::plain("hundred", &[]).await;
    let admin = service.process.admin();
    let mut readers = Vec::new();
    for _ in 0..99 {
        readers.push(Stream::open(admin, "/live").await);
    }
    // It never reads.
    let mut silent = TcpStream::connect(admin).await.expect("connects");
    silent.write_all(b"GET /live HTTP/1.1\r\nhost: tollgate\r\n\r\n").await.expect("can be sent");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = Stream::open(admin, "/live").await;
    assert!(
        refused.head.starts_with("HTTP/1.1 503") && refused.head.contains("retry-after: 5"),
        "{}",
        refused.head
    );

    service.ask_times("api_key", "a", 11).await;
    for reader in &mut readers {
        reader.until(|message| row(message, "api_key")["denied"] == 1).await;
    }
    drop(readers);
    // Who has gone makes room.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut reader = Stream::open(admin, "/live").await;
    assert!(reader.message().await.is_some(), "{}", reader.head);
}

#[tokio::test]
async fn bad_parameters_are_answered_with_what_is_wrong() {
    let service = Service::plain("parameters", &[]).await;
    let answer = Stream::open(service.process.admin(), "/live?rule=%zz").await;
    assert!(answer.head.starts_with("HTTP/1.1 400"), "{}", answer.head);
    assert!(service.page("/live?rule=%zz").await.contains("hexadecimal"));
}

#[tokio::test]
async fn the_stream_ends_with_the_drain_and_does_not_hold_it_up() {
    let mut service = Service::plain("drain", &["--drain-timeout", "60s"]).await;
    let mut stream = Stream::open(service.process.admin(), "/live").await;
    stream.message().await.expect("a first message");
    let ended = service.process.terminate(Duration::from_secs(10));
    let drained = async { while stream.message().await.is_some() {} };
    let (ended, ()) = tokio::join!(ended, drained);
    assert!(ended.expect("ends").success());
}
