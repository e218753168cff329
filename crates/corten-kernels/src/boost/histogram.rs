//! Sums of gradients and hessians by bin.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

use super::partition::Stretch;
use super::{BLOCK, SHARED, TILE, WIDTH};
use crate::cache;
use crate::cpu::{self, dispatch};
use crate::pages::Pages;

mod fold;

/// The bins of up to [`TILE`] columns, row after row.
pub struct Tile {
    bins: Pages<u8>,
    columns: usize,
    rows: usize,
}

impl Tile {
    /// From `rows * columns` bins.
    ///
    /// # Panics
    /// When there are no columns, more than [`TILE`], or bins don't make whole rows.
    pub fn new(bins: Pages<u8>, columns: usize) -> Self {
        assert!((1..=TILE).contains(&columns) && bins.len().is_multiple_of(columns), "whole rows of 1 to 16 columns");
        Self { rows: bins.len() / columns, bins, columns }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The bins, row after row.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// The bins, to be replaced by those of other rows.
    pub fn bins_mut(&mut self) -> &mut [u8] {
        &mut self.bins
    }
}

/// Places of a feature that shares a column.
const ROOM: usize = SHARED + 8;

/// A gradient (16 bits with sign, high half) and a hessian (16 bits) in one word.
pub type Packed = u32;

/// What a word adds to a sum: the gradient in the high half, the hessian in the low half.
#[inline(always)]
fn spread(word: Packed) -> i64 {
    (i64::from(word as i32 >> 16) << 32) + i64::from(word & 0xffff)
}

/// The gradient and the hessian of a sum of at most [`BLOCK`] rows.
#[inline(always)]
pub fn unpack(sum: i64) -> (i64, i64) {
    (sum >> 32, sum & 0xffff_ffff)
}

/// Sums by column of a tile and bin, all zero between uses.
pub struct Sums(Box<[[i64; WIDTH]; TILE]>);

impl Default for Sums {
    fn default() -> Self {
        let zeros = vec![[0i64; WIDTH]; TILE].into_boxed_slice();
        match zeros.try_into() {
            Ok(sums) => Self(sums),
            Err(_) => unreachable!("as many as asked for"),
        }
    }
}

impl Sums {
    /// Adds rows.
    ///
    /// # Panics
    /// When more than [`BLOCK`] rows come, or rows lie outside the tile or the words.
    pub fn add(&mut self, tile: &Tile, words: &[Packed], rows: Stretch<'_>) {
        assert!(rows.len() <= BLOCK, "at most 65,536 rows");
        assert!(rows.below() <= tile.rows && rows.below() <= words.len(), "rows of the tile");
        macro_rules! columns {
            ($($n:literal)*) => {
                match tile.columns {
                    $($n => add::<$n>(&mut self.0, &tile.bins, words, rows),)*
                    _ => unreachable!("1 to 16 columns"),
                }
            };
        }
        columns!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }

    /// Moves sums out, leaving zeros.
    ///
    /// # Panics
    /// When a part names a column beyond [`TILE`], or a place outside `out`.
    pub fn take(&mut self, parts: &[Part], out: &mut [i64]) {
        take(&mut self.0, parts, out);
    }

    /// Adds sums onto others, leaving zeros.
    ///
    /// # Panics
    /// As [`Sums::take`].
    pub fn drain(&mut self, parts: &[Part], onto: &mut [i64]) {
        drain(&mut self.0, parts, onto);
    }

    /// Adds sums onto gradients and hessians of their own, leaving zeros.
    ///
    /// # Panics
    /// As [`Sums::take`].
    pub fn drain_wide(&mut self, parts: &[Part], gradients: &mut [i64], hessians: &mut [i64]) {
        drain_wide(&mut self.0, parts, gradients, hessians);
    }
}

/// Where sums of a tile go: those of a column as they are, or those of one of the features that share its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    column: usize,
    start: usize,
    width: usize,
    divisor: usize,
    states: usize,
}

impl Part {
    /// The first sums of a column, `width` of them, to the places from `start` on.
    pub fn whole(column: usize, start: usize, width: usize) -> Self {
        Self { column, start, width: width.min(WIDTH), divisor: 1, states: WIDTH }
    }

    /// The sums of a feature whose bin is the byte divided by `divisor`, modulo `states`; zeros fill the places up to
    /// `width`.
    ///
    /// # Panics
    /// When there are no states or more than [`SHARED`], or `width` is below them or more than eight above [`SHARED`].
    pub fn shared(column: usize, start: usize, width: usize, divisor: usize, states: usize) -> Self {
        assert!((1..=SHARED).contains(&states) && (states..=ROOM).contains(&width), "at most 64 bins share a byte");
        Self { column, start, width, divisor: divisor.max(1), states }
    }

