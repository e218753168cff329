//! A file whose tensors are read in any order, each byte hashed as it is read.
//!
//! The bytes are read in groups that are whole subtrees of BLAKE3's tree, so the digest of all of them comes of the hashes
//! of the groups, whatever their order. No byte is used that the digest doesn't cover: a group that is read twice is hashed
//! twice, and must come out the same. Hashes are made on a thread beside the one that reads, and on that one too where the
//! other is behind.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use corten_core::{Error, Result};

use super::source::Source;

/// Fewest and most bytes of a group, a power of two of chunks of the hash: as many as are hashed side by side, and as many as
/// stay in a cache between their two readers.
const SMALLEST: usize = 8 << 10;
const LARGEST: usize = 64 << 10;
/// Groups of a file where neither limit holds: what is at hand is a small part of it then.
const MANY: usize = 192;
/// Groups at hand: tensors of several types are read side by side, and small ones share a group.
const KEPT: usize = 4;
/// Groups that may wait for the thread that hashes.
const WAITING: usize = 4;
/// Size from which there is such a thread: below it takes longer to start than it saves.
const BESIDE: usize = 1 << 20;

/// A group of bytes.
#[derive(Clone)]
pub(super) struct Group {
    nth: usize,
    start: usize,
    bytes: Arc<Bytes>,
}

impl Group {
    /// The bytes from a place in the tensors on; none where it lies elsewhere.
    pub(super) fn from(&self, at: usize) -> &[u8] {
        at.checked_sub(self.start).and_then(|at| self.bytes.bytes.get(at..)).unwrap_or_default()
    }

    /// Its hash: the root of the tree where it is `alone`.
    fn hash(&self, alone: bool) -> Hashed {
        let hash = if alone {
            *blake3::hash(&self.bytes.bytes).as_bytes()
        } else {
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(self.start as u64).update(&self.bytes.bytes).finalize_non_root()
        };
        (self.nth, hash)
    }
}

type Hashed = (usize, ChainingValue);

/// Memory of groups that nobody needs any more.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

fn of(spare: &Spare) -> MutexGuard<'_, Vec<Vec<u8>>> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a group. Their memory is used again: fresh memory costs a fault a page, and a message to the other cores
/// where it goes back to the system.
struct Bytes {
    bytes: Vec<u8>,
    spare: Spare,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        of(&self.spare).push(mem::take(&mut self.bytes));
    }
}

/// The tensors of a file.
pub(crate) struct Groups<'a> {
    file: &'a File,
    start: u64,
    size: usize,
    /// Bytes of each.
    group: usize,
    /// The ones that were used last, the last one at the end.
    kept: RefCell<Vec<Group>>,
    spare: Spare,
    /// Which were read.
    seen: RefCell<Vec<bool>>,
    hashed: RefCell<Vec<Hashed>>,
    hasher: Option<SyncSender<Group>>,
}

/// Calls `read` with the `size` bytes from `start` on; returns what it gives and the digest of the bytes.
///
/// # Errors
/// [`Error::Io`] without a path when the file can't be read, [`Error::Format`] when it changes meanwhile.
pub(super) fn with<T>(
    file: &File,
    start: u64,
    size: usize,
    read: impl FnOnce(&Source<'_>) -> T,
) -> Result<(T, blake3::Hash)> {
    let group = (size / MANY).next_power_of_two().clamp(SMALLEST, LARGEST);
    in_groups(file, start, size, group, size >= BESIDE, read)
}

fn in_groups<T>(
    file: &File,
    start: u64,
    size: usize,
    group: usize,
    beside: bool,
    read: impl FnOnce(&Source<'_>) -> T,
) -> Result<(T, blake3::Hash)> {
    let count = size.div_ceil(group);
    let groups = |hasher| Groups {
        file,
        start,
        size,
        group,
        kept: RefCell::default(),
        spare: Spare::default(),
        seen: RefCell::new(vec![false; count]),
        hashed: RefCell::new(Vec::with_capacity(count)),
        hasher,
    };
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let hash = move || receiver.into_iter().map(|group: Group| group.hash(false)).collect::<Vec<Hashed>>();
        // Without such a thread each group is hashed where it is read.
        let beside = beside.then(|| thread::Builder::new().spawn_scoped(scope, hash).ok()).flatten();
        let source = Source::File(groups(beside.as_ref().map(|_| sender)));
        let out = read(&source);
        let Source::File(groups) = source else { unreachable!("it was made above") };
        let mut hashed = groups.finish()?;
        if let Some(beside) = beside {
            let others = beside.join().map_err(|_| Error::Internal("the digest could not be made".into()))?;
            hashed.extend(others);
        }
        Ok((out, root(hashed, count)?))
    })
}

