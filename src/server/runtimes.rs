//! The runtimes: threads that serve connections, and the dealing of connections to them.
//!
//! Envoy opens one HTTP/2 connection per worker and keeps it for hours, so where a connection lands decides how evenly
//! the load is spread. It is dealt to the runtime with the fewest open connections, not hashed.

use std::{
    convert::Infallible,
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
        mpsc::{self, UnboundedReceiver, UnboundedSender, WeakUnboundedSender},
        watch,
    },
    task::JoinSet,
    time,
};

use super::{
    ConnectionLimits, Lifecycle, Options, Port, ServerError, aside::AsideCall, authz_http, connection,
    current_thread_runtime, drain::CUT_GRACE, endings::Endings, routes::Routes, tls::Tls,
};
use crate::{lifecycle::Phase, protocol::Service};

/// All runtimes. They go on when this is dropped; [`Runtimes::join`] waits for them.
pub(super) struct Runtimes {
    handles: Vec<Handle>,
    running: watch::Receiver<usize>,
    endings: Arc<Endings>,
}

/// One runtime, as the thread that accepts connections sees it.
struct Handle {
    /// `None` once no more connections are dealt.
    sender: Option<UnboundedSender<Dealt>>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// An accepted connection on its way to its runtime.
pub(super) struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    port: Port,
    open_connection: OpenConnection,
}

/// What a runtime is given to do.
pub(super) enum Dealt {
    Connection(Accepted),
    /// A request that came by the admin port.
    Aside(AsideCall),
}

/// Counts one open connection of a runtime until it is dropped, however the connection ends.
struct OpenConnection(Arc<AtomicUsize>);

/// Counts one running thread until it is dropped, however the thread ends.
struct Running(watch::Sender<usize>);

/// What all runtimes of a server share.
#[derive(Clone)]
struct SharedState {
    lifecycle: Lifecycle,
    limits: ConnectionLimits,
    tls: Option<Arc<Tls>>,
    endings: Arc<Endings>,
}

// === impl Runtimes ===

impl Runtimes {
    /// Starts the threads, and returns when all of them have called `make_routes`, each in the context of its runtime.
    /// Fails if a thread or its runtime cannot be started.
    pub(super) fn start<S: Service>(
        options: &Options,
        make_routes: Arc<impl Fn() -> Routes<S> + Send + Sync + 'static>,
        lifecycle: &Lifecycle,
        endings: Endings,
    ) -> Result<Runtimes, ServerError> {
        let (lifecycle, limits, endings) = (lifecycle.clone(), options.connections, Arc::new(endings));
        let tls = options.tls.clone();
        let shared = SharedState { lifecycle, limits, tls, endings: Arc::clone(&endings) };
        let running = watch::Sender::new(0);
        let mut runtimes = Runtimes { handles: Vec::new(), running: running.subscribe(), endings };
        // Nothing is ever sent. When the last sender is dropped, all runtimes have their routes.
        let (starting, all_started) = std::sync::mpsc::channel::<Infallible>();
        for index in 0..options.runtimes.get() {
            let running = Running::start(&running);
            let runtime = current_thread_runtime()?;
            let (sender, accepted) = mpsc::unbounded_channel();
            let (make_routes, starting, shared) =
                (Arc::clone(&make_routes), starting.clone(), shared.clone());
            let thread = thread::Builder::new()
                .name(format!("runtime-{index}"))
                .spawn(move || {
                    // Dropped in reverse order, also by a panic: the thread counts as running until its tasks are gone.
                    let (_running, runtime) = (running, runtime);
                    runtime.block_on(async {
                        let routes = make_routes();
                        drop(starting);
                        serve_connections(accepted, routes, shared).await;
                    });
                })
                .map_err(|error| ServerError::Start(error.into()))?;
            runtimes.handles.push(Handle { sender: Some(sender), open: Arc::default(), thread });
        }
        drop(starting);
        // From here on `/ready` knows of every runtime. A thread that panicked has dropped its sender too.
        let _ = all_started.recv();
        Ok(runtimes)
    }

    /// Hands the connection to the runtime with the fewest open connections, the first of several. Fails if the
    /// connection has broken already, or if the runtime has ended.
    pub(super) fn deal(&self, stream: TcpStream, peer: SocketAddr, port: Port) -> io::Result<()> {
        // Small answers must not wait for the acknowledgement of earlier ones (Nagle's algorithm).
        stream.set_nodelay(true)?;
        // Takes it off this thread's event loop. The runtime registers it with its own.
        let stream = stream.into_std()?;
        let fewest = self.handles.iter().min_by_key(|handle| handle.open.load(Ordering::Relaxed));
        let handle = fewest.expect("there is at least one runtime");
        let open_connection = OpenConnection::count(&handle.open);
        let sender = handle.sender.as_ref().ok_or(io::ErrorKind::ConnectionAborted)?;
        sender
            .send(Dealt::Connection(Accepted { stream, peer, port, open_connection }))
            .map_err(|_unsent| io::ErrorKind::ConnectionAborted.into())
    }

