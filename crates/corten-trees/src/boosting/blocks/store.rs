//! Blocks of binned rows, in memory or in a file.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use corten_core::{Error, Result};
use corten_kernels::boost::histogram::Tile;
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

use crate::boosting::grower::{Grown, GrownTree};
use crate::boosting::layout::{Columns, Layout};

/// Rows of a block: their places in it have 16 bits.
pub(crate) const ROWS: usize = 1 << 16;
/// A block is packed where that leaves at most this share of it: reading more is cheaper than unpacking.
const WORTH: f64 = 0.6;

/// Where a block lies.
enum Kept {
    Memory(Vec<Tile>),
    File { at: u64, packed: Option<usize> },
}

/// Binned rows in blocks.
pub(crate) struct Blocks {
    pub(crate) layout: Layout,
    rows: usize,
    blocks: Vec<Kept>,
    file: Option<Scratch>,
}

/// Memory that blocks of a file are read into.
#[derive(Default)]
pub(crate) struct Room {
    tiles: Vec<Tile>,
    bytes: Vec<u8>,
    packed: Vec<u8>,
}

impl Blocks {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of blocks.
    pub(crate) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Number of rows of a block.
    pub(crate) fn rows_of(&self, block: usize) -> usize {
        ROWS.min(self.rows - block * ROWS)
    }

    /// Does something with the tiles of a block, of which only the block's own rows have a meaning.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be read.
    pub(crate) fn with<R>(&self, block: usize, room: &mut Room, work: impl FnOnce(&[Tile]) -> R) -> Result<R> {
        let (at, packed) = match &self.blocks[block] {
            Kept::Memory(tiles) => return Ok(work(tiles)),
            Kept::File { at, packed } => (*at, *packed),
        };
        let file = self.file.as_ref().ok_or_else(|| Error::Internal("a block of no file".into()))?;
        let columns: Vec<usize> = (0..self.layout.sizes.len()).map(|t| self.layout.columns(t)).collect();
        if room.tiles.len() != columns.len() {
            room.tiles = columns.iter().map(|&n| Tile::new(Pages::zeroed(ROWS * n), n)).collect();
        }
        let rows = self.rows_of(block);
        match packed {
            None => {
                let mut at = at;
                for (tile, &n) in room.tiles.iter_mut().zip(&columns) {
                    file.read(&mut tile.bins_mut()[..rows * n], at)?;
                    at += (rows * n) as u64;
                }
            }
            Some(length) => {
                room.packed.resize(length, 0);
                file.read(&mut room.packed, at)?;
                room.bytes.resize(rows * columns.iter().sum::<usize>(), 0);
                lz4_flex::block::decompress_into(&room.packed, &mut room.bytes)
                    .map_err(|_| file.fault("has other bytes than were written there"))?;
                let mut bytes = &room.bytes[..];
                for (tile, &n) in room.tiles.iter_mut().zip(&columns) {
                    let (own, rest) = bytes.split_at(rows * n);
                    tile.bins_mut()[..rows * n].copy_from_slice(own);
                    bytes = rest;
                }
            }
        }
        Ok(work(&room.tiles))
    }
}

impl Blocks {
    /// Adds a tree, times `factor`, to the scores of all rows.
    ///
    /// # Errors
    /// As [`Blocks::with`].
    pub(crate) fn walk(&self, scores: &mut [f64], tree: &GrownTree, factor: f64, team: Team<'_>) -> Result<()> {
        let pool = Mutex::new(Vec::new());
        let mut items: Vec<(&mut [f64], Result<()>)> = scores.chunks_mut(ROWS).map(|s| (s, Ok(()))).collect();
        team.each(&mut items, |block, (scores, outcome)| {
            let found: Option<Room> = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut room = found.unwrap_or_default();
            *outcome = self.with(block, &mut room, |tiles| {
                for (row, score) in scores.iter_mut().enumerate() {
                    let bin = |f: usize| {
                        let (group, member) = self.layout.members[f];
                        let place = self.layout.places[group];
                        let tile = &tiles[place.tile];
                        member.bin(tile.bins()[row * tile.columns() + place.column])
                    };
                    if let Grown::Leaf { value } = tree.nodes[tree.leaf(&self.layout.features, bin)] {
                        *score += if factor == 1.0 { value } else { value * factor };
                    }
                }
            });
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        });
        items.into_iter().try_for_each(|i| i.1)
    }
}

