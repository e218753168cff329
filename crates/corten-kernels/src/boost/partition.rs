//! The rows of a node, and how a split parts them.

use alloc::vec;
use alloc::vec::Vec;

use super::WIDTH;
use crate::cpu::{self, Level};

#[cfg(target_arch = "aarch64")]
mod neon;

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

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions on raw places")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Move, Set, plain, table};

    /// # Safety
    /// The CPU has AVX-512 F and VL; unless `all`, rows are below the length of `column`, else their number is;
    /// `spare` is as long as `list`.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
    pub(super) unsafe fn part_512(list: &mut [u32], spare: &mut [u32], column: &[u8], set: &Set, all: bool) -> usize {
        let n = list.len();
        let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
        let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
        // SAFETY: `k + 16 <= n`, `l <= k` and `r <= k`, so the 16 places written from `l` and `r` on exist, and those
        // from `l` on have been read.
        unsafe {
            let words = _mm512_castsi256_si512(_mm256_loadu_si256(set.as_ptr().cast()));
            let (low, bit) = (_mm512_set1_epi32(31), _mm512_set1_epi32(1));
            let mut ids = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let mut bytes = [0u8; 16];
            while k + 16 <= n {
                let b = if all {
                    _mm512_cvtepu8_epi32(_mm_loadu_si128(bins.add(k).cast()))
                } else {
                    ids = _mm512_loadu_si512(rows.add(k).cast());
                    // Loads of single bytes: as fast as a gather where that is fast, and faster elsewhere.
                    for (i, byte) in bytes.iter_mut().enumerate() {
                        *byte = *bins.add(*rows.add(k + i) as usize);
                    }
                    _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))
                };
                let word = _mm512_permutexvar_epi32(_mm512_srli_epi32::<5>(b), words);
                let mask = _mm512_test_epi32_mask(_mm512_srlv_epi32(word, _mm512_and_si512(b, low)), bit);
                // Merged into the ids rather than zeros: that form waits for nothing on any CPU.
                _mm512_storeu_si512(out.add(r).cast(), _mm512_mask_compress_epi32(ids, !mask, ids));
                _mm512_storeu_si512(rows.add(l).cast(), _mm512_mask_compress_epi32(ids, mask, ids));
                let left = mask.count_ones() as usize;
                l += left;
                r += 16 - left;
                k += 16;
                if all {
                    ids = _mm512_add_epi32(ids, _mm512_set1_epi32(16));
                }
            }
        }
        plain(list, spare, column, set, all, k, l)
    }

    /// Which bins are in the set.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
    pub(super) fn mark_512(bins: &[u8; 64], set: &Set) -> u64 {
        // SAFETY: 64 bytes, and twice 16 of the set's 32, lie there.
        let (bins, low, high) = unsafe {
            let set: *const __m128i = set.as_ptr().cast();
            let (low, high) = (_mm_loadu_si128(set), _mm_loadu_si128(set.add(1)));
            (_mm512_loadu_si512(bins.as_ptr().cast()), _mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high))
        };
        // The byte of the set in which a bin's bit lies, and the bit.
        let byte = _mm512_and_si512(_mm512_srli_epi16::<3>(bins), _mm512_set1_epi8(15));
        let words = _mm512_mask_blend_epi8(
            _mm512_movepi8_mask(bins),
            _mm512_shuffle_epi8(low, byte),
            _mm512_shuffle_epi8(high, byte),
        );
        let single = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
        let bit = _mm512_shuffle_epi8(single, _mm512_and_si512(bins, _mm512_set1_epi8(7)));
        _mm512_test_epi8_mask(words, bit)
    }

    /// Moves all rows but the last few; how many were moved, and how many of them to the left.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
    pub(super) fn move_512(this: &mut Move<'_>) -> (usize, usize) {
        let count = this.left.len() + this.right.len();
        let (mut l, mut r, mut k) = (0, 0, 0);
        let first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let ids = |this: &Move<'_>, k: usize| match this.from {
            // SAFETY: 16 rows lie there.
            Some(list) => unsafe { _mm512_loadu_si512(list[k..k + 16].as_ptr().cast()) },
            None => _mm512_add_epi32(first, _mm512_set1_epi32((this.start + k) as i32)),
        };
        while k + 16 <= count && l + 16 <= this.left.len() && r + 16 <= this.right.len() {
            let ids = ids(this, k);
            let mask = (this.marks[k / 64] >> (k % 64)) as u16;
            // SAFETY: 16 rows fit on each side.
            unsafe {
                let (left, right) = (this.left[l..l + 16].as_mut_ptr(), this.right[r..r + 16].as_mut_ptr());
                _mm512_storeu_si512(left.cast(), _mm512_mask_compress_epi32(ids, mask, ids));
                _mm512_storeu_si512(right.cast(), _mm512_mask_compress_epi32(ids, !mask, ids));
            }
            let left = mask.count_ones() as usize;
            (l, r, k) = (l + left, r + 16 - left, k + 16);
        }
        // One side is nearly full, as it soon is where rows come in the order of the column: no more is written than fits.
        while k + 16 <= count {
            let ids = ids(this, k);
            let mask = (this.marks[k / 64] >> (k % 64)) as u16;
            let left = mask.count_ones() as usize;
            let (to_left, to_right) = (&mut this.left[l..l + left], &mut this.right[r..r + 16 - left]);
            let (low, high) = ((1u32 << left) - 1, (1u32 << (16 - left)) - 1);
            // SAFETY: as many rows are written as each side has room for.
            unsafe {
                let (left, right) =
                    (_mm512_mask_compress_epi32(ids, mask, ids), _mm512_mask_compress_epi32(ids, !mask, ids));
                _mm512_mask_storeu_epi32(to_left.as_mut_ptr().cast(), low as u16, left);
                _mm512_mask_storeu_epi32(to_right.as_mut_ptr().cast(), high as u16, right);
            }
            (l, r, k) = (l + left, r + 16 - left, k + 16);
        }
        (k, l)
    }

    /// Moves 8 rows a step as long as so many fit on both sides; how many were moved, and how many of them to the left.
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn move_2(this: &mut Move<'_>) -> (usize, usize) {
        let count = this.left.len() + this.right.len();
        let (mut l, mut r, mut k) = (0, 0, 0);
        let first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        while k + 8 <= count && l + 8 <= this.left.len() && r + 8 <= this.right.len() {
            let ids = match this.from {
                // SAFETY: 8 rows lie there.
                Some(list) => unsafe { _mm256_loadu_si256(list[k..k + 8].as_ptr().cast()) },
                None => _mm256_add_epi32(first, _mm256_set1_epi32((this.start + k) as i32)),
            };
            let mask = usize::from((this.marks[k / 64] >> (k % 64)) as u8);
            // SAFETY: 8 rows fit on each side; a pattern has 8 places.
            unsafe {
                let (left, right) = (this.left[l..l + 8].as_mut_ptr(), this.right[r..r + 8].as_mut_ptr());
                let ones = _mm256_loadu_si256(PLACES[mask].as_ptr().cast());
                let zeros = _mm256_loadu_si256(PLACES[!mask & 255].as_ptr().cast());
                _mm256_storeu_si256(left.cast(), _mm256_permutevar8x32_epi32(ids, ones));
                _mm256_storeu_si256(right.cast(), _mm256_permutevar8x32_epi32(ids, zeros));
            }
            let left = mask.count_ones() as usize;
            (l, r, k) = (l + left, r + 8 - left, k + 8);
        }
        (k, l)
    }

    /// For each pattern of 8 bits the places of its ones, then of its zeros.
    static PLACES: [[u32; 8]; 256] = {
        let mut out = [[0; 8]; 256];
        let mut mask = 0;
        while mask < 256 {
            let (mut to, mut i) = (0, 0);
            while i < 16 {
                let place = i % 8;
                if (mask >> place & 1 == 1) == (i < 8) {
                    out[mask][to] = place as u32;
                    to += 1;
                }
                i += 1;
            }
            mask += 1;
        }
        out
    };

    /// # Safety
    /// The CPU has AVX2; the rest as [`part_512`].
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) unsafe fn part_2(list: &mut [u32], spare: &mut [u32], column: &[u8], set: &Set, all: bool) -> usize {
        let n = list.len();
        let table = table(set);
        let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
        let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
        // SAFETY: as in `part_512`, with 8 rows a step.
        unsafe {
            let mut ids = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            while k + 8 <= n {
                if !all {
                    ids = _mm256_loadu_si256(rows.add(k).cast());
                }
                let mut mask = 0usize;
                for i in 0..8 {
                    let row = if all { k + i } else { *rows.add(k + i) as usize };
                    mask |= usize::from(table[usize::from(*bins.add(row))]) << i;
                }
                let left = mask.count_ones() as usize;
                let ones = _mm256_loadu_si256(PLACES[mask].as_ptr().cast());
                let zeros = _mm256_loadu_si256(PLACES[!mask & 255].as_ptr().cast());
                _mm256_storeu_si256(out.add(r).cast(), _mm256_permutevar8x32_epi32(ids, zeros));
                _mm256_storeu_si256(rows.add(l).cast(), _mm256_permutevar8x32_epi32(ids, ones));
                l += left;
                r += 8 - left;
                k += 8;
                if all {
                    ids = _mm256_add_epi32(ids, _mm256_set1_epi32(8));
                }
            }
        }
        plain(list, spare, column, set, all, k, l)
    }
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
