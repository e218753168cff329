//! The rows of a node, and how a split parts them.

use alloc::vec;
use alloc::vec::Vec;

use super::WIDTH;
use crate::cpu::{self, Level};

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
    first: Vec<u32>,
    second: Vec<u32>,
}

/// The rows of a node in ascending order.
pub struct Rows<'a> {
    /// All below `below`; not yet written when `all`.
    list: &'a mut [u32],
    /// As long as `list`.
    spare: &'a mut [u32],
    below: usize,
    all: bool,
}

impl Buffers {
    /// For up to `rows` rows.
    ///
    /// # Panics
    /// When rows can't be counted in 32 bits.
    pub fn new(rows: usize) -> Self {
        assert!(u32::try_from(rows).is_ok(), "rows are counted in 32 bits");
        Self { first: vec![0; rows], second: vec![0; rows] }
    }

    /// Makes them buffers for another number of rows.
    ///
    /// # Panics
    /// When rows can't be counted in 32 bits.
    pub fn fit(&mut self, rows: usize) {
        assert!(u32::try_from(rows).is_ok(), "rows are counted in 32 bits");
        self.first.resize(rows, 0);
        self.second.resize(rows, 0);
    }

    /// The number of rows that they are for.
    pub fn rows(&self) -> usize {
        self.first.len()
    }

    /// All rows, as many as the buffers are for.
    pub fn all(&mut self) -> Rows<'_> {
        let below = self.first.len();
        Rows { list: &mut self.first, spare: &mut self.second, below, all: true }
    }

    /// Some rows.
    ///
    /// # Panics
    /// When a row lies beyond the buffers, or rows don't ascend.
    pub fn some(&mut self, rows: &[u32]) -> Rows<'_> {
        let below = self.first.len();
        assert!(rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|&r| (r as usize) < below), "ascending rows");
        self.first[..rows.len()].copy_from_slice(rows);
        Rows { list: &mut self.first[..rows.len()], spare: &mut self.second[..rows.len()], below, all: false }
    }
}

