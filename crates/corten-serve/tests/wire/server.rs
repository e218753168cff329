//! A server in its own process, spoken to byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// A golden model file.
pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/models/1/{name}.corten"))
}

/// The rows and answers beside a golden model.
pub(crate) fn case(name: &str) -> Value {
    let bytes = std::fs::read(golden(name).with_extension("json")).expect("a case");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A port that nobody has and that no other test was given. It is never listened on here: a server that another test starts
/// meanwhile has this socket too until it runs its own program, and would take connections that are meant for ours.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // As the server does, which may have the port then, whoever else still has this socket.
        socket.set_reuse_address(true).expect("a port for two");
        socket.bind(&any.into()).expect("a free port");
        let port = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address").port();
        if GIVEN.lock().expect("ports").insert(port) {
            return port;
        }
    }
}

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server on a free port and waits until it listens.
    pub(crate) fn start(models: &[&str], options: &[&str]) -> Self {
        let paths: Vec<PathBuf> = models.iter().map(|m| golden(m)).collect();
        Self::of(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>(), options)
    }

    /// Serves files and folders.
    pub(crate) fn of(paths: &[&Path], options: &[&str]) -> Self {
        Self::telling(paths, options, Stdio::null())
    }

    /// Serves files and folders; what the server says goes to `log`.
    pub(crate) fn telling(paths: &[&Path], options: &[&str], log: Stdio) -> Self {
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
            .args(paths)
            .args(["--port", &port.to_string(), "--workers", "2"])
            .args(options)
            .stderr(log)
            .spawn()
            .expect("corten-serve starts");
        let mut server = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().expect("a status");
            assert!(ended.is_none(), "corten-serve ended before it listened: {ended:?}");
            assert!(start.elapsed() < Duration::from_secs(20), "corten-serve doesn't listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// The only connection that is open: the one that saw whether the server listens may stay for a moment.
    pub(crate) fn alone(&self) -> Connection {
        let start = Instant::now();
        loop {
            let mut connection = self.connect();
            connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            if connection.answer().text().contains("\ncorten_open_connections 1\n") {
                return connection;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "others stay connected");
            drop(connection);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::of(TcpStream::connect(("127.0.0.1", self.port)).expect("a connection"))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        connection.answer()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(&post(path, body));
        connection.answer()
    }

    /// Kilobytes that the server holds.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Asks the server to stop, as a container's manager does.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "corten-serve doesn't stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of a request.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    format!("{head}{body}").into_bytes()
}

pub(crate) struct Connection {
    stream: TcpStream,
    kept: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Takes the first answer off what came, once it is whole.
    pub(crate) fn take(came: &mut Vec<u8>) -> Option<Self> {
        let end = came.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8(came[..end].to_vec()).expect("a head of text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status");
        let headers: BTreeMap<String, String> = lines
            .filter_map(|l| l.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(0, |l| l.parse().expect("a length"));
        if came.len() < end + 4 + length {
            return None;
        }
        let body = came[end + 4..end + 4 + length].to_vec();
        came.drain(..end + 4 + length);
        Some(Self { status, headers, body })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The sentence of an answer of this status.
    pub(crate) fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()["error"].as_str().expect("an error").to_owned()
    }
}

impl Connection {
    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, kept: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("bytes are taken");
    }

    /// Says that nothing more will come.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("an end");
    }

    /// The next answer, if the connection gives one before it ends.
    pub(crate) fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = Answer::take(&mut self.kept) {
                return Some(answer);
            }
            self.more()?;
        }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.next().expect("an answer")
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 8192];
        match self.stream.read(&mut bytes) {
            Ok(count) if count > 0 => {
                self.kept.extend_from_slice(&bytes[..count]);
                Some(())
            }
            _ => None,
        }
    }
}