/// Blocks being filled.
pub(crate) struct Filling {
    blocks: Blocks,
    /// The tiles of the block that is being filled.
    tiles: Vec<Pages<u8>>,
    filled: usize,
    /// Bytes that may still be kept in memory.
    memory: usize,
    bytes: Vec<u8>,
}

impl Filling {
    /// Blocks of which `memory` bytes may be kept.
    pub(crate) fn new(layout: Layout, memory: usize) -> Self {
        let tiles = Self::room(&layout);
        let blocks = Blocks { layout, rows: 0, blocks: Vec::new(), file: None };
        Self { blocks, tiles, filled: 0, memory, bytes: Vec::new() }
    }

    fn room(layout: &Layout) -> Vec<Pages<u8>> {
        (0..layout.sizes.len()).map(|t| Pages::zeroed(ROWS * layout.columns(t))).collect()
    }

    /// Appends rows: the bytes of groups.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be written.
    pub(crate) fn push(&mut self, groups: &Columns, team: Team<'_>) -> Result<()> {
        let mut done = 0;
        while done < groups.rows() {
            let (from, count) = (self.filled, (ROWS - self.filled).min(groups.rows() - done));
            let mut first = 0;
            let mut parts: Vec<(usize, usize, &mut [u8])> = Vec::with_capacity(self.tiles.len());
            for (t, tile) in self.tiles.iter_mut().enumerate() {
                let n = self.blocks.layout.columns(t);
                parts.push((first, n, &mut tile[from * n..(from + count) * n]));
                first += n;
            }
            team.each(&mut parts, |_, (first, n, out)| {
                for (k, part) in out.chunks_mut(64 * *n).enumerate() {
                    let start = done + k * 64;
                    for j in 0..*n {
                        let column = &groups.get(*first + j)[start..];
                        for (row, &bin) in part.chunks_exact_mut(*n).zip(column) {
                            row[j] = bin;
                        }
                    }
                }
            });
            done += count;
            self.filled += count;
            if self.filled == ROWS {
                self.put()?;
            }
        }
        Ok(())
    }

    /// Ends the block that is being filled.
    fn put(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.filled);
        if rows == 0 {
            return Ok(());
        }
        let columns: Vec<usize> = (0..self.tiles.len()).map(|t| self.blocks.layout.columns(t)).collect();
        let bytes = ROWS * columns.iter().sum::<usize>();
        if bytes <= self.memory {
            self.memory -= bytes;
            let tiles = std::mem::replace(&mut self.tiles, Self::room(&self.blocks.layout));
            self.blocks
                .blocks
                .push(Kept::Memory(tiles.into_iter().zip(columns).map(|(t, n)| Tile::new(t, n)).collect()));
        } else {
            let file = match &mut self.blocks.file {
                Some(file) => file,
                none => none.insert(Scratch::new()?),
            };
            self.bytes.clear();
            for (tile, n) in self.tiles.iter().zip(columns) {
                self.bytes.extend_from_slice(&tile[..rows * n]);
            }
            let packed = lz4_flex::block::compress(&self.bytes);
            let is_worth = packed.len() as f64 <= WORTH * self.bytes.len() as f64;
            let at = file.write(if is_worth { &packed } else { &self.bytes })?;
            self.blocks.blocks.push(Kept::File { at, packed: is_worth.then_some(packed.len()) });
        }
        self.blocks.rows += rows;
        Ok(())
    }

    /// The blocks.
    ///
    /// # Errors
    /// As [`Filling::push`].
    pub(crate) fn finish(mut self) -> Result<Blocks> {
        self.put()?;
        Ok(self.blocks)
    }
}

