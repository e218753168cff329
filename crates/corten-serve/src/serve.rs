//! Listening, accepting, and going down without losing a request.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use corten_core::{Error, Result};
use corten_kernels::cache;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::keys::Keys;
use crate::notify::{notify, say};
use crate::pace::Pace;
use crate::store::Store;
use crate::tls::Tls;
use crate::trace::Tracer;
use crate::{http1, http2};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Connections that are woken before they are read: what waking one brings into the caches is still there then, which it isn't
/// behind a thousand others.
const EVENTS: usize = 32;

/// How long nobody else is let in after one that came beyond the limit of connections.
const FULL: Duration = Duration::from_millis(1);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The port for gRPC, where it has one of its own; 0 takes a free one.
    pub grpc_port: Option<u16>,
    /// Threads.
    pub workers: usize,
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Most rows of a request.
    pub max_rows: usize,
    /// Most connections at once; further ones are answered 503.
    pub max_connections: usize,
    /// Most requests in progress at once; further ones are answered 503.
    pub max_active: usize,
    /// Milliseconds of work before a request from which on it is refused, where more than a few wait.
    pub max_wait: u64,
    /// Longest wait for the head of a request that has begun, in seconds.
    pub head_timeout: u64,
    /// Longest wait for the next request of a connection, in seconds.
    pub idle_timeout: u64,
    /// Longest wait for a whole body, in seconds.
    pub body_timeout: u64,
    /// Fewest bytes a second of a body that takes more than a few seconds; 0 for any number.
    pub min_rate: u64,
    /// How long requests are still taken after the word to stop, in seconds: `ready` answers 503 meanwhile.
    pub drain_delay: u64,
    /// Longest wait for open requests at the end, in seconds.
    pub drain_timeout: u64,
    /// Milliseconds between two looks at the model files; 0 for never.
    pub watch: u64,
    /// Whether requests may load and unload models.
    pub admin: bool,
    /// Whether each request is logged, as a line of JSON on standard error.
    pub log: bool,
    /// The origins whose pages may ask; `*` for all.
    pub cors: Vec<String>,
    /// Who may ask.
    pub keys: Keys,
    /// Where the spans of traced requests go, if they go anywhere.
    pub tracer: Option<Arc<Tracer>>,
    /// How connections are encrypted, if they are.
    pub tls: Option<Arc<Tls>>,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            grpc_port: None,
            workers,
            max_body: 16 << 20,
            max_rows: 100_000,
            max_connections: 4096,
            max_active: 4096,
            max_wait: 100,
            head_timeout: 10,
            idle_timeout: 75,
            body_timeout: 30,
            min_rate: 1024,
            drain_delay: 0,
            drain_timeout: 10,
            watch: 100,
            admin: false,
            log: false,
            cors: Vec::new(),
            keys: Keys::default(),
            tracer: None,
            tls: None,
        }
    }
}

impl Options {
    /// How much work there may be before a request.
    pub(crate) fn most_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait)
    }

    /// How slowly a body may come.
    pub(crate) fn pace(&self) -> Pace {
        Pace { whole: Duration::from_secs(self.body_timeout), rate: self.min_rate }
    }

    /// Whether nothing is to be done for a request but to answer it.
    pub(crate) fn is_plain(&self) -> bool {
        !self.log && self.tracer.is_none() && self.cors.is_empty() && self.keys.is_empty()
    }
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) options: Options,
    /// What a call of gRPC is told that would wait too long.
    pub(crate) refusal: OnceLock<Vec<u8>>,
}

impl Shared {
    pub(crate) fn new(store: Store, options: &Options) -> Self {
        Self { store, options: options.clone(), refusal: OnceLock::new() }
    }
}

/// The sockets that a worker accepts from.
struct Listeners {
    http: TcpListener,
    grpc: Option<TcpListener>,
}

impl Listeners {
    fn try_clone(&self) -> std::io::Result<Self> {
        let grpc = self.grpc.as_ref().map(TcpListener::try_clone).transpose()?;
        Ok(Self { http: self.http.try_clone()?, grpc })
    }
}