impl<'a> Rows<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What all rows are below.
    pub fn below(&self) -> usize {
        self.below
    }

    /// The rows; `None` stands for `0..len`.
    pub fn list(&self) -> Option<&[u32]> {
        (!self.all).then_some(&*self.list)
    }

    /// Whether at least so many rows go to each side; most splits tell by their first rows.
    ///
    /// # Panics
    /// When `column` is shorter than what rows are below.
    pub fn both_have(&self, least: usize, column: &[u8], set: &Set) -> bool {
        assert!(column.len() >= self.below, "a bin for each row");
        let goes_left = |bin: u8| (set[usize::from(bin >> 5)] >> (bin & 31) & 1) as usize;
        let (mut left, mut right) = (0, 0);
        let mut enough = |count: usize, more: usize| {
            left += more;
            right += count - more;
            left >= least && right >= least
        };
        const FEW: usize = 64;
        let found = match self.list() {
            None => column[..self.len()]
                .chunks(FEW)
                .any(|bins| enough(bins.len(), bins.iter().map(|&b| goes_left(b)).sum())),
            Some(list) => list
                .chunks(FEW)
                .any(|rows| enough(rows.len(), rows.iter().map(|&r| goes_left(column[r as usize])).sum())),
        };
        found || least == 0
    }

    /// Parts the rows: those whose bin is in `set`, and the others, each in their order.
    ///
    /// # Panics
    /// When `column` is shorter than what rows are below.
    pub fn part(self, column: &[u8], set: &Set) -> (Rows<'a>, Rows<'a>) {
        self.part_on(cpu::level(), column, set)
    }

    /// [`Rows::part`] with the instructions of a level, which this CPU must have.
    fn part_on(self, level: Level, column: &[u8], set: &Set) -> (Rows<'a>, Rows<'a>) {
        assert!(column.len() >= self.below, "a bin for each row");
        let Self { list, spare, below, all } = self;
        let left = match level {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the level was found on this CPU; rows are below the length of `column`; `spare` is as long.
            Level::Avx512 => unsafe { x86::part_512(list, spare, column, set, all) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { x86::part_2(list, spare, column, set, all) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: as above.
            Level::Neon => unsafe { neon::part(list, spare, column, set, all) },
            _ => plain(list, spare, column, set, all, 0, 0),
        };
        let right = list.len() - left;
        let (left_list, right_spare) = list.split_at_mut(left);
        let (right_list, left_spare) = spare.split_at_mut(right);
        (
            Rows { list: left_list, spare: left_spare, below, all: false },
            Rows { list: right_list, spare: right_spare, below, all: false },
        )
    }

    /// Pieces of about equal size, to be marked and then moved side by side.
    pub fn pieces(&self, count: usize) -> Vec<Piece> {
        let size = self.len().div_ceil(count.max(1)).next_multiple_of(64).max(64);
        (0..self.len())
            .step_by(size)
            .map(|from| Piece { from, to: (from + size).min(self.len()), left: 0, marks: Vec::new() })
            .collect()
    }

    /// Parts the rows of pieces that were all marked, side by side: `each` calls its function with every item.
    pub fn part_marked(self, pieces: &[Piece], each: impl FnOnce(&mut [Move<'_>])) -> (Rows<'a>, Rows<'a>) {
        let Self { list, spare, below, all } = self;
        let total: usize = pieces.iter().map(|p| p.left).sum();
        {
            let (mut left, mut right) = spare.split_at_mut(total);
            let mut moves = Vec::with_capacity(pieces.len());
            for piece in pieces {
                let (l, rest) = left.split_at_mut(piece.left);
                left = rest;
                let (r, rest) = right.split_at_mut(piece.to - piece.from - piece.left);
                right = rest;
                let from = (!all).then(|| &list[piece.from..piece.to]);
                moves.push(Move { from, start: piece.from, marks: &piece.marks, left: l, right: r });
            }
            each(&mut moves);
        }
        let (left_list, right_list) = spare.split_at_mut(total);
        let (left_spare, right_spare) = list.split_at_mut(total);
        (
            Rows { list: left_list, spare: left_spare, below, all: false },
            Rows { list: right_list, spare: right_spare, below, all: false },
        )
    }
}

/// Some of a node's rows with a bit each: whether it goes left.
pub struct Piece {
    from: usize,
    to: usize,
    left: usize,
    marks: Vec<u64>,
}

impl Piece {
    /// Finds out which rows go left.
    ///
    /// # Panics
    /// When the piece is not one of `rows`, or `column` is too short.
    pub fn mark(&mut self, rows: &Rows<'_>, column: &[u8], set: &Set) {
        assert!(column.len() >= rows.below && self.to <= rows.len(), "a bin for each row");
        let marker = Marker::new(cpu::level(), set);
        let (mut marks, mut left) = (Vec::with_capacity((self.to - self.from).div_ceil(64)), 0);
        let mut note = |bins: &[u8; 64], count: usize| {
            let mark = marker.mark(bins) & (u64::MAX >> (64 - count));
            left += mark.count_ones() as usize;
            marks.push(mark);
        };
        let mut bins = [0; 64];
        match rows.list() {
            None => {
                for chunk in column[self.from..self.to].chunks(64) {
                    if let Ok(whole) = chunk.try_into() {
                        note(whole, 64);
                        continue;
                    }
                    bins[..chunk.len()].copy_from_slice(chunk);
                    note(&bins, chunk.len());
                }
            }
            Some(list) => {
                for chunk in list[self.from..self.to].chunks(64) {
                    bins.iter_mut().zip(chunk).for_each(|(bin, &r)| *bin = column[r as usize]);
                    note(&bins, chunk.len());
                }
            }
        }
        (self.marks, self.left) = (marks, left);
    }

    /// How many rows go left.
    pub fn left(&self) -> usize {
        self.left
    }
}

/// Tells which of 64 bins are in a set.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Marker {
    Plain([bool; WIDTH]),
    #[cfg(target_arch = "x86_64")]
    Avx512(Set),
    #[cfg(target_arch = "aarch64")]
    Neon(Set),
}

impl Marker {
    /// With the instructions of a level, which this CPU must have.
    fn new(level: Level, set: &Set) -> Self {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Self::Avx512(*set),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => Self::Neon(*set),
            _ => Self::Plain(table(set)),
        }
    }

    #[inline]
    fn mark(&self, bins: &[u8; 64]) -> u64 {
        match self {
            Self::Plain(table) => {
                bins.iter().enumerate().fold(0, |mark, (i, &bin)| mark | u64::from(table[usize::from(bin)]) << i)
            }
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the level was found on this CPU.
            Self::Avx512(set) => unsafe { x86::mark_512(bins, set) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: as above.
            Self::Neon(set) => unsafe { neon::mark(bins, set) },
        }
    }
}

/// Where the rows of a piece go.
pub struct Move<'m> {
    from: Option<&'m [u32]>,
    start: usize,
    marks: &'m [u64],
    left: &'m mut [u32],
    right: &'m mut [u32],
}

impl Move<'_> {
    /// Moves them.
    pub fn run(&mut self) {
        self.run_on(cpu::level());
    }

    /// [`Move::run`] with the instructions of a level, which this CPU must have.
    fn run_on(&mut self, level: Level) {
        let (done, left) = match level {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the level was found on this CPU.
            Level::Avx512 => unsafe { x86::move_512(self) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { x86::move_2(self) },
            #[cfg(target_arch = "aarch64")]
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: as above.
            Level::Neon => unsafe { neon::moved(self) },
            _ => (0, 0),
        };
        self.rest(done, left);
    }

    /// Moves the rows after the first `done`, of which `left` went left.
    fn rest(&mut self, done: usize, left: usize) {
        let (mut l, mut r) = (left, done - left);
        for k in done..self.left.len() + self.right.len() {
            let row = match self.from {
                Some(list) => list[k],
                None => (self.start + k) as u32,
            };
            if self.marks[k / 64] >> (k % 64) & 1 == 1 {
                self.left[l] = row;
                l += 1;
            } else {
                self.right[r] = row;
                r += 1;
            }
        }
    }
}

/// One byte a bin: whether it goes left.
fn table(set: &Set) -> [bool; WIDTH] {
    core::array::from_fn(|b| set[b >> 5] >> (b & 31) & 1 == 1)
}

/// Left rows stay in `list`, the others go to `spare`; starts after `done` rows of which `left` went left.
fn plain(list: &mut [u32], spare: &mut [u32], column: &[u8], set: &Set, all: bool, done: usize, left: usize) -> usize {
    let table = table(set);
    let (mut l, mut r) = (left, done - left);
    for k in done..list.len() {
        let row = if all { k as u32 } else { list[k] };
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

    #[test]
    fn every_level_and_any_pieces_part_alike() {
        let n = 1237u32;
        let column: Vec<u8> = (0..u64::from(n)).map(|i| random(i) as u8).collect();
        let some: Vec<u32> = (0..n).filter(|r| !random(u64::from(*r) + 9999).is_multiple_of(4)).collect();
        for round in 0..4 {
            let set: Set = core::array::from_fn(|i| match round {
                0 => 0,
                1 => u32::MAX,
                _ => random(100 * round + i as u64) as u32,
            });
            let table = table(&set);
            for all in [true, false] {
                let rows: Vec<u32> = if all { (0..n).collect() } else { some.clone() };
                let want: (Vec<u32>, Vec<u32>) = rows.iter().partition(|r| table[usize::from(column[**r as usize])]);
                let mut buffers = Buffers::new(n as usize);
                for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                    let rows = if all { buffers.all() } else { buffers.some(&some) };
                    let most = want.0.len().min(want.1.len());
                    for (least, enough) in [(0, true), (most, true), (most + 1, false), (n as usize + 1, false)] {
                        assert_eq!(rows.both_have(least, &column, &set), enough, "{least} of {most}");
                    }
                    let (left, right) = rows.part_on(level, &column, &set);
                    assert_eq!((left.list().unwrap(), right.list().unwrap()), (&want.0[..], &want.1[..]), "{level:?}");
                    // Again, within the rooms that are left.
                    let flipped = set.map(|w| w.rotate_left(7));
                    let below = |rows: &[u32], s: &Set| {
                        let table = super::table(s);
                        rows.iter().filter(|r| table[usize::from(column[**r as usize])]).copied().collect::<Vec<u32>>()
                    };
                    let (want_left, want_right) = (below(&want.0, &flipped), below(&want.1, &flipped));
                    let (a, _) = left.part_on(level, &column, &flipped);
                    let (b, _) = right.part_on(level, &column, &flipped);
                    assert_eq!((a.list().unwrap(), b.list().unwrap()), (&want_left[..], &want_right[..]));
                }
                for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                    for pieces in [1, 3, 40] {
                        let rows = if all { buffers.all() } else { buffers.some(&some) };
                        let mut pieces = rows.pieces(pieces);
                        for piece in &mut pieces {
                            piece.mark(&rows, &column, &set);
                        }
                        for start in (0..column.len() - 64).step_by(97) {
                            let bins: &[u8; 64] = column[start..start + 64].try_into().unwrap();
                            let want =
                                bins.iter().rev().fold(0, |m: u64, b| m << 1 | u64::from(table[usize::from(*b)]));
                            assert_eq!(Marker::new(level, &set).mark(bins), want);
                        }
                        let run = |moves: &mut [Move<'_>]| moves.iter_mut().for_each(|m| m.run_on(level));
                        let (left, right) = rows.part_marked(&pieces, run);
                        assert_eq!((left.list().unwrap(), right.list().unwrap()), (&want.0[..], &want.1[..]));
                    }
                }
            }
        }
    }
}