    /// Where its sums go.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.width
    }

    /// Adds its sums, of all of a tile's columns of [`WIDTH`] each, onto others.
    ///
    /// # Panics
    /// When it names a column that isn't there, or a place outside `onto`.
    pub fn add(&self, sums: &[i64], onto: &mut [i64]) {
        let (column, onto) = (&sums[self.column * WIDTH..][..WIDTH], &mut onto[self.range()]);
        let mut room = [0; ROOM];
        let own =
            if self.states == WIDTH { &column[..self.width] } else { self.single_out(column, self.divisor, &mut room) };
        onto.iter_mut().zip(own).for_each(|(o, s)| *o += s);
    }

    /// The sums of a feature that shares a column, or blocks of it.
    #[inline(always)]
    fn single_out<'r>(&self, column: &[i64], divisor: usize, room: &'r mut [i64; ROOM]) -> &'r [i64] {
        let own = &mut room[..self.states];
        for block in column.chunks(divisor * self.states) {
            if divisor == 1 {
                own.iter_mut().zip(block).for_each(|(o, s)| *o += s);
            } else {
                own.iter_mut().zip(block.chunks(divisor)).for_each(|(o, part)| *o += part.iter().sum::<i64>());
            }
        }
        &room[..self.width]
    }
}

/// Gives each part's sums, and leaves zeros.
#[inline(always)]
fn each_part(sums: &mut [[i64; WIDTH]; TILE], parts: &[Part], mut to: impl FnMut(Range<usize>, &[i64])) {
    let level = cpu::level();
    // Sums of a shared column in blocks as long as one of its features has states.
    let (mut blocks, mut count, mut length) = ([0; WIDTH], 0, 0);
    for (i, part) in parts.iter().enumerate() {
        let column = &mut sums[part.column];
        if part.states == WIDTH {
            // Read and cleared at once: each line of the cache is met once.
            let (eights, rest) = column[..part.width].as_chunks_mut::<8>();
            let rest_at = part.start + 8 * eights.len();
            for (i, eight) in eights.iter_mut().enumerate() {
                let start = part.start + 8 * i;
                to(start..start + 8, eight);
                *eight = [0; 8];
            }
            to(rest_at..rest_at + rest.len(), rest);
            rest.fill(0);
            continue;
        }
        let mut room = [0; ROOM];
        if part.divisor == 1 {
            (count, length) = (fold::fold(level, column, part.states, &mut room, &mut blocks), part.states);
            to(part.range(), &room[..part.width]);
        } else if length > 0 && part.divisor.is_multiple_of(length) {
            to(part.range(), part.single_out(&blocks[..count], part.divisor / length, &mut room));
        } else {
            to(part.range(), part.single_out(column, part.divisor, &mut room));
        }
        if parts.get(i + 1).is_none_or(|next| next.column != part.column) {
            column.fill(0);
            length = 0;
        }
    }
}

dispatch! {
    fn take(sums: &mut [[i64; WIDTH]; TILE], parts: &[Part], out: &mut [i64]) {
        each_part(sums, parts, |range, own| out[range].copy_from_slice(own));
    }
}

dispatch! {
    fn drain(sums: &mut [[i64; WIDTH]; TILE], parts: &[Part], onto: &mut [i64]) {
        each_part(sums, parts, |range, own| onto[range].iter_mut().zip(own).for_each(|(o, s)| *o += s));
    }
}

dispatch! {
    fn drain_wide(sums: &mut [[i64; WIDTH]; TILE], parts: &[Part], gradients: &mut [i64], hessians: &mut [i64]) {
        each_part(sums, parts, |range, own| {
            let (gradients, hessians) = (&mut gradients[range.clone()], &mut hessians[range]);
            for ((g, h), s) in gradients.iter_mut().zip(hessians).zip(own) {
                let (a, b) = unpack(*s);
                *g += a;
                *h += b;
            }
        });
    }
}

dispatch! {
    /// Takes sums from others of the same bins.
    pub fn subtract(from: &mut [i64], sums: &[i64]) {
        for (from, sum) in from.iter_mut().zip(sums) {
            *from -= *sum;
        }
    }
}

/// Rows ahead whose bins are fetched while earlier ones are added.
const AHEAD: usize = 48;
/// Bytes of a tile's bins and words that lie in the second-level cache anyway: half of what most CPUs have.
const NEAR: usize = 1 << 18;

#[inline(always)]
fn fetch<T>(of: &[T], at: usize) {
    cache::fetch(of.as_ptr().wrapping_add(at));
}

