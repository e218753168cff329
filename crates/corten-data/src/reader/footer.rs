//! The footer of a Parquet file, walked before Parquet's own library reads it: that one sets memory aside for as many
//! elements as a list claims.

use std::io::{self, Read, Seek, SeekFrom};

/// Deepest nesting of structures.
const MAX_DEPTH: usize = 32;

/// Walks values of Thrift's compact protocol.
struct Walk<'a> {
    bytes: &'a [u8],
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn value(&mut self, kind: u8, depth: usize, in_list: bool) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            // A field's boolean is in its header, a list's has a byte.
            1 | 2 => self.pass(in_list.into()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let short = u64::from(head >> 4);
                let count = if short == 15 { self.varint()? } else { short };
                // Every element has a byte at least.
                if count > self.bytes.len() as u64 {
                    return None;
                }
                (0..count).try_for_each(|_| self.value(head & 15, depth + 1, true))
            }
            12 => loop {
                let head = self.byte()?;
                if head == 0 {
                    return Some(());
                }
                if head >> 4 == 0 {
                    self.varint()?;
                }
                self.value(head & 15, depth + 1, false)?;
            },
            _ => None,
        }
    }
}

/// Whether the lengths in a file's footer fit the file; leaves the file at its start.
pub(super) fn fits(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let fits = match length.checked_sub(8) {
        None => false,
        Some(end) => {
            file.seek(SeekFrom::Start(end))?;
            let mut tail = [0; 8];
            file.read_exact(&mut tail)?;
            let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
            match end.checked_sub(size) {
                Some(start) if tail.ends_with(b"PAR1") => {
                    file.seek(SeekFrom::Start(start))?;
                    let mut footer = Vec::new();
                    file.take(size).read_to_end(&mut footer)?;
                    Walk { bytes: &footer }.value(12, 0, false).is_some()
                }
                _ => false,
            }
        }
    };
    file.rewind()?;
    Ok(fits)
}
