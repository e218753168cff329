//! Answers frames on a Unix socket: a thread a connection, until a signal asks for the end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use corten::frames::{self, Connection};
use corten_core::{Error, Result};
use corten_model::Model;

/// How long a peer may take for the rest of a frame, or to read an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long connections may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes asked for at once; a buffer that grew for a large frame is given back.
const CHUNK: usize = 1 << 16;
/// A thread reads frames and runs a model; it doesn't recurse.
const STACK: usize = 1 << 18;

/// Where the handler of signals writes.
static ALARM: AtomicI32 = AtomicI32::new(-1);

extern "C" fn alarm(_: libc::c_int) {
    #[expect(unsafe_code, reason = "a call to the system")]
    // SAFETY: write is safe in a signal handler; a full or closed pipe is no harm.
    unsafe {
        libc::write(ALARM.load(Ordering::Relaxed), b"!".as_ptr().cast(), 1);
    }
}

/// A pipe that becomes readable at the first SIGTERM or SIGINT; the second one ends the process as if none of this was
/// here.
#[expect(unsafe_code, reason = "calls to the system")]
fn signals() -> std::io::Result<RawFd> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    ALARM.store(ends[1], Ordering::Relaxed);
    // SAFETY: zeros are a valid action; the handler only writes to a pipe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = alarm as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
        for signal in [libc::SIGTERM, libc::SIGINT] {
            if libc::sigaction(signal, &action, std::ptr::null_mut()) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(ends[0])
}

/// Waits for one of two descriptors; whether the second one is readable.
#[expect(unsafe_code, reason = "a call to the system")]
fn wait(listener: RawFd, pipe: RawFd) -> bool {
    let mut polled = [listener, pipe].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: two entries. An interruption is looked at as any other wake-up.
    unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) };
    polled[1].revents != 0
}

/// Binds a socket that only this user may connect to. A socket that nobody listens on is replaced.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
    }
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    #[expect(unsafe_code, reason = "a call to the system")]
    // SAFETY: there is no other thread yet whose files this could concern.
    let before = unsafe { libc::umask(0o177) };
    let bound = UnixListener::bind(path);
    #[expect(unsafe_code, reason = "a call to the system")]
    // SAFETY: as above.
    unsafe {
        libc::umask(before);
    }
    bound
}

type Open = Arc<Mutex<Vec<(u64, UnixStream)>>>;

/// Serves until a signal comes. `limit` connections may be open at once; more are told so and closed.
///
/// # Errors
/// [`Error::Io`] when the socket can't be made.
pub(crate) fn serve(model: Model, path: &Path, limit: usize) -> Result<()> {
    let io = |doing: &str, error: &std::io::Error| Error::Io {
        path: path.display().to_string(),
        problem: format!("{doing}: {error}"),
        not_found: false,
    };
    let pipe = signals().map_err(|e| io("signals can't be caught", &e))?;
    let listener = bind(path).map_err(|e| io("can't be listened on", &e))?;
    listener.set_nonblocking(true).map_err(|e| io("can't be listened on", &e))?;
    let model = Arc::new(RwLock::new(model));
    let open: Open = Open::default();
    let mut threads = Vec::new();
    eprintln!("corten-run: listening on {}", path.display());
    let mut id = 0;
    loop {
        let stop = wait(listener.as_raw_fd(), pipe);
        // Who connected before the signal is answered.
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    id += 1;
                    threads.retain(|t: &thread::JoinHandle<()>| !t.is_finished());
                    admit(stream, id, limit, &model, &open, &mut threads);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Out of descriptors or memory: the others may give some back.
                Err(_) => {
                    thread::sleep(Duration::from_millis(10));
                    break;
                }
            }
        }
        if stop {
            break;
        }
    }
    drop(listener);
    // What came before the signal is read and answered; then each connection sees its end.
    for (_, stream) in open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = stream.shutdown(Shutdown::Read);
    }
    let _ = std::fs::remove_file(path);
    let end = Instant::now() + DRAIN;
    while threads.iter().any(|t| !t.is_finished()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Starts a thread for a connection, or tells it that there are too many.
fn admit(
    mut stream: UnixStream,
    id: u64,
    limit: usize,
    model: &Arc<RwLock<Model>>,
    open: &Open,
    threads: &mut Vec<thread::JoinHandle<()>>,
) {
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    let ready = ready.and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let (Ok(()), Ok(kept)) = (ready, stream.try_clone()) else { return };
    {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= limit {
            let _ = stream.write_all(&frames::refusal(&Error::Limit(format!("{limit} connections are open already"))));
            return;
        }
        open.push((id, kept));
    }
    let (model, register) = (Arc::clone(model), Arc::clone(open));
    let started = thread::Builder::new().stack_size(STACK).spawn(move || {
        converse(&mut stream, &model);
        register.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != id);
    });
    match started {
        Ok(thread) => threads.push(thread),
        Err(_) => open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != id),
    }
}

/// Answers frames until the peer has no more, breaks the protocol, or leaves a frame half sent.
fn converse(stream: &mut UnixStream, model: &RwLock<Model>) {
    let mut connection = Connection::new(&model.read().unwrap_or_else(PoisonError::into_inner));
    let (mut bytes, mut filled, mut out) = (vec![0; CHUNK], 0, Vec::new());
    loop {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // An idle connection may stay; half a frame may not.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && filled == 0 => {
                continue;
            }
            Err(_) => return,
        }
        let mut done = 0;
        loop {
            let taken = connection.take(model, &bytes[done..filled], &mut out);
            if stream.write_all(&out).is_err() {
                return;
            }
            out.clear();
            out.shrink_to(CHUNK);
            match taken {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) => {
                    let _ = stream.write_all(&frames::refusal(&error));
                    return;
                }
            }
        }
        bytes.copy_within(done..filled, 0);
        filled -= done;
        // A frame that is longer than the buffer gets the room it asks for, at most the limit: as it fills, not before.
        if filled == bytes.len() {
            bytes.resize((2 * filled).min(frames::MAX_FRAME + frames::HEAD), 0);
        } else if filled == 0 && bytes.len() > CHUNK {
            bytes = vec![0; CHUNK];
        }
    }
}
