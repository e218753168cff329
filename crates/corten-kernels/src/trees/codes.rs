//! Raw values to codes: how many of a column's sorted thresholds lie below.
//!
//! The thresholds of a column are the leaves of a search tree of 16 keys a node, each level the greatest keys of the
//! nodes of the next one: no branch depends on a value, and a level costs two compares of eight keys. A level ends with
//! an infinity, which nothing is above.

use alloc::vec::Vec;

use crate::aligned::Aligned;
use crate::cpu::{Level, dispatch};

/// Most thresholds of a code column: codes `0..=MAX`, and [`MISSING`].
pub const MAX_THRESHOLDS: usize = 65_534;
/// The code of a missing value that goes right; it is above every threshold.
pub const MISSING: u16 = u16::MAX;
/// Keys of a node.
const WIDTH: usize = 16;
/// Levels that `MAX_THRESHOLDS` need.
const LEVELS: usize = 4;

/// What a code column makes of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Numbers; missing ones go right or left.
    Number {
        /// Whether missing values go right.
        missing_right: bool,
        /// Whether zero is missing too.
        zero_missing: bool,
    },
    /// Codes of categories `0..levels`, cut to whole numbers; then "unseen" and "missing".
    Category {
        /// Number of categories.
        levels: u32,
    },
}

/// A code column: a feature, how it is read, and where its thresholds lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Which input.
    pub feature: u32,
    /// How it is read.
    pub reads: Reads,
    /// Its sorted thresholds, empty for categories.
    pub start: u32,
    /// Their end.
    pub end: u32,
}

/// Neighbouring columns that share their thresholds.
#[derive(Clone, Copy, Debug)]
struct Search {
    feature: u32,
    /// Columns `first..end`.
    first: u16,
    end: u16,
    /// Thresholds.
    count: u16,
    /// Levels of keys; 0 for categories.
    levels: u8,
    /// Where each level starts, the root first.
    starts: [u32; LEVELS],
}

/// Values that are made ready for a search at a time.
const SEEN: usize = 128;

/// Codes rows of raw values.
#[derive(Clone, Debug)]
pub struct Coder {
    features: usize,
    reads: Vec<Reads>,
    searches: Vec<Search>,
    keys: Aligned<f64>,
    /// Whether values are rounded to `f32` first.
    narrow: bool,
    /// Magnitudes up to this are zero.
    zero: f64,
}

/// The thresholds of a column below `x`: the twin of every other search.
#[inline(always)]
fn search_plain(keys: &[f64], search: &Search, x: f64) -> u16 {
    let mut node = 0;
    for &start in &search.starts[..search.levels as usize] {
        let keys = &keys[start as usize + node * WIDTH..][..WIDTH];
        node = node * WIDTH + keys.iter().map(|k| usize::from(*k < x)).sum::<usize>();
    }
    node as u16
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Search, WIDTH};

    /// # Safety
    /// `search` was made with `keys`, so that every node that it reaches lies in them.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    #[expect(unsafe_code, reason = "a search that every row pays for")]
    pub(super) unsafe fn search_avx2(keys: &[f64], search: &Search, x: f64) -> u16 {
        let v = _mm256_set1_pd(x);
        let mut node = 0;
        for &start in &search.starts[..search.levels as usize] {
            // SAFETY: a level ends with an infinity, so `node` is one of its nodes and 16 keys lie there.
            let p = unsafe { keys.as_ptr().add(start as usize + node * WIDTH) };
            let mut below = 0;
            for i in 0..4 {
                // SAFETY: as above.
                let k = unsafe { _mm256_loadu_pd(p.add(4 * i)) };
                below |= _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(k, v)) << (4 * i);
            }
            node = node * WIDTH + below.count_ones() as usize;
        }
        node as u16
    }

    /// # Safety
    /// As [`search_avx2`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
    #[expect(unsafe_code, reason = "a search that every row pays for")]
    pub(super) unsafe fn search_avx512(keys: &[f64], search: &Search, x: f64) -> u16 {
        let v = _mm512_set1_pd(x);
        let mut node = 0;
        for &start in &search.starts[..search.levels as usize] {
            // SAFETY: a level ends with an infinity, so `node` is one of its nodes and 16 keys lie there.
            let (a, b) = unsafe {
                let p = keys.as_ptr().add(start as usize + node * WIDTH);
                (_mm512_loadu_pd(p), _mm512_loadu_pd(p.add(8)))
            };
            let a = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, v);
            let b = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(b, v);
            node = node * WIDTH + (u32::from(a) | u32::from(b) << 8).count_ones() as usize;
        }
        node as u16
    }
}

