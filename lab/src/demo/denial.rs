//! One 429, byte for byte as it is received.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::DemoError;

const REQUEST: &str =
    "GET /login HTTP/1.1\r\nhost: edge.test\r\nx-api-key: captured\r\nconnection: close\r\n\r\n";
/// More than the limit of the route. Denials cost nothing, so there may be many.
const AT_MOST: usize = 40;

/// Sends until a denial's `retry-after` is longer than the exact wait: the jitter is often 0.
pub async fn capture(target: SocketAddr) -> Result<String, DemoError> {
    let mut last = String::new();
    for _ in 0..AT_MOST {
        last = exchange(target)
            .await
            .map_err(|source| DemoError::Run { command: "a raw request".into(), source })?;
        if shows_jitter(&last) {
            break;
        }
    }
    if last.starts_with("HTTP/1.1 429") {
        return Ok(last.replace("\r\n", "\n"));
    }
    Err(DemoError::NoReport { command: "a raw request".to_owned(), output: last })
}

fn shows_jitter(answer: &str) -> bool {
    let header = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (told, true_wait) = (header("retry-after"), header("ratelimit-reset"));
    told.is_some() && told != true_wait
}

async fn exchange(target: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
