//! The model at the end of the executable.
//!
//! A bundle is this program, zeros up to a multiple of 4096, the model, and 24 bytes: the model's offset and length (both
//! 64 bits, little endian) and `CORTENB1`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use corten_core::{Error, Result};
use corten_model::Model;

const MAGIC: &[u8; 8] = b"CORTENB1";
const TRAILER: u64 = 24;
const PAGE: u64 = 4096;

/// The model of a path, else the one that this executable carries; `None` where there is neither.
///
/// # Errors
/// [`Error::Io`] and those of [`Model::from_file`].
pub(crate) fn model(path: Option<&str>) -> Result<Option<Model>> {
    if let Some(path) = path {
        return Model::load(Path::new(path)).map(Some);
    }
    let unreadable = |e: std::io::Error| Error::value(format!("this program can't read itself: {e}"));
    let path = std::env::current_exe().map_err(unreadable)?;
    let mut file = File::open(&path).map_err(unreadable)?;
    let size = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let Some(end) = size.checked_sub(TRAILER) else { return Ok(None) };
    let mut trailer = [0; TRAILER as usize];
    file.seek(SeekFrom::Start(end)).map_err(unreadable)?;
    file.read_exact(&mut trailer).map_err(unreadable)?;
    if &trailer[16..] != MAGIC {
        return Ok(None);
    }
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| trailer[at + i]));
    let (offset, length) = (word(0), word(8));
    if !offset.is_multiple_of(PAGE) || offset.checked_add(length).is_none_or(|e| e > end) {
        return Err(Error::format("the model at the end of this program is damaged"));
    }
    Model::from_file(&file, offset, length, &path).map(Some)
}