/// Listens on a port, 0 for a free one.
fn listen(host: IpAddr, port: u16) -> Result<TcpListener> {
    let io = |e: std::io::Error| Error::Io {
        path: SocketAddr::new(host, port).to_string(),
        problem: format!("can't be listened on: {e}"),
        not_found: false,
    };
    let listen = || {
        let address = SocketAddr::new(host, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // As the standard library does it, but for a longer queue: more clients than that may come at once, and one that finds
        // no place in it tries again only after a second.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().map_err(io)
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// Serves until SIGTERM or SIGINT, then finishes what was begun.
///
/// # Errors
/// [`Error::Io`] when the address can't be listened on.
pub fn serve(store: Store, options: &Options) -> Result<()> {
    let host: IpAddr = options
        .host
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| Error::parameter("host", "an IP address such as 127.0.0.1", format!("'{}'", options.host)))?;
    let address = format!("{}:{}", options.host, options.port);
    let io = |problem: String| Error::Io { path: address.clone(), problem, not_found: false };
    // Whoever finds the server over HTTP finds it over gRPC too.
    let grpc = options.grpc_port.map(|port| listen(host, port)).transpose()?;
    let listeners = Listeners { http: listen(host, options.port)?, grpc };
    let shared = Arc::new(Shared::new(store, options));
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    if options.watch > 0 {
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        threads.push(std::thread::spawn(move || watch_files(&shared, &stopped)));
    }
    for _ in 1..options.workers {
        let listeners = listeners.try_clone().map_err(|e| io(e.to_string()))?;
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        threads.push(std::thread::spawn(move || work(listeners, shared, stopped, None)));
    }
    work(listeners, shared, stopped, Some(stop)).map_err(|e| io(e.to_string()))?;
    for thread in threads {
        // A worker that failed has ended; the others have served on.
        let _ = thread.join();
    }
    if let Some(tracer) = &options.tracer {
        tracer.flush();
    }
    Ok(())
}

/// Looks at the model files from time to time until the server stops.
fn watch_files(shared: &Shared, stopped: &watch::Receiver<bool>) -> std::io::Result<()> {
    let watch = Duration::from_millis(shared.options.watch);
    let mut pause = watch;
    let mut told = Vec::new();
    let mut looks = [Duration::MAX; 4];
    for turn in (0..looks.len()).cycle() {
        let begun = std::time::Instant::now();
        while begun.elapsed() < pause {
            if *stopped.borrow() {
                return Ok(());
            }
            std::thread::sleep(pause.min(Duration::from_millis(50)));
        }
        let looking = std::time::Instant::now();
        if let Some(Err(error)) = shared.options.tls.as_ref().map(|t| t.look()) {
            say(&format_args!("corten-serve: {error}"));
        }
        let faults = shared.store.look();
        if faults != told {
            faults.iter().for_each(|fault| say(&format_args!("corten-serve: {fault}")));
            told = faults;
        }
        // Thousands of files take a while to look at: that is no more than a hundredth of the time. The shortest of some
        // looks tells, as others loaded a model or waited for a core.
        looks[turn] = looking.elapsed();
        pause = watch.max(looks.iter().min().copied().unwrap_or_default() * 100);
    }
    Ok(())
}

/// One worker: a runtime of one thread.
fn work(
    listeners: Listeners,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    first: Option<watch::Sender<bool>>,
) -> std::io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_io_events_per_tick(EVENTS).build()?;
    runtime.block_on(async move {
        if let Some(stop) = first {
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let (mut hangup, again) = (signal(SignalKind::hangup())?, Arc::clone(&shared));
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    let tls = again.options.tls.as_ref().map_or(Ok(()), |t| t.reload());
                    for error in [tls, again.options.keys.reload()].into_iter().filter_map(Result::err) {
                        say(&format_args!("corten-serve: {error}"));
                    }
                }
            });
            // Said only now: whoever hears it may send a signal.
            let scheme = if shared.options.tls.is_some() { "https" } else { "http" };
            say(&format_args!("corten-serve: listening on {scheme}://{}", listeners.http.local_addr()?));
            if let Some(grpc) = &listeners.grpc {
                say(&format_args!("corten-serve: listening on {} for gRPC", grpc.local_addr()?));
            }
            notify("READY=1");
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                shared.store.draining.store(true, Ordering::Relaxed);
                notify("STOPPING=1");
                let delay = Duration::from_secs(shared.options.drain_delay);
                // A second signal means now.
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                // Workers that are gone need no word.
                let _ = stop.send(true);
            });
        }
        let http = tokio::net::TcpListener::from_std(listeners.http)?;
        let grpc = listeners.grpc.map(tokio::net::TcpListener::from_std).transpose()?;
        let grpc = async {
            if let Some(grpc) = grpc {
                accept(grpc, Protocol::Grpc, Arc::clone(&shared), stopped.clone()).await;
            }
        };
        tokio::join!(accept(http, Protocol::Http, Arc::clone(&shared), stopped.clone()), grpc);
        Ok(())
    })
}

