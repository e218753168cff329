//! The rows of a node, and how a split parts them.

use alloc::vec::Vec;
use core::ops::Range;

use super::WIDTH;
use crate::cpu::{self, Level};
use crate::pages::Pages;
use crate::team::Team;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions on raw places")]
mod x86;

/// A bit a bin: those that go left.
pub type Set = [u32; 8];

/// Two lists of rows that the nodes of a tree share: each node's rows lie in one of them and leave as much room in the
/// other, so that parting a node never copies back.
pub struct Buffers {
    first: Pages<u32>,
    second: Pages<u32>,
}

/// The rows of a node, in ascending order: several stretches of them, each parted for itself.
///
/// Threads that part a node together take a stretch each, and need not know where the others' rows end.
pub struct Rows<'a> {
    slots: Vec<Slot<'a>>,
    below: usize,
}

/// Rows of a node that lie together, with room beside them.
struct Slot<'a> {
    /// All below `Rows::below`.
    list: &'a mut [u32],
    /// As long as `list`.
    spare: &'a mut [u32],
    /// The first of consecutive rows that are not yet written.
    first: Option<usize>,
}

/// The rows of a node, parted: still one node's, so that a split that turns out to be unwanted can be taken back.
pub struct Parted<'a> {
    /// Each with the number of its rows that go left.
    slots: Vec<(Slot<'a>, usize)>,
    below: usize,
}

/// Some rows that lie together, in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'r> {
    list: Option<&'r [u32]>,
    /// Without a list: consecutive rows from here on.
    first: usize,
    len: usize,
    below: usize,
}

impl Buffers {
    /// For up to `rows` rows.
    ///
    /// # Panics
    /// When rows can't be counted in 32 bits.
    pub fn new(rows: usize) -> Self {
        assert!(u32::try_from(rows).is_ok(), "rows are counted in 32 bits");
        Self { first: Pages::zeroed(rows), second: Pages::zeroed(rows) }
    }

    /// The number of rows that they are for.
    pub fn rows(&self) -> usize {
        self.first.len()
    }

    /// All rows, as many as the buffers are for, in so many stretches of about equal length.
    pub fn all(&mut self, stretches: usize) -> Rows<'_> {
        let rows = self.first.len();
        self.rows_in(rows, stretches, true)
    }

    /// Some rows, in so many stretches of about equal length.
    ///
    /// # Panics
    /// When a row lies beyond the buffers, or rows don't ascend.
    pub fn some(&mut self, rows: &[u32], stretches: usize) -> Rows<'_> {
        assert_ascending(rows, self.first.len());
        self.first[..rows.len()].copy_from_slice(rows);
        self.rows_in(rows.len(), stretches, false)
    }

    fn rows_in(&mut self, rows: usize, count: usize, all: bool) -> Rows<'_> {
        let below = self.first.len();
        let size = rows.div_ceil(count.max(1)).max(1);
        let pairs = self.first[..rows].chunks_mut(size).zip(self.second.chunks_mut(size));
        let slots = pairs.enumerate().map(|(i, (list, spare))| {
            let spare = &mut spare[..list.len()];
            Slot { list, spare, first: all.then_some(i * size) }
        });
        Rows { slots: slots.collect(), below }
    }
}

fn assert_ascending(rows: &[u32], below: usize) {
    assert!(rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|&r| (r as usize) < below), "ascending rows");
}