#[inline(always)]
fn one<const N: usize>(sums: &mut [[i64; WIDTH]; TILE], bins: &[u8; N], word: i64) {
    for j in 0..N {
        sums[j][usize::from(bins[j])] += word;
    }
}

#[inline(never)]
#[expect(unsafe_code, reason = "rows of a stretch lie in the tile and the words, as checked by the caller once")]
fn add<const N: usize>(sums: &mut [[i64; WIDTH]; TILE], bins: &[u8], words: &[Packed], rows: Stretch<'_>) {
    let (tile, _) = bins.as_chunks::<N>();
    let Some(list) = rows.list() else {
        for (bins, &word) in tile[rows.range()].iter().zip(&words[rows.range()]) {
            one(sums, bins, spread(word));
        }
        return;
    };
    let near = tile.len() * (N + size_of::<Packed>()) <= NEAR;
    let ahead = if near { 0 } else { list.len().saturating_sub(AHEAD) };
    for (i, &row) in list[..ahead].iter().enumerate() {
        // SAFETY: `i + AHEAD` is below the length of `list`; rows of a stretch are below `rows.below()`, which lies within
        // the tile and the words.
        unsafe {
            let next = *list.get_unchecked(i + AHEAD) as usize;
            fetch(words, next);
            fetch(bins, next * N);
            if N > 1 {
                fetch(bins, next * N + N - 1);
            }
            one(sums, tile.get_unchecked(row as usize), spread(*words.get_unchecked(row as usize)));
        }
    }
    for &row in &list[ahead..] {
        // SAFETY: as above.
        unsafe { one(sums, tile.get_unchecked(row as usize), spread(*words.get_unchecked(row as usize))) };
    }
}

/// A gradient and a hessian of up to 31 bits.
pub type Wide = [i32; 2];

