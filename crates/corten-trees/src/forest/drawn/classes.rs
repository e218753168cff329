//! Classification where all rows of a class weigh the same.
//!
//! Rows are kept in the order of classes, which splits don't disturb: what lies of each class on the left of a cut is
//! the number of bits in a stretch of a mask.

use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::columns::{self, Side};
use super::super::finder::{Stats, members};
use super::Target;
use super::sides::Sides;

/// Nodes of more rows are searched column by column unless one column of so many codes of a record is drawn, or more.
const ROWS: usize = 64;
const SHARE: usize = 2;

/// See the module.
pub(crate) struct Classes<P: Sides> {
    purity: P,
    classes: usize,
    /// Counts of nodes that wait, the next one last, and how many there are of each.
    waiting: Vec<(u32, u32)>,
    lengths: Vec<u32>,
    /// Of the node at hand.
    own: Vec<(u32, u32)>,
    weight: u32,
    sum: P::Sum,
    /// Which rows lie on the left of a cut.
    mask: Vec<u64>,
    spare: Vec<u32>,
    /// Few rows: their classes, and the rows of each.
    few: Vec<(u32, u16)>,
}

impl<P: Sides> Classes<P> {
    /// The rows by class, and what is known of them; `codes` holds the class of each row.
    pub(crate) fn new(purity: P, classes: usize, codes: &[u32], rows: &[u32]) -> Self {
        let mut counts = vec![0; classes];
        rows.iter().for_each(|&row| counts[codes[row as usize] as usize] += 1);
        let waiting: Vec<(u32, u32)> = (0u32..).zip(counts).filter(|(_, n)| *n > 0).collect();
        Self {
            purity,
            classes,
            lengths: vec![waiting.len() as u32],
            waiting,
            own: Vec::new(),
            weight: 0,
            sum: P::Sum::default(),
            mask: Vec::new(),
            spare: vec![0; rows.len() + SET],
            few: Vec::new(),
        }
    }

    /// Takes the counts of the next node.
    #[inline(always)]
    fn next(&mut self) {
        let length = self.lengths.pop().unwrap_or(0) as usize;
        self.own.clear();
        let start = self.waiting.len() - length;
        self.own.extend_from_slice(&self.waiting[start..]);
        self.waiting.truncate(start);
    }

    #[inline(always)]
    fn stats(&mut self) -> Stats {
        (self.weight, self.sum) = (0, P::Sum::default());
        for &(class, count) in &self.own {
            self.weight += count;
            self.purity.add(&mut self.sum, class, count);
        }
        self.purity.stats(self.sum, &self.own, self.weight)
    }
}

/// What lies on the left of a cut a column, and on its right.
struct Left<P: Sides, const W: usize> {
    lasts: [u32; W],
    shifts: [u32; W],
    sums: ([P::Sum; W], [P::Sum; W]),
    counts: [u32; W],
}

impl<P: Sides, const W: usize> Left<P, W> {
    #[inline(always)]
    fn new(lasts: &[u32; W], shifts: &[u32; W]) -> Self {
        let mut last = *lasts;
        for lane in 0..W {
            last[lane] = last[lane].wrapping_add(shifts[lane]);
        }
        let zero = [P::Sum::default(); W];
        Self { lasts: last, shifts: *shifts, sums: (zero, zero), counts: [0; W] }
    }

    /// Adds the rows of a class, of which there are so many.
    #[inline(always)]
    fn add<'a>(&mut self, purity: &P, (class, count): (u32, u32), records: impl Iterator<Item = &'a [u32; W]>) {
        let mut own = [0; W];
        for record in records {
            for lane in 0..W {
                own[lane] += u32::from(record[lane].wrapping_add(self.shifts[lane]) <= self.lasts[lane]);
            }
        }
        for lane in 0..W {
            self.counts[lane] += own[lane];
            purity.add(&mut self.sums.0[lane], class, own[lane]);
            purity.add(&mut self.sums.1[lane], class, count - own[lane]);
        }
    }

    #[inline(always)]
    fn scores(&self, purity: &P, weight: u32) -> ([f64; W], [u32; W]) {
        let mut scores = [0.0; W];
        for lane in 0..W {
            let left = self.counts[lane];
            scores[lane] = purity.side(self.sums.0[lane], left) + purity.side(self.sums.1[lane], weight - left);
        }
        (scores, self.counts)
    }
}

/// Rows by class, as [`Classes`] takes them.
pub(crate) fn sorted(codes: &[u32], classes: usize) -> Vec<u32> {
    let mut starts = vec![0usize; classes + 1];
    codes.iter().for_each(|&c| starts[c as usize + 1] += 1);
    for class in 0..classes {
        starts[class + 1] += starts[class];
    }
    let mut rows = vec![0; codes.len()];
    for (row, &class) in (0u32..).zip(codes) {
        let at = &mut starts[class as usize];
        rows[*at] = row;
        *at += 1;
    }
    rows
}

/// The number of bits from one place to another.
#[inline(always)]
fn ones(mask: &[u64], from: usize, to: usize) -> u32 {
    let upto = |to: usize| u64::MAX >> (63 - to % 64);
    let (first, last) = (from / 64, (to - 1) / 64);
    let head = mask[first] & (u64::MAX << (from % 64));
    if first == last {
        return (head & upto(to - 1)).count_ones();
    }
    let middle: u32 = mask[first + 1..last].iter().map(|w| w.count_ones()).sum();
    head.count_ones() + middle + (mask[last] & upto(to - 1)).count_ones()
}