/// Compiles one body for each level; `$search` is the level's search inside the body.
macro_rules! at_level {
    ($level:expr, $me:expr, $self:ident, $search:ident, |$($arg:ident: $type:ty),*| $body:block) => {{
        #[inline(always)]
        fn plain($self: &Coder, $($arg: $type),*) {
            let $search = |s: &Search, x: f64| search_plain(&$self.keys, s, x);
            $body
        }
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,popcnt")]
            #[expect(unsafe_code, reason = "the search of this level")]
            fn avx2($self: &Coder, $($arg: $type),*) {
                // SAFETY: the searches of a coder were made with its keys.
                let $search = |s: &Search, x: f64| unsafe { x86::search_avx2(&$self.keys, s, x) };
                $body
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
            #[expect(unsafe_code, reason = "the search of this level")]
            fn avx512($self: &Coder, $($arg: $type),*) {
                // SAFETY: the searches of a coder were made with its keys.
                let $search = |s: &Search, x: f64| unsafe { x86::search_avx512(&$self.keys, s, x) };
                $body
            }
            #[cfg(feature = "std")]
            if $level >= Level::Avx2 {
                let level = $level.min(crate::cpu::available());
                if level >= Level::Avx512 {
                    #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                    // SAFETY: available() found AVX-512 on this CPU; such CPUs have popcnt.
                    return unsafe { avx512($me, $($arg),*) };
                }
                if level >= Level::Avx2 {
                    #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                    // SAFETY: available() found AVX2 on this CPU; such CPUs have popcnt.
                    return unsafe { avx2($me, $($arg),*) };
                }
            }
        }
        let _ = $level;
        plain($me, $($arg),*);
    }};
}

/// What is compared of a value.
#[inline(always)]
fn compared_value(x: f64, narrow: bool, zero: f64) -> f64 {
    let x = if narrow { f64::from(x as f32) } else { x };
    if x.abs() <= zero { 0.0 } else { x }
}

dispatch! {
    /// What is compared of values.
    fn compared(x: &[f64], narrow: bool, zero: f64, out: &mut [f64]) {
        out.iter_mut().zip(x).for_each(|(to, &x)| *to = compared_value(x, narrow, zero));
    }
}

dispatch! {
    /// Gives rows `code` whose value is NaN, or zero where that is `missing`.
    fn code_missing(x: &[f64], narrow: bool, zero: f64, missing: bool, code: u16, codes: &mut [u16]) {
        for (to, &x) in codes.iter_mut().zip(x) {
            let x = compared_value(x, narrow, zero);
            *to = if x.is_nan() | (missing & (x == 0.0)) { code } else { *to };
        }
    }
}