/// A file without a name, which is gone when the fit is, however it ends; with a name where a system can't do without.
struct Scratch {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Scratch {
    fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("corten-{}-{}.bins", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|e| fault(&path, &format!("can't be made: {e}")))?;
        if cfg!(unix) {
            fs::remove_file(&path).map_err(|e| fault(&path, &format!("can't be unlinked: {e}")))?;
        }
        Ok(Self { file, path, length: 0 })
    }

    fn fault(&self, problem: &str) -> Error {
        fault(&self.path, problem)
    }

    /// Appends bytes and tells where they lie.
    fn write(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.length;
        self.file.write_all(bytes).map_err(|e| self.fault(&format!("can't be written: {e}")))?;
        self.length += bytes.len() as u64;
        Ok(at)
    }

    fn read(&self, out: &mut [u8], at: u64) -> Result<()> {
        read_at(&self.file, out, at).map_err(|e| self.fault(&format!("can't be read: {e}")))
    }
}

/// What became of a file for binned rows, and what helps.
fn fault(path: &std::path::Path, problem: &str) -> Error {
    Error::Io {
        path: path.to_string_lossy().into_owned(),
        problem: format!("{problem} (binned rows that don't fit in memory lie there; TMPDIR names another folder)"),
        not_found: false,
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(not(unix))]
fn read_at(file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    use std::sync::Mutex;
    // The place in the file is shared by its readers.
    static DOOR: Mutex<()> = Mutex::new(());
    let _guard = DOOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(out)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !cfg!(unix) {
            // Nothing can be done about a file that stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boosting::binning::{Bins, Features};
    use crate::boosting::bundles;
    use corten_core::random::bits;

    #[test]
    fn blocks_come_back_from_memory_and_from_the_file_packed_or_not() {
        let rows = 2 * ROWS + 77;
        // Columns that can and that can't be packed.
        for noisy in [false, true] {
            let bins = |f: usize, r: usize| if noisy { bits(f as u64, 3, r as u64) as u8 } else { (r / 3000) as u8 };
            let number = Bins::Number { cuts: (0..254).map(f64::from).collect() };
            let features = Features { bins: vec![number; 20], sources: (0..20).collect() };
            let (groups, members) = bundles::by_counts(&features.bins);
            let layout = Layout::new(features, &groups, members);
            let block = ROWS * 20;
            for memory in [0, block, 10 * block] {
                let mut filling = Filling::new(layout_again(&layout), memory);
                for from in (0..rows).step_by(50_000) {
                    let count = (rows - from).min(50_000);
                    let bytes = (0..20).flat_map(|f| (from..from + count).map(move |r| bins(f, r))).collect();
                    filling.push(&Columns::new(bytes, count), Team::alone()).unwrap();
                }
                let blocks = filling.finish().unwrap();
                assert_eq!((blocks.rows(), blocks.count()), (rows, 3));
                let in_memory = blocks.blocks.iter().filter(|b| matches!(b, Kept::Memory(_))).count();
                assert_eq!(in_memory, (memory / block).min(3));
                let packed = |b: &Kept| matches!(b, Kept::File { packed: Some(_), .. });
                assert_eq!(blocks.blocks.iter().any(packed), !noisy && memory < 10 * block);
                let mut room = Room::default();
                for b in [2, 0, 1] {
                    blocks
                        .with(b, &mut room, |tiles| {
                            for r in 0..blocks.rows_of(b) {
                                for f in 0..20 {
                                    let (t, j) = (f / 10, f % 10);
                                    assert_eq!(tiles[t].bins()[r * 10 + j], bins(f, b * ROWS + r));
                                }
                            }
                        })
                        .unwrap();
                }
            }
        }
    }

    fn layout_again(layout: &Layout) -> Layout {
        let features = Features { bins: layout.features.clone(), sources: layout.sources.clone() };
        let (groups, members) = bundles::by_counts(&features.bins);
        Layout::new(features, &groups, members)
    }
}
