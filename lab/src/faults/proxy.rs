//! A proxy between Tollgate and Redis for faults that Redis itself cannot be made to show.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::sleep,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// Drops a decision of Redis and closes the connection.
    CloseForReply,
    /// Forwards half of a decision and closes the connection.
    HalfAReply,
    /// Forwards nothing in either direction, and leaves connections open. What was sent meanwhile arrives later.
    Cut,
    /// Forwards nothing from the first decision on, and leaves the connection open.
    Mute,
    /// Delays each decision by this time.
    Delay(Duration),
    /// Answers with this error in place of Redis, which receives nothing.
    Refuse(&'static str),
}

/// The names of the commands on one connection that Redis has not answered yet.
type Asked = Arc<Mutex<VecDeque<String>>>;

#[derive(Debug)]
pub(super) struct Proxy {
    addr: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(redis: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let mode = Arc::new(Mutex::new(Mode::Pass));
        let shared = Arc::clone(&mode);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mode = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Either side may close at any time.
                    let _ = connect(client, redis, mode).await;
                });
            }
        });
        Ok(Proxy { addr, mode, task })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn now(mode: &Mutex<Mode>) -> Mode {
    *mode.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn while_cut(mode: &Mutex<Mode>) {
    while now(mode) == Mode::Cut {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Forwards until one side closes, or the mode ends it.
async fn connect(client: TcpStream, redis: SocketAddr, mode: Arc<Mutex<Mode>>) -> io::Result<()> {
    while_cut(&mode).await;
    let redis = TcpStream::connect(redis).await?;
    client.set_nodelay(true)?;
    redis.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let asked = Asked::default();
    let asking = ask(from_client, to_redis, Arc::clone(&to_client), Arc::clone(&mode), Arc::clone(&asked));
    let answering = answer(from_redis, to_client, mode, asked);
    tokio::select! {
        asked = asking => asked,
        answered = answering => answered,
    }
}

async fn ask(
    mut client: OwnedReadHalf,
    mut redis: OwnedWriteHalf,
    to_client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    mode: Arc<Mutex<Mode>>,
    asked: Asked,
) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        if client.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
        while let Some((length, name)) = command(&pending) {
            let bytes: Vec<u8> = pending.drain(..length).collect();
            while_cut(&mode).await;
            match now(&mode) {
                Mode::Refuse(_) if name == "PING" => to_client.lock().await.write_all(b"+PONG\r\n").await?,
                Mode::Refuse(error) if is_decision(&name) => {
                    to_client.lock().await.write_all(format!("-{error}\r\n").as_bytes()).await?;
                }
                _ => {
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push_back(name);
                    redis.write_all(&bytes).await?;
                }
            }
        }
    }
}

/// Redis answers in order, so the command tells the kind of a reply.
async fn answer(
    mut redis: OwnedReadHalf,
    to_client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    mode: Arc<Mutex<Mode>>,
    asked: Asked,
) -> io::Result<()> {
    let mut pending = Vec::new();
    let mut is_mute = false;
    loop {
        if redis.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
        while let Some(length) = reply(&pending) {
            let bytes: Vec<u8> = pending.drain(..length).collect();
            while_cut(&mode).await;
            let name = asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            // Errors are not decisions. Nor are the number that the replica count gets, and the twelve bytes that
            // answer the probe of a new connection, which is a call without requests.
            let decision = name.is_some_and(|name| is_decision(&name))
                && bytes.starts_with(b"$")
                && !bytes.starts_with(b"$12\r\n");
            match now(&mode) {
                Mode::CloseForReply if decision => return Ok(()),
                Mode::HalfAReply if decision => {
                    return to_client.lock().await.write_all(&bytes[..length / 2]).await;
                }
                Mode::Mute if decision => is_mute = true,
                Mode::Delay(by) if decision => sleep(by).await,
                _ => {}
            }
            if !is_mute {
                to_client.lock().await.write_all(&bytes).await?;
            }
        }
    }
}

fn is_decision(name: &str) -> bool {
    matches!(name, "EVALSHA" | "EVAL")
}

/// The length of the whole command that these bytes begin with, and its name.
fn command(bytes: &[u8]) -> Option<(usize, String)> {
    let mut at = 0;
    let parts = number(bytes, &mut at, b'*')?;
    let mut name = String::new();
    for part in 0..parts {
        let length = number(bytes, &mut at, b'$')?;
        let text = bytes.get(at..at + length)?;
        if part == 0 {
            name = String::from_utf8_lossy(text).to_ascii_uppercase();
        }
        at += length + 2;
    }
    (at <= bytes.len()).then_some((at, name))
}

/// The length of the whole reply that these bytes begin with.
fn reply(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let mut at = 0;
    let end = match bytes.first()? {
        // A missing string has the length -1 and no content.
        b'$' => number(bytes, &mut at, b'$').map_or(line, |length| at + length + 2),
        b'*' => {
            let parts = number(bytes, &mut at, b'*').unwrap_or(0);
            at = line;
            for _ in 0..parts {
                at += reply(bytes.get(at..)?)?;
            }
            at
        }
        _ => line,
    };
    (end <= bytes.len()).then_some(end)
}

/// A line such as `$25`.
fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (first, digits) = rest[..end].split_first()?;
    *at += end + 2;
    (*first == mark).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{command, reply};

    #[test]
    fn a_command_is_known_when_it_is_whole() {
        let ping = b"*1\r\n$4\r\nping\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        assert_eq!(command(ping), Some((14, "PING".to_owned())));
        assert_eq!(command(&ping[14..]), Some((20, "GET".to_owned())));
        for length in 0..20 {
            assert_eq!(command(&ping[14..14 + length]), None);
        }
    }

    #[test]
    fn a_reply_is_known_when_it_is_whole_whatever_it_holds() {
        for whole in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":7\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$4\r\na\r\nb\r\n",
            "*0\r\n",
            "*2\r\n:1\r\n$1\r\nx\r\n",
        ] {
            assert_eq!(reply(format!("{whole}+NEXT\r\n").as_bytes()), Some(whole.len()), "{whole:?}");
            for length in 0..whole.len() {
                assert_eq!(reply(&whole.as_bytes()[..length]), None, "{length} of {whole:?}");
            }
        }
    }
}
