//! `ShouldRateLimit` and `Check` over HTTP/2, with frames written by hand.
//!
//! All requests of a connection have the same bytes except for the stream's number and the digits of the key. The
//! first request puts its header fields into the dynamic table (as Envoy does), and the others refer to it, so a
//! request is two frames of about 100 bytes. Of an answer only the
//! code is read, which must be the first field.
//! Trailers are not decoded, so an answer without a message is an error.

use std::net::SocketAddr;

use super::{
    body::{Body, Form, bodies},
    wire::{Answer, Kind, Wire, WireError},
};
use crate::bench::keys::Demand;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// The bytes before a message: the flag for no compression, and the length.
const MESSAGE_HEAD: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// More than is ever in flight; returned in halves.
const RECEIVE_WINDOW: u32 = 16 << 20;
/// The default of RFC 9113, until SETTINGS or WINDOW_UPDATE change it.
const FIRST_WINDOW: i64 = 65_535;

#[derive(Debug, Clone)]
pub(super) struct Rls {
    authority: String,
    form: Form,
    bodies: Vec<Body>,
    settled: bool,
    asked: u64,
    most_streams: u32,
    send_window: i64,
    received: u32,
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

// === impl Rls ===

impl Rls {
    pub(super) fn new(addr: SocketAddr, form: Form, descriptors: usize) -> Rls {
        Rls {
            authority: addr.to_string(),
            form,
            bodies: bodies(form, descriptors),
            settled: false,
            asked: 0,
            most_streams: u32::MAX,
            send_window: FIRST_WINDOW,
            received: 0,
        }
    }

    fn longest(&self) -> usize {
        self.bodies.iter().map(|body| body.bytes.len()).max().unwrap_or(0)
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), WireError> {
        for setting in payload.chunks_exact(6) {
            let value = u32_at(setting, 2);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                // The header fields of a request must fit into the table.
                1 if value < 1_024 => return Err(WireError::Settings),
                3 => self.most_streams = value,
                // Its message must fit into the window of a stream.
                4 if (value as usize) < self.longest() => return Err(WireError::Settings),
                _ => {}
            }
        }
        self.settled = true;
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), WireError> {
        match frame.kind {
            DATA => {
                self.received += frame.payload.len() as u32;
                // The first piece of a message is enough.
                answers
                    .extend(code(self.form, frame).map(|kind| Answer { number: number(frame.stream), kind }));
            }
            HEADERS if frame.flags & END_STREAM == 0 => {}
            // After an answer these add nothing.
            HEADERS | RST_STREAM => {
                answers.push(Answer { number: number(frame.stream), kind: Kind::Error });
            }
            SETTINGS if frame.flags & ACK == 0 => {
                self.settings(frame.payload)?;
                head(out, 0, SETTINGS, ACK, 0);
            }
            PING if frame.flags & ACK == 0 => {
                head(out, frame.payload.len(), PING, ACK, 0);
                out.extend_from_slice(frame.payload);
            }
            GOAWAY if frame.payload.len() >= 8 => {
                return Err(WireError::GoAway { code: u32_at(frame.payload, 4) });
            }
            WINDOW_UPDATE if frame.stream == 0 && frame.payload.len() == 4 => {
                self.send_window += i64::from(u32_at(frame.payload, 0));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Rls {
    fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        head(out, 0, SETTINGS, 0, 0);
        give_back(out, RECEIVE_WINDOW);
    }

    fn may_ask(&self, in_flight: usize) -> bool {
        self.settled && in_flight < self.most_streams as usize && self.send_window >= self.longest() as i64
    }

    fn ask(&mut self, ask: Demand, out: &mut Vec<u8>) {
        let stream = (self.asked * 2 + 1) as u32;
        let first;
        let fields: &[u8] = if self.asked == 0 {
            first = first_fields(self.form.path(), &self.authority);
            &first
        } else {
            &NEXT_FIELDS
        };
        head(out, fields.len(), HEADERS, END_HEADERS, stream);
        out.extend_from_slice(fields);
        let second = ask.second.map(|(_, rule)| rule);
        let is_for = |body: &&Body| body.rule == ask.rule && body.second == second;
        let body = self.bodies.iter().find(is_for).expect("each rule has one, and each pair");
        head(out, body.bytes.len(), DATA, END_STREAM, stream);
        body.write(&ask, out);
        self.send_window -= body.bytes.len() as i64;
        self.asked += 1;
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        answers: &mut Vec<Answer>,
    ) -> Result<usize, WireError> {
        let mut at = 0;
        while let Some((frame, length)) = frame(&input[at..]) {
            self.frame(&frame, out, answers)?;
            at += length;
        }
        if self.received > RECEIVE_WINDOW / 2 {
            give_back(out, self.received);
            self.received = 0;
        }
        Ok(at)
    }
}

// === header fields (RFC 7541) ===

/// POST and http come from the static table; the other four go into the dynamic one.
fn first_fields(path: &str, authority: &str) -> Vec<u8> {
    let mut fields = vec![0x83, 0x86];
    let mut put = |name: &[u8], value: &str| {
        fields.extend_from_slice(name);
        fields.push(value.len() as u8);
        fields.extend_from_slice(value.as_bytes());
    };
    put(&[0x44], path);
    put(&[0x41], authority);
    put(&[0x5f], "application/grpc");
    put(b"\x40\x02te", "trailers");
    fields
}

/// The same fields from the tables. The newest entry of the dynamic table is 62.
const NEXT_FIELDS: [u8; 6] = [0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];

// === frames (RFC 9113) ===

fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

fn give_back(out: &mut Vec<u8>, bytes: u32) {
    head(out, 4, WINDOW_UPDATE, 0, 0);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// The first frame and its length, if it is complete.
fn frame(input: &[u8]) -> Option<(Frame<'_>, usize)> {
    let head = input.get(..HEAD)?;
    let length = HEAD + (u32_at(&[0, head[0], head[1], head[2]], 0) as usize);
    let payload = input.get(HEAD..length)?;
    let stream = u32_at(head, 5) & 0x7fff_ffff;
    Some((Frame { kind: head[3], flags: head[4], stream, payload }, length))
}

/// The code in the first piece of an answer, after the head of the message: `08 01` or `08 02`, or the status of a
/// `CheckResponse`, which is empty or `08 08`.
fn code(form: Form, frame: &Frame<'_>) -> Option<Kind> {
    let padding = usize::from(frame.flags & PADDED != 0);
    let message = frame.payload.get(padding + MESSAGE_HEAD..)?;
    Some(match (form, *message.first_chunk::<2>()?) {
        (Form::RateLimit, [8, 1]) | (Form::Check | Form::CheckForBrowser, [10, 0]) => Kind::Ok,
        (Form::RateLimit, [8, 2]) => Kind::OverLimit,
        (Form::Check | Form::CheckForBrowser, [10, 2]) if message.starts_with(&[10, 2, 8, 8]) => {
            Kind::OverLimit
        }
        _ => Kind::Error,
    })
}

/// The streams of clients have odd numbers.
fn number(stream: u32) -> u64 {
    u64::from(stream.saturating_sub(1) / 2)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
