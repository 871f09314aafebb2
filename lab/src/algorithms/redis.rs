//! Runs the script over one connection, with a clock of its own.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use tollgate::store::redis::script::{Call, Now, answers, text};
use tollgate_core::decision::{Answer, Take};

use super::AlgorithmsError;
use crate::bench::{proc, resp};

pub(super) struct Script {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    digest: String,
    pid: u32,
}

impl Script {
    pub(super) fn load(addr: SocketAddr, pid: u32) -> Result<Script, AlgorithmsError> {
        let digest = resp::load_script(addr, &text(Now::Argument))?;
        let stream = TcpStream::connect(addr).map_err(AlgorithmsError::Talk)?;
        stream.set_nodelay(true).map_err(AlgorithmsError::Talk)?;
        let reader = BufReader::new(stream.try_clone().map_err(AlgorithmsError::Talk)?);
        Ok(Script { stream, reader, digest, pid })
    }

    /// Makes one call for these requests, at this instant.
    pub(super) fn decide(
        &mut self,
        requests: &[[Take; 1]],
        now_us: u64,
    ) -> Result<Vec<Answer>, AlgorithmsError> {
        let mut command = Call::new(requests.iter().map(|takes| &takes[..])).command("EVALSHA", &self.digest);
        command.arg(now_us);
        let reply = self.exchange(&command.get_packed_command()).map_err(AlgorithmsError::Talk)?;
        answers(&reply, requests.iter().map(|takes| &takes[..])).map_err(AlgorithmsError::Reply)
    }

    /// A command that answers with a number or with bytes.
    pub(super) fn ask(&mut self, parts: &[&[u8]]) -> Result<Vec<u8>, AlgorithmsError> {
        self.exchange(&resp::command(parts)).map_err(AlgorithmsError::Talk)
    }

    pub(super) fn cpu_us(&self) -> Result<f64, AlgorithmsError> {
        Ok(proc::usage(&self.pid.to_string())?.cpu_us)
    }

    pub(super) fn used_memory(&mut self) -> Result<u64, AlgorithmsError> {
        let info = String::from_utf8_lossy(&self.ask(&[b"INFO", b"memory"])?).into_owned();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        line.ok_or(AlgorithmsError::Talk(io::ErrorKind::InvalidData.into()))
    }

    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(command)?;
        let mut head = String::new();
        self.reader.read_line(&mut head)?;
        let (kind, rest) = head.trim_end().split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            "$" => {
                let length: usize = rest.parse().map_err(|_not_a_number| io::ErrorKind::InvalidData)?;
                let mut body = vec![0; length + 2];
                self.reader.read_exact(&mut body)?;
                body.truncate(length);
                Ok(body)
            }
            ":" | "+" => Ok(rest.as_bytes().to_vec()),
            _ => Err(io::Error::other(head)),
        }
    }
}
