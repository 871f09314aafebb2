//! A Redis that is some time away: a proxy that delays each direction, and nothing else.
//!
//! Threads that block, because tokio's timers count in milliseconds and a delay of one would become nearly two. What comes in
//! while earlier bytes wait is delayed beside them, not after them, so throughput stays as it is.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

const BUFFER: usize = 64 << 10;

/// Takes no new connections once it is dropped. Those that it has end with either side.
#[derive(Debug)]
pub struct Far {
    addr: SocketAddr,
    ended: Arc<AtomicBool>,
}

// === impl Far ===

impl Far {
    /// `each_way` is how long a byte takes.
    pub fn start(to: SocketAddr, each_way: Duration) -> io::Result<Far> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        spawn(move || {
            for client in listener.incoming() {
                if told.load(Ordering::Acquire) {
                    return;
                }
                // A connection that cannot be made ends, as it would at the other side.
                let _ = client.and_then(|client| connect(client, to, each_way));
            }
        })?;
        Ok(Far { addr, ended })
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread that accepts looks when somebody comes.
        let _ = TcpStream::connect(self.addr);
    }
}

fn connect(client: TcpStream, to: SocketAddr, each_way: Duration) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    one_way(client.try_clone()?, server.try_clone()?, each_way)?;
    one_way(server, client, each_way)
}

/// A thread reads at once and notes when, another writes when that is long enough ago.
fn one_way(mut from: TcpStream, mut to: TcpStream, delay: Duration) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    })?;
    spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // One side that has ended ends the other.
        let _ = to.shutdown(Shutdown::Both);
    })
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("far".to_owned()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH_WAY: Duration = Duration::from_millis(20);

    /// Answers each byte with itself.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = stream.try_clone().unwrap();
            io::copy(&mut reader, &mut stream).unwrap();
        });
        addr
    }

    #[test]
    fn an_answer_takes_both_ways_and_many_at_once_take_no_longer_than_one() {
        let far = Far::start(echo(), EACH_WAY).unwrap();
        let mut stream = TcpStream::connect(far.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let started = Instant::now();
        let mut reader = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            for byte in 0..100 {
                stream.write_all(&[byte]).unwrap();
                thread::sleep(Duration::from_micros(100));
            }
        });
        let mut read = [0; 100];
        reader.read_exact(&mut read).unwrap();
        let took = started.elapsed();
        writer.join().unwrap();
        assert_eq!(read[..3], [0, 1, 2]);
        // One after the other they would take four seconds.
        assert!(took >= 2 * EACH_WAY && took < 25 * EACH_WAY, "{took:?}");
    }
}
