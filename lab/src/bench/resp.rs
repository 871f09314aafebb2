//! Single commands to a Redis: its counters, its process id, and loading a script.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use thiserror::Error;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum RespError {
    #[error("cannot ask Redis at {addr}")]
    Io { addr: SocketAddr, source: io::Error },
    #[error("Redis at {addr} answered {answer:?}")]
    Answer { addr: SocketAddr, answer: String },
}

/// The number of calls of scripts, or of increments. Calls that a script makes are not included.
pub fn calls(addr: SocketAddr) -> Result<u64, RespError> {
    Ok(parse_calls(&ask(addr, &[b"INFO", b"commandstats"])?))
}

/// The process that serves there.
pub fn process_id(addr: SocketAddr) -> Result<u32, RespError> {
    let info = ask(addr, &[b"INFO", b"server"])?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    line.ok_or(RespError::Answer { addr, answer: info })
}

/// The digest that EVALSHA takes.
pub fn load_script(addr: SocketAddr, text: &str) -> Result<String, RespError> {
    ask(addr, &[b"SCRIPT", b"LOAD", text.as_bytes()])
}

/// A number in `INFO section`; 0 if it is not there.
pub fn figure(addr: SocketAddr, section: &str, name: &str) -> Result<u64, RespError> {
    let info = ask(addr, &[b"INFO", section.as_bytes()])?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}

/// Sends a command whose answer is one line or one string. An error answer is an error.
pub fn tell(addr: SocketAddr, command: &[&str]) -> Result<String, RespError> {
    let parts: Vec<&[u8]> = command.iter().map(|part| part.as_bytes()).collect();
    let answer = exchange(addr, &parts).map_err(|source| RespError::Io { addr, source })?;
    match answer {
        Err(line) if !line.starts_with('-') => Ok(line.trim_end().trim_start_matches(['+', ':']).to_owned()),
        answer => answer.map_err(|answer| RespError::Answer { addr, answer }),
    }
}

/// Sends a command whose answer is a list of strings.
pub fn list(addr: SocketAddr, command: &[&str]) -> Result<Vec<String>, RespError> {
    let parts: Vec<&[u8]> = command.iter().map(|part| part.as_bytes()).collect();
    let asked = || {
        let mut reader = send(addr, &parts)?;
        let head = line(&mut reader)?;
        let Some(Ok(length)) = head.trim_end().strip_prefix('*').map(str::parse::<usize>) else {
            return Ok(Err(head));
        };
        let items: Result<Vec<_>, io::Error> = (0..length).map(|_| string(&mut reader)).collect();
        Ok(items?.into_iter().collect::<Result<Vec<String>, String>>())
    };
    let answer: Result<Result<Vec<String>, String>, io::Error> = asked();
    let answer = answer.map_err(|source| RespError::Io { addr, source })?;
    answer.map_err(|answer| RespError::Answer { addr, answer })
}

/// A command as Redis reads it.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Sends one command on a connection of its own. Its answer must be a string.
fn ask(addr: SocketAddr, parts: &[&[u8]]) -> Result<String, RespError> {
    let answer = exchange(addr, parts).map_err(|source| RespError::Io { addr, source })?;
    answer.map_err(|answer| RespError::Answer { addr, answer })
}

fn exchange(addr: SocketAddr, parts: &[&[u8]]) -> io::Result<Result<String, String>> {
    string(&mut send(addr, parts)?)
}

fn send(addr: SocketAddr, parts: &[&[u8]]) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&command(parts))?;
    Ok(BufReader::new(stream))
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line)
}

/// The string that comes next, or the line in its place.
fn string(reader: &mut BufReader<TcpStream>) -> io::Result<Result<String, String>> {
    let head = line(reader)?;
    let Some(Ok(length)) = head.trim_end().strip_prefix('$').map(str::parse::<usize>) else {
        return Ok(Err(head));
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reader.read_exact(&mut [0; 2])?;
    Ok(Ok(String::from_utf8_lossy(&body).into_owned()))
}

/// Lines such as `cmdstat_evalsha:calls=5,usec=120,…`.
fn parse_calls(info: &str) -> u64 {
    const COUNTED: [&str; 5] = ["evalsha", "eval", "fcall", "incrby", "expire"];
    let calls = |line: &str| {
        let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let (calls, _) = fields.split_once(',')?;
        if COUNTED.contains(&name) { calls.parse::<u64>().ok() } else { None }
    };
    info.lines().filter_map(calls).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_those_of_clients_and_not_those_of_scripts() {
        let info = "# Commandstats\r\ncmdstat_evalsha:calls=5,usec=120,usec_per_call=24.00\r\n\
                    cmdstat_set:calls=5,usec=9\r\ncmdstat_evalsha_ro:calls=9,usec=9\r\n\
                    cmdstat_eval:calls=1,usec=9\r\n";
        assert_eq!(parse_calls(info), 6);
        assert_eq!(parse_calls("cmdstat_incrby:calls=3,usec=1\r\ncmdstat_expire:calls=3,usec=1\r\n"), 6);
        assert_eq!(parse_calls("# Commandstats\r\n"), 0);
    }

    #[test]
    fn a_command_counts_its_parts_and_their_bytes() {
        assert_eq!(command(&[b"GET", b"ab"]), b"*2\r\n$3\r\nGET\r\n$2\r\nab\r\n");
    }
}
