//! Reads on a thread of its own, because a file system may hang.

use std::{io, thread};

use tokio::sync::{Mutex, oneshot};

/// One read at a time. If a caller gives up, the next one waits for the same read, so that a file system that hangs
/// holds one thread, however often it is asked.
///
/// The thread does not belong to a runtime, which could not end before the file system answers.
#[derive(Debug)]
pub struct Aside<T>(Mutex<Option<oneshot::Receiver<T>>>);

impl<T> Default for Aside<T> {
    fn default() -> Aside<T> {
        Aside(Mutex::new(None))
    }
}

impl<T: Send + 'static> Aside<T> {
    /// What `read` returns, or what an earlier read returns whose caller gave up. Fails if there is no thread for it,
    /// or if it panics.
    pub async fn read(&self, read: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let mut under_way = self.0.lock().await;
        let reading = match &mut *under_way {
            Some(reading) => reading,
            none => none.insert(begin(read)?),
        };
        let told = reading.await;
        *under_way = None;
        told.map_err(io::Error::other)
    }
}

fn begin<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> io::Result<oneshot::Receiver<T>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("file".to_owned()).spawn(move || drop(tell.send(read())))?;
    Ok(told)
}
