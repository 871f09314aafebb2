//! One thread per core with a runtime of its own, and the dealing of connections to them.
//!
//! Envoy opens one HTTP/2 connection per worker and keeps it for hours, so where a connection lands decides
//! how even the load is: it is dealt to the runtime with the fewest open ones, not hashed.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::{
    net::TcpStream,
    select,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    task::{JoinError, JoinSet},
};
use tracing::{debug, error};

use super::{
    ConnectionLimits, Lifecycle, Options, ServerError,
    connection::{self, ConnectionError},
    current_thread_runtime,
    routes::Routes,
    strangers::Strangers,
};
use crate::{pb::rate_limit_service_server::RateLimitService, tasks::Task};

/// All runtimes. Dropped, they run on; [`Runtimes::join`] waits for them.
pub(super) struct Runtimes {
    handles: Vec<Handle>,
    running: watch::Receiver<usize>,
    /// Connections that were still open when the server ended, of runtimes that have ended.
    cut: Arc<AtomicUsize>,
}

/// One runtime, seen from the thread that accepts.
struct Handle {
    /// None once no more are dealt.
    sender: Option<UnboundedSender<Accepted>>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// An accepted connection on its way to its runtime.
struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    open_connection: OpenConnection,
}

/// Counts one connection of a runtime for as long as it lives, however it ends.
struct OpenConnection(Arc<AtomicUsize>);

/// Counts one thread for as long as it runs, however it ends.
struct Running(watch::Sender<usize>);

/// What the runtimes of a server have in common.
#[derive(Clone)]
struct SharedState {
    lifecycle: Lifecycle,
    limits: ConnectionLimits,
    strangers: Arc<Strangers>,
    cut: Arc<AtomicUsize>,
}

// === impl Runtimes ===

impl Runtimes {
    /// Starts the threads. `make_routes` is called on each, inside the context of its runtime; returns when it has
    /// been called on all.
    pub(super) fn start<S: RateLimitService>(
        options: &Options,
        make_routes: Arc<impl Fn() -> Routes<S> + Send + Sync + 'static>,
        lifecycle: &Lifecycle,
        strangers: Strangers,
    ) -> Result<Runtimes, ServerError> {
        let (lifecycle, limits, strangers) = (lifecycle.clone(), options.connections, Arc::new(strangers));
        let cut = Arc::<AtomicUsize>::default();
        let shared = SharedState { lifecycle, limits, strangers, cut: Arc::clone(&cut) };
        let running = watch::Sender::new(0);
        let mut runtimes = Runtimes { handles: Vec::new(), running: running.subscribe(), cut };
        // Nothing is sent: that the last sender is gone says that all routes are made.
        let (making, all_made) = std::sync::mpsc::channel::<Infallible>();
        for index in 0..options.runtimes.get() {
            let running = Running::start(&running);
            let runtime = current_thread_runtime()?;
            let (sender, dealt) = mpsc::unbounded_channel();
            let (make_routes, making, shared) = (Arc::clone(&make_routes), making.clone(), shared.clone());
            let thread = thread::Builder::new()
                .name(format!("runtime-{index}"))
                .spawn(move || {
                    // Dropped in reverse order, also by a panic: it runs until all its tasks are gone.
                    let (_running, runtime) = (running, runtime);
                    runtime.block_on(async {
                        let routes = make_routes();
                        drop(making);
                        serve_connections(dealt, routes, shared).await;
                    });
                })
                .map_err(|error| ServerError::Start(error.into()))?;
            runtimes.handles.push(Handle { sender: Some(sender), open: Arc::default(), thread });
        }
        drop(making);
        // Whoever asks from now on, such as `/ready`, knows of all of them. A thread that panicked has let go as well.
        let _ = all_made.recv();
        Ok(runtimes)
    }

    /// Hands the connection to the runtime with the fewest open ones, the first of several. Fails where the
    /// connection has broken already, or the runtime ends.
    pub(super) fn deal(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Small answers must not wait for the acknowledgement of earlier ones.
        stream.set_nodelay(true)?;
        // Off this thread's event loop; the runtime puts it on its own.
        let stream = stream.into_std()?;
        let fewest = self.handles.iter().min_by_key(|handle| handle.open.load(Ordering::Relaxed));
        let handle = fewest.expect("there is at least one runtime");
        let open_connection = OpenConnection::take(&handle.open);
        let sender = handle.sender.as_ref().ok_or(io::ErrorKind::ConnectionAborted)?;
        sender
            .send(Accepted { stream, peer, open_connection })
            .map_err(|_unsent| io::ErrorKind::ConnectionAborted.into())
    }