/// Reads `count` bytes from a place in a file on into memory that may be used again.
///
/// # Errors
/// [`Error::Io`] without a path.
pub(super) fn read_at(mut file: &File, at: u64, mut memory: Vec<u8>, count: usize) -> Result<Vec<u8>> {
    memory.resize(count, 0);
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut memory));
    let unreadable = |e| Error::Io { path: String::new(), problem: format!("can't be read: {e}"), not_found: false };
    read.map_err(unreadable)?;
    Ok(memory)
}

/// The digest of `count` groups.
fn root(mut hashed: Vec<Hashed>, count: usize) -> Result<blake3::Hash> {
    hashed.sort_unstable();
    hashed.dedup();
    if hashed.len() != count {
        return Err(Error::format("it changed while it was read"));
    }
    let hashes: Vec<ChainingValue> = hashed.into_iter().map(|h| h.1).collect();
    Ok(match hashes[..] {
        [] => blake3::hash(&[]),
        [one] => one.into(),
        _ => {
            let (left, right) = hashes.split_at(left(count));
            merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    })
}

/// Groups in the left one of two subtrees: a power of two, and at least half.
fn left(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn subtree(hashes: &[ChainingValue]) -> ChainingValue {
    if let [one] = hashes {
        return *one;
    }
    let (left, right) = hashes.split_at(left(hashes.len()));
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

impl Groups<'_> {
    /// The group of a place in the tensors.
    pub(super) fn at(&self, at: usize) -> Result<Group> {
        let nth = at / self.group;
        let mut kept = self.kept.borrow_mut();
        if let Some(place) = kept.iter().position(|g| g.nth == nth) {
            kept[place..].rotate_left(1);
        } else {
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(self.read(nth)?);
        }
        Ok(kept[kept.len() - 1].clone())
    }

    fn read(&self, nth: usize) -> Result<Group> {
        let start = nth * self.group;
        let count = self.group.min(self.size - start);
        // Others may give memory back while this is read.
        let memory = of(&self.spare).pop().unwrap_or_default();
        let bytes = read_at(self.file, self.start + start as u64, memory, count)?;
        let group = Group { nth, start, bytes: Arc::new(Bytes { bytes, spare: self.spare.clone() }) };
        self.seen.borrow_mut()[nth] = true;
        if let Some(hasher) = &self.hasher
            && hasher.try_send(group.clone()).is_ok()
        {
            return Ok(group);
        }
        self.hashed.borrow_mut().push(group.hash(self.size <= self.group));
        Ok(group)
    }

    /// Reads what was not asked for, and returns the hashes that were made here.
    fn finish(self) -> Result<Vec<Hashed>> {
        let unseen: Vec<usize> = (0..).zip(self.seen.take()).filter(|(_, seen)| !seen).map(|(nth, _)| nth).collect();
        self.seen.replace(vec![true; self.size.div_ceil(self.group)]);
        for nth in unseen {
            self.read(nth)?;
        }
        Ok(self.hashed.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use corten_core::random::Stream;

    use super::super::source::Numbers;
    use super::*;

    /// A file that goes with its name.
    fn file(bytes: &[u8]) -> File {
        let thread = format!("{:?}", thread::current().id());
        let path = std::env::temp_dir().join(format!("corten-groups-{}-{thread}", std::process::id()));
        File::create(&path).and_then(|mut f| f.write_all(bytes)).expect("a file");
        let file = File::open(&path).expect("the file");
        std::fs::remove_file(&path).expect("the file goes");
        file
    }

    #[test]
    fn bytes_read_in_any_order_have_the_digest_of_all() {
        const BEFORE: usize = 13;
        let mut random = Stream::new(5, 0);
        for size in [0usize, 1, 1023, 1024, 2047, 2048, 2049, 4096, 4097, 9000, 14_336, 14_337, 40_000] {
            let bytes: Vec<u8> = (0..BEFORE + size).map(|_| random.below(256) as u8).collect();
            let (file, tensors) = (file(&bytes), &bytes[BEFORE..]);
            for (group, beside) in [(1024, false), (2048, true), (4096, true), (64 << 10, false)] {
                if beside && size <= group {
                    continue;
                }
                let read = |source: &Source<'_>| {
                    for _ in 0..random.below(40) {
                        let (a, b) = (random.below(size as u64 + 1) as usize, random.below(size as u64 + 1) as usize);
                        let (from, count) = (a.min(b), a.abs_diff(b) / 4 * 4);
                        let read = Numbers::<u32>::new(source, from..from + count).into_vec().expect("numbers");
                        let wanted =
                            tensors[from..from + count].chunks(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]));
                        assert!(read.into_iter().eq(wanted), "{count} bytes from {from} on");
                    }
                };
                let ((), digest) = in_groups(&file, BEFORE as u64, size, group, beside, read).expect("a digest");
                assert_eq!(digest, blake3::hash(tensors), "{size} bytes in groups of {group}");
            }
        }
    }

    #[test]
    fn memory_is_used_again_where_several_tensors_are_read_side_by_side() {
        const EACH: usize = 64 << 10;
        let file = file(&vec![3; 3 * EACH]);
        let read = |source: &Source<'_>| {
            let [mut slow, mut other, mut fast] =
                [0, EACH, 2 * EACH].map(|start| Numbers::<u32>::new(source, start..start + EACH));
            let mut some = [0; 64];
            while fast.len() > 0 {
                fast.read(&mut some).expect("numbers");
                for numbers in [&mut slow, &mut other] {
                    numbers.read(&mut some[..16]).expect("numbers");
                }
            }
            drop((slow, other, fast));
            let Source::File(groups) = source else { unreachable!("a file is read") };
            of(&groups.spare).len() + groups.kept.borrow().len()
        };
        let (pieces, _) = in_groups(&file, 0, 3 * EACH, 1024, false, read).expect("a digest");
        // Those of the tensors may be others than the ones that were used last.
        assert!(pieces <= KEPT + 3, "{pieces} pieces of memory");
    }

    #[test]
    fn a_file_that_ends_early_or_changes_is_refused() {
        let bytes = vec![7; 40_000];
        let short = file(&bytes[..39_999]);
        for beside in [false, true] {
            let read = in_groups(&short, 0, bytes.len(), 1024, beside, |_| ()).unwrap_err();
            assert!(read.to_string().contains("can't be read"), "{read}");
        }
        // A group that comes twice and differs.
        let bytes = |byte: u8| Arc::new(Bytes { bytes: vec![byte; 1024], spare: Spare::default() });
        let group = |byte: u8| Group { nth: 0, start: 0, bytes: bytes(byte) }.hash(false);
        let other = Group { nth: 1, start: 1024, bytes: bytes(1) }.hash(false);
        assert!(root(vec![group(1), other, group(1)], 2).is_ok());
        let changed = root(vec![group(1), other, group(2)], 2).unwrap_err();
        assert!(changed.to_string().ends_with("it changed while it was read"), "{changed}");
    }
}
