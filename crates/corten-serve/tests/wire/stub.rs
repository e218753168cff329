//! A server for the server to talk to: it answers what a closure says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A request as it came: its head in lower case, and its body.
pub(crate) struct Came {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Came {
    /// Method and path.
    pub(crate) fn line(&self) -> &str {
        self.head.split(" http/").next().unwrap_or_default()
    }
}

/// Starts a server and returns its port. The closure gives the status line, further headers and the body.
pub(crate) fn stub(answer: impl Fn(Came) -> (String, Vec<u8>) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.expect("a connection"), Arc::clone(&answer));
            std::thread::spawn(move || {
                while let Some(came) = next(&stream) {
                    let (head, body) = answer(came);
                    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
                    if (&stream).write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn next(mut stream: &TcpStream) -> Option<Came> {
    let mut kept = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        if let Some(end) = kept.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&kept[..end]).to_ascii_lowercase();
            let given = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = given.map_or(0, |l| l.trim().parse().expect("a length"));
            if kept.len() >= end + 4 + length {
                return Some(Came { head, body: kept[end + 4..end + 4 + length].to_vec() });
            }
        }
        let count = stream.read(&mut bytes).ok().filter(|c| *c > 0)?;
        kept.extend_from_slice(&bytes[..count]);
    }
}