impl<'a> Rows<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.slots.iter().map(|s| s.list.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|s| s.list.is_empty())
    }

    /// The rows, stretch by stretch; there are as many for both sides of a split as for the node that was split.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.slots.iter().map(|s| Stretch {
            list: s.first.is_none().then_some(&*s.list),
            first: s.first.unwrap_or(0),
            len: s.list.len(),
            below: self.below,
        })
    }

    /// Parts the rows, a thread a stretch: those whose bin is in `set`, and the others, each in their order.
    ///
    /// # Panics
    /// When `column` is shorter than what rows are below.
    pub fn part(self, column: &[u8], set: &Set, team: Team<'_>) -> Parted<'a> {
        self.part_on(cpu::level(), column, set, team)
    }

    /// [`Rows::part`] with the instructions of a level, which this CPU must have.
    fn part_on(self, level: Level, column: &[u8], set: &Set, team: Team<'_>) -> Parted<'a> {
        assert!(column.len() >= self.below, "a bin for each row");
        let Self { slots, below } = self;
        let mut slots: Vec<(Slot<'a>, usize)> = slots.into_iter().map(|s| (s, 0)).collect();
        team.each(&mut slots, |_, (slot, left)| *left = slot.part(level, column, set));
        Parted { slots, below }
    }
}

impl<'a> Parted<'a> {
    /// Number of rows on either side.
    pub fn counts(&self) -> (usize, usize) {
        self.slots.iter().fold((0, 0), |(l, r), (slot, left)| (l + left, r + slot.list.len() - left))
    }

    /// Both sides.
    pub fn sides(self) -> (Rows<'a>, Rows<'a>) {
        let below = self.below;
        let (left, right) = self.slots.into_iter().map(|(slot, left)| slot.cut(left)).unzip();
        (Rows { slots: left, below }, Rows { slots: right, below })
    }

    /// The rows as they were.
    pub fn joined(mut self) -> Rows<'a> {
        self.slots.iter_mut().for_each(|(slot, left)| slot.join(*left));
        Rows { slots: self.slots.into_iter().map(|(slot, _)| slot).collect(), below: self.below }
    }
}

impl Slot<'_> {
    /// Parts the rows: those that go left stay in front, the others lie in the spare room; the number of the first.
    fn part(&mut self, level: Level, column: &[u8], set: &Set) -> usize {
        let Self { list, spare, first } = self;
        match level {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the level was found on this CPU; rows are below the length of `column`; `spare` is as long.
            Level::Avx512 => unsafe { x86::part_512(list, spare, column, set, *first) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { x86::part_2(list, spare, column, set, *first) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: as above.
            Level::Neon => unsafe { neon::part(list, spare, column, set, *first) },
            _ => plain(list, spare, column, set, *first, 0, 0),
        }
    }

    /// Takes back what [`Slot::part`] did, when the first `left` rows went left.
    fn join(&mut self, left: usize) {
        // Consecutive rows that weren't written are known without their list.
        if self.first.is_some() {
            return;
        }
        // The largest first, so that none is written over before it is read.
        let (mut left, mut right) = (left, self.list.len() - left);
        while right > 0 {
            let row = self.spare[right - 1];
            let at = left + right - 1;
            if left > 0 && self.list[left - 1] > row {
                self.list[at] = self.list[left - 1];
                left -= 1;
            } else {
                self.list[at] = row;
                right -= 1;
            }
        }
    }
}

impl<'a> Slot<'a> {
    /// Both sides, each with as much room beside it, once the first `left` rows are those that go left.
    fn cut(self, left: usize) -> (Self, Self) {
        let right = self.list.len() - left;
        let (left_list, right_spare) = self.list.split_at_mut(left);
        let (right_list, left_spare) = self.spare.split_at_mut(right);
        (
            Slot { list: left_list, spare: left_spare, first: None },
            Slot { list: right_list, spare: right_spare, first: None },
        )
    }
}

impl<'r> Stretch<'r> {
    /// The rows `0..rows`.
    pub fn all(rows: usize) -> Stretch<'static> {
        Stretch { list: None, first: 0, len: rows, below: rows }
    }

    /// Some rows below `below`.
    ///
    /// # Panics
    /// When a row isn't, or rows don't ascend.
    pub fn some(list: &'r [u32], below: usize) -> Self {
        assert_ascending(list, below);
        Self { list: Some(list), first: 0, len: list.len(), below }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What all rows are below.
    pub fn below(&self) -> usize {
        self.below
    }

    /// The rows; `None` stands for those of [`Stretch::range`].
    pub fn list(&self) -> Option<&'r [u32]> {
        self.list
    }

    /// The rows, where there is no list of them.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.len
    }

    /// The rows in a list of their own.
    pub fn to_vec(&self) -> Vec<u32> {
        self.list.map_or_else(|| self.range().map(|r| r as u32).collect(), <[u32]>::to_vec)
    }

    /// Cuts it into stretches of at most `size` rows.
    pub fn pieces(self, size: usize) -> impl Iterator<Item = Self> {
        (0..self.len).step_by(size.max(1)).map(move |from| {
            let len = size.min(self.len - from);
            Self { list: self.list.map(|l| &l[from..from + len]), first: self.first + from, len, ..self }
        })
    }
}