async fn accept(
    listener: tokio::net::TcpListener,
    protocol: Protocol,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let mut open = tokio::task::JoinSet::new();
    let talk = |stream: tokio::net::TcpStream, open: &mut tokio::task::JoinSet<()>| {
        // Small answers must not wait for more; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        match &shared.options.tls {
            None => open.spawn(speak(stream, protocol, shared, stopped)),
            Some(tls) => open.spawn(encrypted(tls.acceptor(protocol), stream, protocol, shared, stopped)),
        };
    };
    let mut word = stopped.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = until(&mut word) => break,
        };
        // Finished connections leave the set.
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely: wait for some to come free.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        talk(stream, &mut open);
        // A crowd beyond the limit waits in the listener's queue, to be told so one after the other: each of them costs more than
        // most requests, and those who are in would wait for all of them.
        if shared.store.metrics.connections.load(Ordering::Relaxed) >= shared.options.max_connections {
            tokio::time::sleep(FULL).await;
        }
    }
    // Those who have connected before they could know.
    while let Some(Ok((stream, _))) = at_once(listener.accept()).await {
        talk(stream, &mut open);
    }
    drop(listener);
    let limit = Duration::from_secs(shared.options.drain_timeout);
    let _ = tokio::time::timeout(limit, async { while open.join_next().await.is_some() {} }).await;
}

/// What a future gives without waiting.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits for the word to stop.
pub(crate) async fn until(stopped: &mut watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if stopped.changed().await.is_err() {
            break;
        }
    }
}

/// Agrees on keys with a client, within the time of a head, and answers it.
async fn encrypted(
    acceptor: TlsAcceptor,
    stream: tokio::net::TcpStream,
    protocol: Protocol,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    // A handshake costs more than most requests: it counts among the connections while it lasts.
    let open = Counted::new(&shared);
    if open.is_none() {
        shared.store.metrics.refused("connections");
        return;
    }
    let limit = Duration::from_secs(shared.options.head_timeout);
    let stream = tokio::time::timeout(limit, acceptor.accept(stream)).await;
    drop(open);
    match stream {
        Ok(Ok(stream)) => speak(stream, protocol, Arc::clone(&shared), stopped).await,
        _ => shared.store.metrics.refused("tls"),
    }
}

/// What goes on for as long as a connection does. In a place of its own, a connection has room for what it speaks and for
/// nothing else that it might have.
struct Talk(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for Talk {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Where there are many connections its memory lies cold, and is read here and there, one place after the other.
        cache::fetch_value(&*self.0);
        self.0.as_mut().poll(context)
    }
}

/// Answers a connection in what its port speaks.
fn speak<S>(stream: S, protocol: Protocol, shared: Arc<Shared>, stopped: watch::Receiver<bool>) -> Talk
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match protocol {
        Protocol::Http => Talk(Box::pin(connection(stream, shared, stopped))),
        Protocol::Grpc => Talk(Box::pin(async move {
            let (mut stream, mut stopped) = (stream, stopped);
            let open = Counted::new(&shared);
            let full = open.is_none();
            http2(&mut stream, Vec::new(), &shared, full, &mut stopped).await;
        })),
    }
}

fn http2<'c>(
    stream: &'c mut dyn http1::Stream,
    before: Vec<u8>,
    shared: &'c Arc<Shared>,
    full: bool,
    stopped: &'c mut watch::Receiver<bool>,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
    Box::pin(http2::serve(stream, before, shared, full, stopped))
}

/// Answers the requests of a connection; one that speaks HTTP/2 with its first bytes is one of gRPC.
pub(crate) async fn connection<S>(mut stream: S, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let open = Counted::new(&shared);
    let full = open.is_none();
    if let http1::End::Http2(before) = http1::serve(&mut stream, &shared, full, &mut stopped).await {
        http2(&mut stream, before, &shared, full, &mut stopped).await;
    }
}

/// One of the connections, until it ends.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    /// None where there are as many as there may be: what is only told so doesn't keep others out.
    fn new(shared: &'c Shared) -> Option<Self> {
        let connections = &shared.store.metrics.connections;
        let open = Self(connections);
        (connections.fetch_add(1, Ordering::Relaxed) < shared.options.max_connections).then_some(open)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
