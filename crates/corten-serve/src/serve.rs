//! Listening, accepting, and going down without losing a request.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_core::{Error, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::http;
use crate::repository::Store;

/// Longest wait for the head of a request, and between two of them.
const HEADER_TIME: Duration = Duration::from_secs(75);
/// Longest wait for open requests at the end.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Most connections at once.
const MAX_CONNECTIONS: usize = 4096;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Threads.
    pub workers: usize,
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Most rows of a request.
    pub max_rows: usize,
    /// How often files and folders are looked at for changes; zero never.
    pub watch: Duration,
    /// Whether models are loaded and unloaded on request.
    pub admin: bool,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            workers,
            max_body: 16 << 20,
            max_rows: 100_000,
            watch: Duration::from_millis(250),
            admin: false,
        }
    }
}

/// What all workers share.
struct Shared {
    store: Arc<Store>,
    options: Options,
    connections: AtomicUsize,
}

/// Serves until SIGTERM or SIGINT, then finishes what was begun.
///
/// # Errors
/// [`Error::Io`] when the address can't be listened on.
pub fn serve(store: Store, options: &Options) -> Result<()> {
    let address = format!("{}:{}", options.host, options.port);
    let io = |problem: String| Error::Io { path: address.clone(), problem, not_found: false };
    let host: IpAddr = options
        .host
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| Error::parameter("host", "an IP address such as 127.0.0.1", format!("'{}'", options.host)))?;
    let listener =
        TcpListener::bind(SocketAddr::new(host, options.port)).map_err(|e| io(format!("can't be listened on: {e}")))?;
    listener.set_nonblocking(true).map_err(|e| io(e.to_string()))?;
    let local = listener.local_addr().map_err(|e| io(e.to_string()))?;
    let shared =
        Arc::new(Shared { store: Arc::new(store), options: options.clone(), connections: AtomicUsize::new(0) });
    let (stop, stopped) = watch::channel(false);
    if !options.watch.is_zero() {
        let (store, pause) = (Arc::downgrade(&shared.store), options.watch);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(pause);
                let Some(store) = store.upgrade() else { break };
                store.refresh();
            }
        });
    }
    let mut threads = Vec::new();
    for _ in 1..options.workers {
        let listener = listener.try_clone().map_err(|e| io(e.to_string()))?;
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        threads.push(std::thread::spawn(move || work(listener, shared, stopped, None)));
    }
    work(listener, shared, stopped, Some((stop, local))).map_err(|e| io(e.to_string()))?;
    for thread in threads {
        // A worker that failed has ended; the others have served on.
        let _ = thread.join();
    }
    Ok(())
}

/// One worker: a runtime of one thread.
fn work(
    listener: TcpListener,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    first: Option<(watch::Sender<bool>, SocketAddr)>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        if let Some((stop, local)) = first {
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            // Said only now: whoever reads it may send a signal.
            eprintln!("corten-serve: listening on http://{local}");
            tokio::spawn(async move {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                // Workers that are gone need no word.
                let _ = stop.send(true);
            });
        }
        let listener = tokio::net::TcpListener::from_std(listener)?;
        accept(listener, shared, stopped).await;
        Ok(())
    })
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = until(&mut stopped) => break,
        };
        // Finished connections leave the set.
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            // Out of file handles, most likely: wait for some to come free.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Small answers must not wait for more; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        open.spawn(connection(stream, Arc::clone(&shared), stopped.clone()));
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_TIME, async { while open.join_next().await.is_some() {} }).await;
}

/// Waits for the word to stop.
async fn until(stopped: &mut watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if stopped.changed().await.is_err() {
            break;
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let full = shared.connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS;
    {
        let shared = &shared;
        let service = service_fn(move |request| async move {
            Ok::<_, Infallible>(if full {
                http::busy()
            } else {
                http::answer(request, &shared.store, &shared.options).await
            })
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .keep_alive(!full)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            // A client that goes away is no error of the server's.
            _ = connection.as_mut() => {}
            () = until(&mut stopped) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    shared.connections.fetch_sub(1, Ordering::Relaxed);
}