/// One byte a bin: whether it goes left.
fn table(set: &Set) -> [bool; WIDTH] {
    core::array::from_fn(|b| set[b >> 5] >> (b & 31) & 1 == 1)
}

/// Left rows stay in `list`, the others go to `spare`; starts after `done` rows of which `left` went left. Rows are those
/// of the list, or consecutive ones from `first` on.
fn plain(
    list: &mut [u32],
    spare: &mut [u32],
    column: &[u8],
    set: &Set,
    first: Option<usize>,
    done: usize,
    left: usize,
) -> usize {
    let table = table(set);
    let (mut l, mut r) = (left, done - left);
    for k in done..list.len() {
        let row = first.map_or(list[k], |first| (first + k) as u32);
        let goes_left = table[usize::from(column[row as usize])];
        // Both places are written; the right one counts.
        list[l] = row;
        spare[r] = row;
        l += usize::from(goes_left);
        r += usize::from(!goes_left);
    }
    l
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(i: u64) -> u64 {
        corten_core::random::bits(5, 6, i)
    }

    /// The rows of all runs, one after the other.
    fn all(rows: &Rows<'_>) -> Vec<u32> {
        rows.stretches().flat_map(|stretch| stretch.to_vec()).collect()
    }

    #[test]
    fn every_level_and_any_stretches_part_alike() {
        let n = 1237u32;
        let column: Vec<u8> = (0..u64::from(n)).map(|i| random(i) as u8).collect();
        let some: Vec<u32> = (0..n).filter(|r| !random(u64::from(*r) + 9999).is_multiple_of(4)).collect();
        for round in 0..4 {
            let set: Set = core::array::from_fn(|i| match round {
                0 => 0,
                1 => u32::MAX,
                _ => random(100 * round + i as u64) as u32,
            });
            let flipped = set.map(|w| w.rotate_left(7));
            let part = |rows: &[u32], set: &Set| -> (Vec<u32>, Vec<u32>) {
                let table = table(set);
                rows.iter().partition(|r| table[usize::from(column[**r as usize])])
            };
            for whole in [true, false] {
                let rows: Vec<u32> = if whole { (0..n).collect() } else { some.clone() };
                let want = part(&rows, &set);
                let mut buffers = Buffers::new(n as usize);
                for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                    for (stretches, threads) in [(1, 1), (2, 2), (7, 1), (7, 3), (3000, 2)] {
                        let rows = if whole { buffers.all(stretches) } else { buffers.some(&some, stretches) };
                        let before = all(&rows);
                        Team::scope(threads, |team| {
                            let rows = rows.part_on(level, &column, &set, team).joined();
                            assert_eq!(all(&rows), before, "{level:?}");
                            let parted = rows.part_on(level, &column, &set, team);
                            assert_eq!(parted.counts(), (want.0.len(), want.1.len()));
                            let (left, right) = parted.sides();
                            assert_eq!((left.len(), right.len()), (want.0.len(), want.1.len()));
                            assert_eq!((all(&left), all(&right)), want, "{level:?}");
                            // Again, within the rooms that are left.
                            for (side, rows) in [(left, &want.0), (right, &want.1)] {
                                let side = side.part_on(level, &column, &flipped, team).joined();
                                assert_eq!(all(&side), *rows, "{level:?}");
                                let (left, right) = side.part_on(level, &column, &flipped, team).sides();
                                assert_eq!((all(&left), all(&right)), part(rows, &flipped), "{level:?}");
                            }
                        });
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_of_a_stretch_are_its_rows() {
        let list: Vec<u32> = (0..100).map(|i| 3 * i).collect();
        let mut buffers = Buffers::new(300);
        for (rows, want) in [(buffers.all(3), (0..300).collect()), (Buffers::new(300).some(&list, 2), list.clone())] {
            for size in [1, 7, 1000] {
                let pieces: Vec<Stretch<'_>> = rows.stretches().flat_map(|stretch| stretch.pieces(size)).collect();
                assert!(pieces.iter().all(|p| (1..=size).contains(&p.len()) && p.below() == 300));
                let got: Vec<u32> = pieces.iter().flat_map(Stretch::to_vec).collect();
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    #[should_panic(expected = "ascending rows")]
    fn rows_beyond_the_buffers_are_refused() {
        Buffers::new(3).some(&[1, 3], 1);
    }
}