    /// What counts as [`open`](Self::open) does, also once this is gone.
    pub(super) fn counter(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let open: Vec<_> = self.handles.iter().map(|handle| Arc::clone(&handle.open)).collect();
        move || open.iter().map(|open| open.load(Ordering::Relaxed)).sum()
    }

    /// The number of connections that are open or on their way to their runtime.
    pub(super) fn open(&self) -> usize {
        self.handles.iter().map(|handle| handle.open.load(Ordering::Relaxed)).sum()
    }

    /// Lets each runtime end once its connections are closed.
    pub(super) fn stop_dealing(&mut self) {
        for handle in &mut self.handles {
            handle.sender = None;
        }
    }

    pub(super) fn endings(&self) -> &Endings {
        &self.endings
    }

    /// A sender to each runtime, which does not keep it from ending.
    pub(super) fn senders(&self) -> Vec<WeakUnboundedSender<Dealt>> {
        let senders = self.handles.iter().filter_map(|handle| handle.sender.as_ref());
        senders.map(UnboundedSender::downgrade).collect()
    }

    /// The number of runtimes that have not ended.
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
        // An error means that the last thread is gone, and the sender of the count with it.
        let _ = self.running.clone().wait_for(|running| few_enough(*running)).await;
    }

    /// Waits for all threads. They end when no more connections are dealt and theirs are closed.
    pub(super) fn join(mut self) -> Result<(), ServerError> {
        self.stop_dealing();
        let mut outcome = Ok(());
        for (index, handle) in self.handles.into_iter().enumerate() {
            if handle.thread.join().is_err() {
                outcome = Err(ServerError::RuntimePanicked { index });
            }
        }
        outcome
    }
}

/// The whole life of one runtime: until no more connections are dealt and all of its own are closed.
async fn serve_connections<S: Service>(
    mut dealt: UnboundedReceiver<Dealt>,
    routes: Routes<S>,
    SharedState { lifecycle, limits, tls, endings }: SharedState,
) {
    let http2 = connection::http2(&limits);
    let mut connections = JoinSet::new();
    loop {
        select! {
            next = dealt.recv() => {
                let Some(next) = next else { break };
                let Accepted { stream, peer, port, open_connection } = match next {
                    Dealt::Connection(accepted) => accepted,
                    Dealt::Aside(call) => {
                        let routes = routes.clone();
                        // It ends with the runtime; whoever asked is told.
                        tokio::spawn(async move { call.answer(&routes).await });
                        continue;
                    }
                };
                let (routes, http2) = (routes.clone(), http2.clone());
                let (lifecycle, tls) = (lifecycle.clone(), tls.clone());
                connections.spawn(async move {
                    let _counted = open_connection;
                    let ended = match port {
                        Port::AuthzHttp => authz_http::serve(stream, routes, &lifecycle, &limits).await,
                        Port::Grpc | Port::Admin | Port::Debug | Port::Metrics => {
                            connection::serve(stream, tls.as_deref(), routes, &http2, &lifecycle, &limits).await
                        }
                    };
                    (peer, ended)
                });
            }
            Some(ended) = connections.join_next() => endings.note(ended),
        }
    }
    while let Some(ended) = connections.join_next().await {
        endings.note(ended);
    }
    select! {
        () = routes.finish() => {}
        () = cut(&lifecycle) => {}
    }
}

/// Returns when a runtime must end whatever it still has to do, so that it does not count as stuck.
async fn cut(lifecycle: &Lifecycle) {
    lifecycle.reached(Phase::Ended).await;
    time::sleep(CUT_GRACE / 2).await;
}

// === impl OpenConnection, Running ===

impl OpenConnection {
    fn count(open: &Arc<AtomicUsize>) -> OpenConnection {
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
    use crate::metrics::Metrics;

    /// One runtime. The test holds its receiving end.
    fn one_runtime() -> (Runtimes, UnboundedReceiver<Dealt>) {
        let (sender, accepted) = mpsc::unbounded_channel();
        let handle = Handle { sender: Some(sender), open: Arc::default(), thread: thread::spawn(|| ()) };
        let running = watch::Sender::new(1).subscribe();
        let endings = Arc::new(Endings::new(Arc::new(Metrics::new())));
        (Runtimes { handles: vec![handle], running, endings }, accepted)
    }

    #[tokio::test]
    async fn a_dealt_connection_sends_small_answers_at_once_and_is_counted_while_it_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        assert!(!stream.nodelay().unwrap(), "the kernel's default is on already: nothing to see here");

        let (runtimes, mut accepted) = one_runtime();
        runtimes.deal(stream, peer, Port::Grpc).unwrap();
        let open = || runtimes.handles[0].open.load(Ordering::Relaxed);
        let Some(Dealt::Connection(accepted)) = accepted.recv().await else { panic!("a connection") };
        let Accepted { stream, peer, open_connection, .. } = accepted;
        assert!(stream.nodelay().unwrap());
        assert_eq!((peer, open()), (client.local_addr().unwrap(), 1));
        drop(open_connection);
        assert_eq!(open(), 0);
    }
}
