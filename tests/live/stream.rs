//! A reader of `/live`.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::WITHIN;

/// The head of the answer, and the messages that follow.
pub(crate) struct Stream {
    pub(crate) head: String,
    lines: BufReader<TcpStream>,
}

impl Stream {
    pub(crate) async fn open(admin: SocketAddr, path: &str) -> Stream {
        let mut stream = TcpStream::connect(admin).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: tollgate\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("can be sent");
        let mut stream = Stream { head: String::new(), lines: BufReader::new(stream) };
        while !stream.head.ends_with("\r\n\r\n") {
            let line = stream.line().await.expect("a head");
            stream.head.push_str(&line);
        }
        stream
    }

    /// None at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(WITHIN, self.lines.read_line(&mut line)).await.expect("within the time");
        (read.unwrap_or(0) > 0).then_some(line)
    }

    /// The next message; None once the stream has ended. The lines between chunks are passed over.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        let mut text = String::new();
        loop {
            let line = self.line().await?;
            // A message is sent in several chunks, each behind its length on a line of its own.
            let is_length =
                |line: &str| !line.is_empty() && line.chars().all(|digit| digit.is_ascii_hexdigit());
            let content = line.trim_end_matches(['\r', '\n']);
            if is_length(content) || content.is_empty() {
                if text.is_empty() {
                    continue;
                }
            } else if content.starts_with("data: ") || !text.is_empty() {
                text.push_str(content);
            }
            if let Some(Ok(value)) = text.strip_prefix("data: ").map(serde_json::from_str) {
                return Some(value);
            }
        }
    }

    /// The first message of which this holds.
    pub(crate) async fn until(&mut self, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let started = tollgate::clock::monotonic();
        loop {
            let message = self.message().await.expect("the stream goes on");
            if holds(&message) {
                return message;
            }
            assert!(started.elapsed() < WITHIN, "the last message was {message:#}");
        }
    }
}

/// The row of a rule.
pub(crate) fn row<'v>(message: &'v Value, rule: &str) -> &'v Value {
    let rows = message["rules"].as_array().expect("rows");
    rows.iter().find(|row| row["rule"] == rule).unwrap_or(&Value::Null)
}
