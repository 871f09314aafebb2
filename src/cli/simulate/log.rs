//! Access logs: lines in, requests in the order of their times out.
//!
//! Several logs are merged by time, so those of several nodes, or of several days, make one history. Memory holds the
//! lines that wait to be sorted, and nothing else that grows. A line that cannot be read is counted and never ends it.

mod fields;
mod input;
mod json;
mod order;
mod pattern;
pub(super) mod time;

use std::{io, path::PathBuf, time::Duration};

pub(super) use fields::{Fields, Names, Role};
pub(super) use input::{BytesRead, size};
use input::{Got, Input};
use order::{Most, Order};
pub use pattern::NotAPattern;
pub(super) use pattern::{ENVOY_DEFAULT, Pattern, one_operator};
use tollgate_core::duration::micros;

/// How much may wait to be sorted, in all logs together.
const MOST_WAITING: Most = Most { lines: 1 << 17, bytes: 64 << 20 };
/// The broken lines that are shown, the first of all.
const MOST_SHOWN: usize = 5;

/// All logs.
pub(super) struct Logs {
    logs: Vec<Log>,
    pub(super) names: Names,
    pattern: Pattern,
    pub(super) bytes: BytesRead,
    pub(super) seen: Seen,
    line: Vec<u8>,
    fields: Fields,
    last_us: u64,
}

struct Log {
    input: Input,
    order: Order,
    is_at_end: bool,
}

/// What was found in the logs, besides requests.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Lines that are requests.
    pub(super) requests: u64,
    pub(super) broken: u64,
    /// The first of them: place and reason.
    pub(super) shown: Vec<String>,
    pub(super) empty: u64,
    /// Lines with a time before that of an earlier line.
    pub(super) out_of_order: u64,
    /// Those of them that came so late that they count at the time of the line before.
    pub(super) late: u64,
    /// How late they were at most.
    pub(super) most_late_us: u64,
    /// Logs that could not be read to their end: name and reason.
    pub(super) cut: Vec<String>,
    pub(super) first_us: Option<u64>,
    pub(super) last_us: u64,
}

/// A field that does not hold what it should.
enum Broken {
    NoJson(usize),
    NoMatch(usize),
    NoTime,
    BadTime,
    TooLong,
}

/// Bytes of a client, as far as they may be printed: without control characters, and cut.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain = text.chars().take(MOST).map(|letter| if is_plain(letter) { letter } else { '\u{fffd}' });
    let mut plain: String = plain.collect();
    if text.chars().nth(MOST).is_some() {
        plain.push('…');
    }
    plain
}

// === impl Logs ===

impl Logs {
    /// Opens all of them. Fails with the path of one that cannot be opened.
    pub(super) fn open(
        paths: &[PathBuf],
        names: Names,
        pattern: Pattern,
        window: Duration,
    ) -> Result<Logs, (PathBuf, io::Error)> {
        let bytes = BytesRead::default();
        let share = paths.len().max(1);
        let most = Most { lines: MOST_WAITING.lines / share, bytes: MOST_WAITING.bytes / share };
        let open = |path: &PathBuf| {
            let input = Input::open(path, &bytes).map_err(|error| (path.clone(), error))?;
            Ok(Log { input, order: Order::new(micros(window), most), is_at_end: false })
        };
        let logs = paths.iter().map(open).collect::<Result<_, _>>()?;
        let (line, fields) = (Vec::new(), Fields::default());
        Ok(Logs { logs, names, pattern, bytes, seen: Seen::default(), line, fields, last_us: 0 })
    }

    /// The next request, as `pack` made it of its fields, and its time, which never goes back. None at the end.
    pub(super) fn next(
        &mut self,
        pack: &mut impl FnMut(&Names, &Fields) -> Vec<u8>,
    ) -> Option<(u64, Vec<u8>)> {
        for index in 0..self.logs.len() {
            while !self.logs[index].is_at_end && !self.logs[index].order.is_ready() {
                self.read_line(index, pack);
            }
        }
        let oldest = |log: &&mut Log| log.order.oldest_us().unwrap_or(u64::MAX);
        let log = self.logs.iter_mut().min_by_key(oldest)?;
        let timed = log.order.pop()?;
        if timed.at_us < self.last_us {
            self.seen.late += 1;
            self.seen.most_late_us = self.seen.most_late_us.max(self.last_us - timed.at_us);
        }
        self.last_us = self.last_us.max(timed.at_us);
        self.seen.first_us.get_or_insert(self.last_us);
        self.seen.last_us = self.last_us;
        Some((self.last_us, timed.packed))
    }

    fn read_line(&mut self, index: usize, pack: &mut impl FnMut(&Names, &Fields) -> Vec<u8>) {
        let Log { input, order, is_at_end } = &mut self.logs[index];
        let result = match input.next(&mut self.line) {
            Ok(Got::Line) if self.line.trim_ascii().is_empty() => {
                self.seen.empty += 1;
                return;
            }
            Ok(Got::Line) => read(&self.line, &self.pattern, &mut self.names, &mut self.fields),
            Ok(Got::TooLong) => Err(Broken::TooLong),
            Ok(Got::End) => {
                *is_at_end = true;
                self.seen.out_of_order += order.out_of_order;
                return;
            }
            Err(why) => {
                *is_at_end = true;
                self.seen.out_of_order += order.out_of_order;
                let lines = input.number - 1;
                self.seen.cut.push(format!("{}: {why} after {lines} lines; the rest is missing", input.name));
                return;
            }
        };
        match result {
            Ok(at_us) => {
                self.seen.requests += 1;
                order.put(at_us, pack(&self.names, &self.fields));
            }
            Err(broken) => {
                self.seen.broken += 1;
                if self.seen.shown.len() < MOST_SHOWN {
                    self.seen.shown.push(format!("{}:{}", input.name, broken.why(input.number)));
                }
            }
        }
    }
}

/// The time of a line.
fn read(line: &[u8], pattern: &Pattern, names: &mut Names, fields: &mut Fields) -> Result<u64, Broken> {
    fields.clear();
    if line.trim_ascii_start().starts_with(b"{") {
        json::read(line, names, fields).map_err(Broken::NoJson)?;
    } else {
        pattern.read(line, fields).map_err(Broken::NoMatch)?;
        pattern.names().for_each(|name| names.see(name));
    }
    let text = fields.time(names).ok_or(Broken::NoTime)?;
    time::parse(text).ok_or(Broken::BadTime)
}

impl Broken {
    /// Without a byte of the line, which may hold secrets.
    fn why(&self, line: u64) -> String {
        match self {
            Broken::NoJson(at) => format!("{line}:{at}: not a JSON object"),
            Broken::NoMatch(at) => format!("{line}:{at}: neither JSON nor as the pattern says"),
            Broken::NoTime => format!("{line}: no field says when the request began"),
            Broken::BadTime => format!("{line}: the time is in no form that is known"),
            Broken::TooLong => format!("{line}: longer than 1 MiB"),
        }
    }
}
