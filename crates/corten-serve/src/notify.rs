//! Word to a person, on standard error, and to a service manager: systemd's `sd_notify`, a datagram to the socket that it names.

use std::fmt::Display;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Writes a line to standard error, at once. Where that can't be, as on a full disk, requests are answered all the same.
pub(crate) fn say(line: &dyn Display) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says `READY=1` or `STOPPING=1` to whoever has started this process and asks to hear it.
pub(crate) fn notify(word: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let tell = || {
        // A name that starts with @ is no file.
        let address = match name.to_str().and_then(|n| n.strip_prefix('@')) {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(|_| ())
    };
    // Who isn't heard is served all the same.
    tell().unwrap_or_else(|e| say(&format_args!("corten-serve: {word} isn't heard: {e}")));
}
