//! Bodies and messages that come compressed.

use std::io::{Error, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    /// zlib's, as HTTP has it.
    Deflate,
}

/// Why bytes weren't unpacked.
#[derive(Debug)]
pub(crate) enum Unpacked {
    TooLarge,
    Broken(Error),
}

impl Packing {
    /// The packing that a header field names; none for `identity`.
    ///
    /// # Errors
    /// For one that isn't read.
    pub(crate) fn of(name: &[u8]) -> Result<Option<Self>, ()> {
        match name {
            b"identity" => Ok(None),
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            _ => Err(()),
        }
    }

    /// Unpacks bytes into at most `limit`.
    ///
    /// # Errors
    /// [`Unpacked::TooLarge`] before more than the limit is in memory, [`Unpacked::Broken`].
    pub(crate) fn unpack(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Unpacked> {
        let mut out = Vec::new();
        let most = limit as u64 + 1;
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(bytes).take(most).read_to_end(&mut out),
            Self::Deflate => ZlibDecoder::new(bytes).take(most).read_to_end(&mut out),
        };
        match read {
            _ if out.len() > limit => Err(Unpacked::TooLarge),
            Ok(_) => Ok(out),
            Err(error) => Err(Unpacked::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn bytes_are_unpacked_within_the_limit() {
        let text = b"corten ".repeat(1000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let zlib = zlib.finish().unwrap();
        assert_eq!(Packing::Gzip.unpack(&gzip, 7000).unwrap(), text);
        assert_eq!(Packing::Deflate.unpack(&zlib, 7000).unwrap(), text);
        assert!(matches!(Packing::Gzip.unpack(&gzip, 6999), Err(Unpacked::TooLarge)));
        for broken in [&gzip[..20], &zlib, b""] {
            assert!(matches!(Packing::Gzip.unpack(broken, 7000), Err(Unpacked::Broken(_))));
        }
        assert_eq!(Packing::of(b"identity"), Ok(None));
        assert_eq!(Packing::of(b"br"), Err(()));
    }
}
