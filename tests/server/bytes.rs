//! An HTTP/2 client that sends bytes, for input that no library would send.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use crate::harness::{LONG, SOON};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The numbers of the first `count` streams that a client opens.
pub(crate) fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call of ShouldRateLimit.
pub(crate) fn request_headers() -> Vec<u8> {
    headers_for(PATH)
}

/// HPACK without a table: POST, http, :path and content-type.
pub(crate) fn headers_for(path: &str) -> Vec<u8> {
    let literal =
        |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [vec![0x83, 0x86], literal(&[0x04], path), literal(&[0x0f, 0x10], "application/grpc")].concat()
}

/// A call of ShouldRateLimit with an empty message.
pub(crate) fn call(stream: u32) -> Vec<u8> {
    call_with(stream, &[])
}

pub(crate) fn call_with(stream: u32, message: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, &request_headers());
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let data = [&[0][..], &length, message].concat();
    [headers, frame(DATA, END_STREAM, stream, &data)].concat()
}

pub(crate) fn send(grpc: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(grpc).unwrap();
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.write_all(bytes).unwrap();
    connection
}

/// Reads until this number of streams have been answered to their end. Fails on a GOAWAY with an error.
pub(crate) fn read_until_answers(connection: &mut TcpStream, answers: usize) {
    let mut ended = 0;
    while ended < answers {
        let frame = next_frame(connection).expect("not closed before it was answered");
        ended += usize::from(frame.ends_answer());
    }
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
}

impl Frame {
    pub(crate) fn ends_answer(&self) -> bool {
        self.kind == HEADERS && self.flags & END_STREAM != 0
    }
}

/// The next frame, or `None` at the end. Answers a PING. Fails on a GOAWAY with an error.
pub(crate) fn next_frame(connection: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    match connection.read_exact(&mut head) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        read => read.unwrap(),
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).unwrap();
    let (kind, flags) = (head[3], head[4]);
    let fault = kind == GOAWAY && payload[4..8] != [0; 4];
    assert!(!fault, "{}", String::from_utf8_lossy(&payload));
    if kind == PING && flags & ACK == 0 {
        connection.write_all(&frame(PING, ACK, 0, &payload)).unwrap();
    }
    Some(Frame { kind, flags })
}

/// Waits for the end of the connection, whatever is sent before. It must come sooner than the timeout of a client that
/// sends nothing.
pub(crate) fn assert_closed(connection: &mut TcpStream) {
    connection.set_read_timeout(Some(SOON)).unwrap();
    let end = connection.read_to_end(&mut Vec::new());
    assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "it hangs: {end:?}");
}