/// Adds rows to gradients and hessians of their own, a column of [`WIDTH`] after the other: for objectives whose
/// largest gradient is so far from the others that 16 bits don't tell those apart.
///
/// # Panics
/// When rows lie outside the tile or the pairs, or sums are too short.
pub fn add_wide(gradients: &mut [i64], hessians: &mut [i64], tile: &Tile, pairs: &[Wide], rows: Stretch<'_>) {
    let mut row = |r: usize| {
        let [g, h] = pairs[r];
        for (j, &bin) in tile.bins[r * tile.columns..][..tile.columns].iter().enumerate() {
            gradients[j * WIDTH + usize::from(bin)] += i64::from(g);
            hessians[j * WIDTH + usize::from(bin)] += i64::from(h);
        }
    };
    match rows.list() {
        None => rows.range().for_each(&mut row),
        Some(list) => list.iter().for_each(|&r| row(r as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Level;
    use alloc::vec::Vec;

    /// The sums as one would write them down.
    fn plain(tile: &Tile, words: &[Packed], rows: &[u32]) -> Vec<Vec<(i64, i64)>> {
        let mut out = vec![vec![(0, 0); WIDTH]; tile.columns];
        for &r in rows {
            for j in 0..tile.columns {
                let cell = &mut out[j][usize::from(tile.bins[r as usize * tile.columns + j])];
                *cell = (
                    cell.0 + i64::from(words[r as usize] as i32 >> 16),
                    cell.1 + i64::from(words[r as usize] & 0xffff),
                );
            }
        }
        out
    }

    #[test]
    fn sums_are_those_of_their_plain_form() {
        let n = 3000u32;
        let random = |i: u64| corten_core::random::bits(1, 2, i);
        for columns in [1usize, 3, 8, 13, 16] {
            let tile = Tile::new((0..n as u64 * columns as u64).map(|i| random(i) as u8).collect(), columns);
            let words: Vec<Packed> = (0..u64::from(n)).map(|i| random(i + 7) as u32).collect();
            let some: Vec<u32> = (0..n).filter(|r| random(u64::from(*r)) % 3 != 0).collect();
            for list in [None, Some(some)] {
                let rows = match &list {
                    None => Stretch::all(n as usize),
                    Some(list) => Stretch::some(list, n as usize),
                };
                let mut sums = Sums::default();
                rows.pieces(rows.len() / 3).for_each(|piece| sums.add(&tile, &words, piece));
                let want = plain(&tile, &words, &list.unwrap_or_else(|| (0..n).collect()));
                let parts: Vec<Part> = (0..columns).map(|j| Part::whole(j, j * WIDTH, WIDTH)).collect();
                let mut all = vec![7; columns * WIDTH];
                sums.take(&parts, &mut all);
                for (j, (want, got)) in want.iter().zip(all.chunks(WIDTH)).enumerate() {
                    assert!(got.iter().zip(want).all(|(&g, &w)| unpack(g) == w), "{columns} columns, column {j}");
                }
                assert!(sums.0.iter().flatten().all(|&s| s == 0));
            }
        }
    }

    #[test]
    fn features_that_share_bytes_get_their_own_sums() {
        let n = 5000u32;
        let random = |i: u64| corten_core::random::bits(3, 4, i);
        // Three features in the bytes of the second of two columns, and a whole one.
        let states = [7usize, 12, 3];
        let divisors = [1usize, 7, 84];
        let byte = |r: u32, j: usize| random(u64::from(r) * 2 + j as u64) % [256, 252][j];
        let tile = Tile::new((0..n).flat_map(|r| [byte(r, 0) as u8, byte(r, 1) as u8]).collect(), 2);
        let words: Vec<Packed> = (0..u64::from(n)).map(|i| random(i + 7) as u32).collect();
        let mut want = vec![(0, 0); 256 + 3 * 16];
        for (r, &word) in words.iter().enumerate() {
            let shared = tile.bins()[2 * r + 1] as usize;
            let places = (0..3).map(|k| 256 + 16 * k + shared / divisors[k] % states[k]);
            for place in places.chain([usize::from(tile.bins()[2 * r])]) {
                want[place].0 += i64::from(word as i32 >> 16);
                want[place].1 += i64::from(word & 0xffff);
            }
        }
        // Whichever comes first.
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let shared = order.map(|k| Part::shared(1, 256 + 16 * k, 16, divisors[k], states[k]));
            let parts: Vec<Part> = [Part::whole(0, 0, 256)].into_iter().chain(shared).collect();
            let mut sums = Sums::default();
            let filled = |sums: &mut Sums| sums.add(&tile, &words, Stretch::all(n as usize));
            filled(&mut sums);
            let mut taken = vec![7; want.len()];
            sums.take(&parts, &mut taken);
            assert!(sums.0.iter().flatten().all(|&s| s == 0));
            assert!(taken.iter().zip(&want).all(|(&t, w)| unpack(t) == *w));
            filled(&mut sums);
            sums.drain(&parts, &mut taken);
            assert!(taken.iter().zip(&want).all(|(&t, w)| unpack(t) == (2 * w.0, 2 * w.1)));
            filled(&mut sums);
            let (mut g, mut h) = (vec![1; want.len()], vec![2; want.len()]);
            sums.drain_wide(&parts, &mut g, &mut h);
            assert!(sums.0.iter().flatten().all(|&s| s == 0));
            assert!(g.iter().zip(&h).zip(&want).all(|((g, h), w)| (*g - 1, *h - 2) == *w));
            filled(&mut sums);
            let mut added = vec![0; want.len()];
            parts.iter().for_each(|p| p.add(sums.0.as_flattened(), &mut added));
            assert!(added.iter().zip(&want).all(|(&t, w)| unpack(t) == *w));
        }
    }

    #[test]
    fn every_level_folds_alike() {
        let column: [i64; WIDTH] = core::array::from_fn(|i| corten_core::random::bits(5, 6, i as u64) as i64 >> 20);
        for states in 1..=SHARED {
            let mut want = (vec![0; states], [0; WIDTH]);
            let count = fold::fold(Level::Plain, &column, states, &mut want.0, &mut want.1);
            let plain =
                |keep: &dyn Fn(usize) -> bool| -> i64 { (0..WIDTH).filter(|&b| keep(b)).map(|b| column[b]).sum() };
            assert!(want.0.iter().enumerate().all(|(state, &sum)| sum == plain(&|byte| byte % states == state)));
            assert!(want.1[..count].iter().enumerate().all(|(k, &sum)| sum == plain(&|byte| byte / states == k)));
            for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                let mut got = (vec![7; states], [7; WIDTH]);
                assert_eq!(fold::fold(level, &column, states, &mut got.0, &mut got.1), count);
                assert_eq!((&got.0, &got.1[..count]), (&want.0, &want.1[..count]), "{level:?}, {states} states");
            }
        }
    }

    #[test]
    fn the_largest_words_of_a_block_do_not_overflow() {
        let tile = Tile::new(core::iter::repeat_n(3, BLOCK).collect(), 1);
        for gradient in [i16::MIN, i16::MAX] {
            let word = (gradient as u16 as u32) << 16 | 0xffff;
            let mut sums = Sums::default();
            sums.add(&tile, &vec![word; BLOCK], Stretch::all(BLOCK));
            let (mut g, mut h) = ([0; 4], [0; 4]);
            sums.drain_wide(&[Part::whole(0, 0, 4)], &mut g, &mut h);
            assert_eq!((g[3], h[3]), (i64::from(gradient) * BLOCK as i64, 0xffff * BLOCK as i64));
        }
    }
}