    /// Connections that are open or on their way to their runtime.
    pub(super) fn open(&self) -> usize {
        self.handles.iter().map(|handle| handle.open.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn deal_no_more(&mut self) {
        for handle in &mut self.handles {
            handle.sender = None;
        }
    }

    /// Connections that were still open when the server ended.
    pub(super) fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    pub(super) fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Returns once one of the runtimes has ended.
    pub(super) async fn one_ended(&self) {
        self.until_running(|running| running < self.handles.len()).await;
    }

    pub(super) async fn all_ended(&self) {
        self.until_running(|running| running == 0).await;
    }

    async fn until_running(&self, few_enough: impl Fn(usize) -> bool) {
        // An error says that the last thread is gone, and its count with it.
        let _ = self.running.clone().wait_for(|running| few_enough(*running)).await;
    }

    /// Waits for all threads, which end when nothing is dealt any more and their connections are closed.
    pub(super) fn join(mut self) -> Result<(), ServerError> {
        self.deal_no_more();
        let mut outcome = Ok(());
        for (index, handle) in self.handles.into_iter().enumerate() {
            if handle.thread.join().is_err() {
                outcome = Err(ServerError::RuntimePanicked { index });
            }
        }
        outcome
    }
}

/// The whole life of one runtime: until nothing more can be dealt and all its connections are closed.
async fn serve_connections<S: RateLimitService>(
    mut accepted: UnboundedReceiver<Accepted>,
    routes: Routes<S>,
    SharedState { lifecycle, limits, strangers, cut }: SharedState,
) {
    let http2 = connection::http2(&limits);
    let mut connections = JoinSet::new();
    loop {
        select! {
            next = accepted.recv() => {
                let Some(Accepted { stream, peer, open_connection }) = next else { break };
                let (routes, http2, lifecycle) = (routes.clone(), http2.clone(), lifecycle.clone());
                connections.spawn(async move {
                    let _counted = open_connection;
                    (peer, connection::serve(stream, routes, &http2, &lifecycle, &limits).await)
                });
            }
            Some(ended) = connections.join_next() => {
                cut.fetch_add(report(ended, &strangers).into(), Ordering::Relaxed);
            }
        }
    }
    while let Some(ended) = connections.join_next().await {
        cut.fetch_add(report(ended, &strangers).into(), Ordering::Relaxed);
    }
}

/// Logs how a connection ended, and tells whether it was cut. What a client can cause is not an error.
fn report(
    ended: Result<(SocketAddr, Result<(), ConnectionError>), JoinError>,
    strangers: &Strangers,
) -> bool {
    match ended {
        Ok((_, Ok(()))) => false,
        Ok((peer, Err(error))) => {
            if let ConnectionError::NotHttp2(opening) = &error {
                strangers.came(peer, *opening);
            }
            debug!(%peer, error = &error as &dyn Error, "connection ended");
            matches!(error, ConnectionError::Cut)
        }
        Err(panic) => {
            Task::ClientConnection.count_panic();
            error!(error = &panic as &dyn Error, "a client's connection was lost to a bug");
            false
        }
    }
}

// === impl OpenConnection, Running ===

impl OpenConnection {
    fn take(open: &Arc<AtomicUsize>) -> OpenConnection {
        open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(open))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Running {
    fn start(threads: &watch::Sender<usize>) -> Running {
        threads.send_modify(|running| *running += 1);
        Running(threads.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// One runtime of which the test holds the receiving end.
    fn one_runtime() -> (Runtimes, UnboundedReceiver<Accepted>) {
        let (sender, dealt) = mpsc::unbounded_channel();
        let handle = Handle { sender: Some(sender), open: Arc::default(), thread: thread::spawn(|| ()) };
        let running = watch::Sender::new(1).subscribe();
        (Runtimes { handles: vec![handle], running, cut: Arc::default() }, dealt)
    }

    #[tokio::test]
    async fn a_dealt_connection_sends_small_answers_at_once_and_holds_a_seat_while_it_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        assert!(!accepted.nodelay().unwrap(), "the kernel's default is on already: nothing to see here");

        let (runtimes, mut dealt) = one_runtime();
        runtimes.deal(accepted, peer).unwrap();
        let open = || runtimes.handles[0].open.load(Ordering::Relaxed);
        let Accepted { stream, peer, open_connection } = dealt.recv().await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!((peer, open()), (client.local_addr().unwrap(), 1));
        drop(open_connection);
        assert_eq!(open(), 0);
    }
}
