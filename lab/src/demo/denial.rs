//! One 429, byte for byte as it comes over the socket.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::DemoError;

const REQUEST: &str =
    "GET /login HTTP/1.1\r\nhost: edge.test\r\nx-api-key: captured\r\nconnection: close\r\n\r\n";
/// Above the limit of the route.
const AT_MOST: usize = 20;

/// Sends until a request is denied.
pub async fn capture(target: SocketAddr) -> Result<String, DemoError> {
    let mut last = String::new();
    for _ in 0..AT_MOST {
        last = exchange(target)
            .await
            .map_err(|source| DemoError::Run { command: "a raw request".into(), source })?;
        if last.starts_with("HTTP/1.1 429") {
            return Ok(last.replace("\r\n", "\n"));
        }
    }
    Err(DemoError::NoReport { command: "a raw request".to_owned(), output: last })
}

async fn exchange(target: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