impl<P: Sides> Target for Classes<P> {
    const PICKS: bool = true;

    #[inline(always)]
    fn enter(&mut self, _: usize, _: usize) -> Stats {
        self.next();
        self.stats()
    }

    #[inline(always)]
    fn score<L: Lanes>(&mut self, lanes: L, codes: &[[u32; SET]], side: Side) -> (f64, usize) {
        columns::mask(lanes, codes, side, &mut self.mask);
        let (mut sums, mut weight, mut start) = ((P::Sum::default(), P::Sum::default()), 0, 0);
        for &(class, count) in &self.own {
            let left = ones(&self.mask, start, start + count as usize);
            start += count as usize;
            weight += left;
            self.purity.add(&mut sums.0, class, left);
            self.purity.add(&mut sums.1, class, count - left);
        }
        (self.purity.side(sums.0, weight) + self.purity.side(sums.1, self.weight - weight), weight as usize)
    }

    #[inline(always)]
    fn looks_at_once(&self, rows: usize, drawn: usize, width: usize) -> bool {
        drawn > 1 && (rows <= ROWS || drawn * SHARE >= width)
    }

    #[inline(always)]
    fn score_columns<const W: usize>(
        &mut self,
        rows: &[u32],
        records: &[[u32; W]],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let mut left = Left::<P, W>::new(lasts, shifts);
        let mut rest = rows;
        for &(class, count) in &self.own {
            let (own, others) = rest.split_at(count as usize);
            rest = others;
            left.add(&self.purity, (class, count), own.iter().map(|&row| &records[row as usize]));
        }
        left.scores(&self.purity, self.weight)
    }

    #[inline(always)]
    fn split<L: Lanes>(&mut self, lanes: L, rows: &mut [u32], _: usize, codes: &[[u32; SET]], side: Side) -> usize {
        columns::mask(lanes, codes, side, &mut self.mask);
        // The right side's counts come first, so that the left one is the next node; what counts 0 is left out below.
        let (start, length) = (self.waiting.len(), self.own.len());
        self.waiting.resize(start + 2 * length, (0, 0));
        let mut at = 0;
        for (i, &(class, count)) in self.own.iter().enumerate() {
            let on_left = ones(&self.mask, at, at + count as usize);
            at += count as usize;
            self.waiting[start + i] = (class, count - on_left);
            self.waiting[start + length + i] = (class, on_left);
        }
        let mut to = start;
        for half in [start..start + length, start + length..start + 2 * length] {
            let before = to;
            for from in half {
                let counts = self.waiting[from];
                self.waiting[to] = counts;
                to += usize::from(counts.1 > 0);
            }
            self.lengths.push((to - before) as u32);
        }
        self.waiting.truncate(to);
        columns::part(lanes, &self.mask, rows, &mut self.spare)
    }

    #[inline(always)]
    fn few_load(&mut self, _: usize, _: usize) {
        self.next();
        self.few.clear();
        let mut start = 0;
        for &(class, count) in &self.own {
            let rows = u32::from(u16::MAX) >> (SET as u32 - count) << start;
            self.few.push((class, rows as u16));
            start += count;
        }
    }

    #[inline(always)]
    fn few_enter(&mut self, set: u16) -> Stats {
        self.own.clear();
        for &(class, rows) in &self.few {
            self.own.push((class, (set & rows).count_ones()));
        }
        self.stats()
    }

    #[inline(always)]
    fn few_score(&mut self, left: u16) -> f64 {
        let (mut sums, mut weight) = ((P::Sum::default(), P::Sum::default()), 0);
        for (&(class, rows), &(_, count)) in self.few.iter().zip(&self.own) {
            let l = (left & rows).count_ones();
            weight += l;
            self.purity.add(&mut sums.0, class, l);
            self.purity.add(&mut sums.1, class, count - l);
        }
        self.purity.side(sums.0, weight) + self.purity.side(sums.1, self.weight - weight)
    }

    #[inline(always)]
    fn few_columns<const W: usize>(
        &mut self,
        set: u16,
        records: &[[u32; W]; SET],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let mut left = Left::<P, W>::new(lasts, shifts);
        for (&(class, rows), &(_, count)) in self.few.iter().zip(&self.own) {
            left.add(&self.purity, (class, count), members(set & rows).map(|at| &records[at]));
        }
        left.scores(&self.purity, self.weight)
    }

    #[inline(always)]
    fn is_perfect(&self, score: f64, _: usize) -> bool {
        score >= self.purity.perfect(&self.own, self.weight)
    }

    #[inline(always)]
    fn gain(&self, score: f64) -> f64 {
        self.purity.gain(self.sum, self.weight, score)
    }

    #[inline(always)]
    fn value(&self, out: &mut Vec<f64>) {
        let (start, weights) = (out.len(), self.own.iter().map(|&(class, count)| self.purity.weight(class, count)));
        let weight: f64 = weights.sum();
        out.resize(start + self.classes, 0.0);
        for &(class, count) in &self.own {
            out[start + class as usize] = self.purity.weight(class, count) / weight;
        }
    }
}
