//! The first bytes of HTTP/2, read before anything is set up for a connection: one that sends nothing costs nothing.

use std::io::{self, Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What every client begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the preface, of which `before` was read already, and gives the stream back as if nothing had been read.
///
/// # Errors
/// Those of the stream, and of another first byte.
pub(crate) async fn expect<S: AsyncRead + Unpin>(mut stream: S, mut before: Vec<u8>) -> io::Result<Rewound<S>> {
    while before.len() < PREFACE.len() {
        let mut given = [0; PREFACE.len()];
        let more = stream.read(&mut given[before.len()..]).await?;
        before.extend_from_slice(&given[before.len()..][..more]);
        if more == 0 || !PREFACE.starts_with(&before) {
            return Err(Error::new(ErrorKind::InvalidData, "no HTTP/2"));
        }
    }
    Ok(Rewound { stream, before, told: 0 })
}

/// A stream whose first bytes were read and come again.
pub(crate) struct Rewound<S> {
    stream: S,
    before: Vec<u8>,
    told: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &self.before[self.told..];
        if rest.is_empty() || into.remaining() == 0 {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let length = rest.len().min(into.remaining());
        into.put_slice(&rest[..length]);
        self.told += length;
        if self.told == self.before.len() {
            (self.before, self.told) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