impl Coder {
    /// For columns whose thresholds are sorted and inside `thresholds`, at most [`MAX_THRESHOLDS`] each, and whose
    /// features are below `features`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        features: usize,
        columns: &[Column],
        thresholds: &[f64],
        narrow: bool,
        zero: f64,
    ) -> Result<Self, &'static str> {
        if columns.len() >= usize::from(super::CATEGORY) {
            return Err("too many code columns");
        }
        let mut searches: Vec<Search> = Vec::new();
        // Keys up to here; they are written when their number is known.
        let mut total = 0;
        for (at, column) in (0u16..).zip(columns) {
            if column.feature as usize >= features {
                return Err("a code column reads a feature that isn't there");
            }
            let before = at.checked_sub(1).map(|i| columns[usize::from(i)]);
            if let Reads::Category { levels } = column.reads {
                if levels as usize > MAX_THRESHOLDS - 2 {
                    return Err("too many categories");
                }
                let starts = [0; LEVELS];
                searches.push(Search { feature: column.feature, first: at, end: at + 1, count: 0, levels: 0, starts });
                continue;
            }
            let same = |b: Column| {
                (b.feature, b.start, b.end) == (column.feature, column.start, column.end)
                    && matches!(b.reads, Reads::Number { .. })
            };
            if before.is_some_and(same)
                && let Some(last) = searches.last_mut()
            {
                last.end = at + 1;
                continue;
            }
            let t = thresholds
                .get(column.start as usize..column.end as usize)
                .ok_or("a code column's thresholds aren't there")?;
            // One pass without a way out runs in vector registers. NaN fails the compare.
            let in_order = t.windows(2).fold(true, |ok, w| ok & (w[0] < w[1]));
            if t.len() > MAX_THRESHOLDS || !in_order || t.first().is_some_and(|x| x.is_nan()) {
                return Err("thresholds are out of order");
            }
            let mut counts = [0usize; LEVELS];
            let mut levels = 0;
            let mut count = t.len() + 1;
            loop {
                counts[levels] = count.next_multiple_of(WIDTH);
                levels += 1;
                if count <= WIDTH {
                    break;
                }
                count = count.div_ceil(WIDTH);
            }
            // The root first, the thresholds themselves last.
            let mut starts = [0; LEVELS];
            for level in 0..levels {
                starts[level] = total as u32;
                total += counts[levels - 1 - level];
            }
            if total > u32::MAX as usize {
                return Err("too many thresholds");
            }
            let (count, levels) = (t.len() as u16, levels as u8);
            searches.push(Search { feature: column.feature, first: at, end: at + 1, count, levels, starts });
        }
        let mut keys = Aligned::zeroed(total);
        keys.fill(f64::INFINITY);
        for search in &searches {
            let Some(last) = usize::from(search.levels).checked_sub(1) else { continue };
            let mut start = search.starts[last] as usize;
            let column = columns[usize::from(search.first)];
            keys[start..][..usize::from(search.count)]
                .copy_from_slice(&thresholds[column.start as usize..column.end as usize]);
            // Upwards, the greatest keys of the nodes below.
            let mut end = start + (usize::from(search.count) + 1).next_multiple_of(WIDTH);
            for &upper in search.starts[..last].iter().rev() {
                let (above, below) = keys.split_at_mut(start);
                let nodes = below[..end - start].chunks_exact(WIDTH);
                above[upper as usize..].iter_mut().zip(nodes).for_each(|(key, node)| *key = node[WIDTH - 1]);
                (start, end) = (upper as usize, start);
            }
        }
        let reads = columns.iter().map(|c| c.reads).collect();
        Ok(Self { features, reads, searches, keys, narrow, zero })
    }

    /// Number of code columns.
    pub fn columns(&self) -> usize {
        self.reads.len()
    }

    /// The thresholds of a column; none for categories.
    pub fn thresholds(&self, column: usize) -> &[f64] {
        let search = self.searches.partition_point(|s| usize::from(s.end) <= column);
        match self.searches[search] {
            Search { levels: 0, .. } => &[],
            Search { levels, starts, count, .. } => {
                &self.keys[starts[usize::from(levels) - 1] as usize..][..count as usize]
            }
        }
    }

    /// How a column reads its feature.
    pub fn reads(&self, column: usize) -> Reads {
        self.reads[column]
    }

    /// Whether a column and the next one read alike but for where missing values go, left first: their codes are the same for
    /// all other values.
    pub(super) fn are_twins(&self, column: usize) -> bool {
        let kind = |column: usize| match self.reads.get(column) {
            Some(&Reads::Number { missing_right, zero_missing }) => Some((missing_right, zero_missing)),
            _ => None,
        };
        let search = self.searches.partition_point(|s| usize::from(s.end) <= column);
        let (Some(left), Some(right)) = (kind(column), kind(column + 1)) else { return false };
        !left.0 && right.0 && left.1 == right.1 && column + 1 < usize::from(self.searches[search].end)
    }

    /// The value that is compared, and whether it is missing as NaN and as zero.
    #[inline(always)]
    fn value(&self, x: f64) -> (f64, bool, bool) {
        let x = compared_value(x, self.narrow, self.zero);
        (x, x.is_nan(), x == 0.0)
    }

    #[inline(always)]
    fn code_of(reads: Reads, rank: u16, nan: bool, zero: bool) -> u16 {
        match reads {
            Reads::Number { missing_right, zero_missing } if nan | (zero_missing & zero) => {
                if missing_right {
                    MISSING
                } else {
                    0
                }
            }
            _ => rank,
        }
    }

    #[inline(always)]
    fn category(levels: u32, x: f64) -> u16 {
        if x.is_nan() {
            (levels + 1) as u16
        } else if x > -1.0 && x < f64::from(levels) {
            x as u16
        } else {
            levels as u16
        }
    }

    /// The codes of a row: `codes[c]` of column `c`.
    pub fn row(&self, level: Level, row: &[f64], codes: &mut [u16]) {
        assert!(row.len() >= self.features && codes.len() >= self.reads.len(), "a row of every feature and column");
        at_level!(level, self, this, search, |row: &[f64], codes: &mut [u16]| {
            for s in &this.searches {
                let raw = row[s.feature as usize];
                let (first, end) = (usize::from(s.first), usize::from(s.end));
                if let Reads::Category { levels } = this.reads[first] {
                    codes[first] = Coder::category(levels, raw);
                    continue;
                }
                let (x, nan, zero) = this.value(raw);
                let rank = search(s, x);
                for (code, &reads) in codes[first..end].iter_mut().zip(&this.reads[first..end]) {
                    *code = Coder::code_of(reads, rank, nan, zero);
                }
            }
        })
    }

    /// The codes of a block of rows: row `r` of `feature` is `value(feature)[r]`, its code in column `c` goes to
    /// `codes[c * rows + r]`.
    pub fn block<'x>(&self, level: Level, rows: usize, value: impl Fn(usize) -> &'x [f64], codes: &mut [u16]) {
        for s in &self.searches {
            let x = &value(s.feature as usize)[..rows];
            let (first, end) = (usize::from(s.first), usize::from(s.end));
            let out = &mut codes[first * rows..end * rows];
            if let Reads::Category { levels } = self.reads[first] {
                out.iter_mut().zip(x).for_each(|(code, &x)| *code = Self::category(levels, x));
                continue;
            }
            self.search_block(level, s, x, out, &self.reads[first..end]);
        }
    }

    /// The codes of rows in columns that share their thresholds: column after column.
    fn search_block(&self, level: Level, s: &Search, x: &[f64], out: &mut [u16], reads: &[Reads]) {
        let rows = x.len();
        let (ranks, others) = out.split_at_mut(rows);
        let mut seen = [0.0; SEEN];
        for (x, ranks) in x.chunks(SEEN).zip(ranks.chunks_mut(SEEN)) {
            if !self.narrow && self.zero == 0.0 {
                self.ranks(level, s, x, ranks);
                continue;
            }
            let seen = &mut seen[..x.len()];
            compared(x, self.narrow, self.zero, seen);
            self.ranks(level, s, seen, ranks);
        }
        others.chunks_exact_mut(rows.max(1)).for_each(|other| other.copy_from_slice(ranks));
        for (codes, &reads) in out.chunks_exact_mut(rows.max(1)).zip(reads) {
            let Reads::Number { missing_right, zero_missing } = reads else { continue };
            // A missing value is above no threshold: to the left it has its code already.
            if missing_right || zero_missing {
                let code = if missing_right { MISSING } else { 0 };
                code_missing(x, self.narrow, self.zero, zero_missing, code, codes);
            }
        }
    }

    /// How many thresholds lie below each value.
    fn ranks(&self, level: Level, s: &Search, x: &[f64], ranks: &mut [u16]) {
        at_level!(level, self, this, search, |s: &Search, x: &[f64], ranks: &mut [u16]| {
            // Copies for whom the number of levels is a constant: their loops unroll, and the root stays in registers.
            let each = |s: Search, ranks: &mut [u16]| {
                for (rank, &x) in ranks.iter_mut().zip(x) {
                    *rank = search(&s, x);
                }
            };
            match s.levels {
                1 => each(Search { levels: 1, ..*s }, ranks),
                2 => each(Search { levels: 2, ..*s }, ranks),
                _ => each(*s, ranks),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Columns of as many thresholds as fill and overflow nodes of keys, with infinities at both ends.
    #[test]
    fn every_level_counts_the_thresholds_below() {
        for count in [0usize, 1, 15, 16, 17, 255, 256, 257, 4095, 4096, 5000, MAX_THRESHOLDS] {
            let mut thresholds: Vec<f64> = (0..count).map(|i| i as f64 * 0.5 - 100.0).collect();
            if count > 2 {
                thresholds[0] = f64::NEG_INFINITY;
                thresholds[count - 1] = f64::INFINITY;
            }
            let reads = |missing_right| Reads::Number { missing_right, zero_missing: false };
            let (start, end) = (0, count as u32);
            let columns = [false, true].map(|right| Column { feature: 0, reads: reads(right), start, end });
            let coder = Coder::new(1, &columns, &thresholds, false, 0.0).unwrap();
            assert_eq!(coder.thresholds(1), thresholds);
            let mut values = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-310];
            let some = thresholds.iter().step_by(1 + count / 500);
            values.extend(some.flat_map(|t| [*t, t.next_up(), t.next_down()]));
            for level in Level::ALL {
                let mut block = vec![0; 2 * values.len()];
                coder.block(level, values.len(), |_| &values, &mut block);
                for (r, &x) in values.iter().enumerate() {
                    let rank = thresholds.iter().filter(|t| **t < x).count() as u16;
                    let want = if x.is_nan() { [0, MISSING] } else { [rank; 2] };
                    let mut codes = [0; 2];
                    coder.row(level, &[x], &mut codes);
                    assert_eq!(codes, want, "{x} of {count} at {level:?}");
                    assert_eq!([block[r], block[values.len() + r]], want);
                }
            }
        }
    }
}
