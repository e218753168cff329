//! Regression by squared error of one output.

use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;
use corten_kernels::vector;

use super::super::columns::{self, Side};
use super::super::finder::{self, Stats};
use super::Target;

/// Rows that are summed side by side.
const LANES: usize = 8;

/// See the module; `WEIGHTED` where rows weigh more or less than 1.
pub(crate) struct Means<const WEIGHTED: bool> {
    center: f64,
    /// Weighted targets less `center`; where they are weighted, weights, and what rows add to the impurity.
    y: Vec<f64>,
    weights: Vec<f64>,
    own: Vec<f64>,
    spare: Vec<u32>,
    spare_f64: Vec<f64>,
    /// Which rows lie on the left of a cut.
    mask: Vec<u64>,
    /// The node at hand.
    start: usize,
    end: usize,
    total: f64,
    weight: f64,
    impurity: f64,
    /// Of few rows: the weighted target, the weight, and what is added to the impurity.
    few: [[f64; 3]; SET],
}

impl<const WEIGHTED: bool> Means<WEIGHTED> {
    /// Targets less `center`, and weights where they are asked for, by row.
    pub(crate) fn new(y: &[f64], center: f64, weights: Option<&[f64]>, rows: &[u32]) -> Self {
        let count = rows.len();
        let weight = |row: u32| weights.map_or(1.0, |w| w[row as usize]);
        let y = |row: u32| y[row as usize];
        let extra = if WEIGHTED { rows } else { &[] };
        Self {
            center,
            y: rows.iter().map(|&row| weight(row) * y(row)).collect(),
            weights: extra.iter().map(|&row| weight(row)).collect(),
            own: extra.iter().map(|&row| weight(row) * (y(row) * y(row))).collect(),
            spare: vec![0; count + SET],
            spare_f64: vec![0.0; count + SET],
            mask: Vec::new(),
            start: 0,
            end: 0,
            total: 0.0,
            weight: 0.0,
            impurity: 0.0,
            few: [[0.0; 3]; SET],
        }
    }

    #[inline(always)]
    fn stats(&mut self, total: f64, weight: f64, own: f64) -> Stats {
        (self.total, self.weight) = (total, weight);
        self.impurity = ((own - total * total / weight) / weight).max(0.0);
        Stats { weight, impurity: self.impurity }
    }

    #[inline(always)]
    fn ratios<const W: usize>(&self, left: &Left<W, WEIGHTED>) -> ([f64; W], [u32; W]) {
        let mut scores = [0.0; W];
        for lane in 0..W {
            let weight = if WEIGHTED { left.weights[lane] } else { f64::from(left.counts[lane]) };
            scores[lane] = self.ratio(left.sums[lane], weight);
        }
        (scores, left.counts)
    }

    /// The score of a cut from what lies on its left.
    #[inline(always)]
    fn ratio(&self, sum: f64, weight: f64) -> f64 {
        let rest = self.total - sum;
        sum * sum / weight + rest * rest / (self.weight - weight)
    }
}

/// What lies on the left of a cut a column.
struct Left<const W: usize, const WEIGHTED: bool> {
    lasts: [u32; W],
    shifts: [u32; W],
    sums: [f64; W],
    weights: [f64; W],
    counts: [u32; W],
}

impl<const W: usize, const WEIGHTED: bool> Left<W, WEIGHTED> {
    #[inline(always)]
    fn new(lasts: &[u32; W], shifts: &[u32; W]) -> Self {
        let mut last = *lasts;
        for lane in 0..W {
            last[lane] = last[lane].wrapping_add(shifts[lane]);
        }
        Self { lasts: last, shifts: *shifts, sums: [0.0; W], weights: [0.0; W], counts: [0; W] }
    }

    /// Adds a row's weighted target, and where rows weigh more or less than 1, its weight.
    #[inline(always)]
    fn add(&mut self, record: &[u32; W], y: f64, weight: f64) {
        for lane in 0..W {
            let left = record[lane].wrapping_add(self.shifts[lane]) <= self.lasts[lane];
            self.sums[lane] += if left { y } else { 0.0 };
            self.counts[lane] += u32::from(left);
            if WEIGHTED {
                self.weights[lane] += if left { weight } else { 0.0 };
            }
        }
    }
}

/// Adds lanes up in a fixed tree.
#[inline(always)]
fn folded(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Sums numbers of the rows on the left, eight side by side.
#[inline(always)]
fn summed(codes: &[[u32; SET]], numbers: &[f64], side: Side) -> f64 {
    let mut sums = [0.0; LANES];
    let (eights, rest) = numbers.as_chunks::<LANES>();
    let codes = codes.as_flattened();
    for (numbers, codes) in eights.iter().zip(codes.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += if side.has(codes[lane]) { numbers[lane] } else { 0.0 };
        }
    }
    for ((sum, number), code) in sums.iter_mut().zip(rest).zip(&codes[eights.len() * LANES..]) {
        *sum += if side.has(*code) { *number } else { 0.0 };
    }
    folded(sums)
}

impl<const WEIGHTED: bool> Target for Means<WEIGHTED> {
    const PICKS: bool = false;

    #[inline(always)]
    fn enter(&mut self, start: usize, end: usize) -> Stats {
        (self.start, self.end) = (start, end);
        let y = &self.y[start..end];
        let (weight, own) = if WEIGHTED {
            (vector::sum(&self.weights[start..end]), vector::sum(&self.own[start..end]))
        } else {
            (y.len() as f64, vector::dot(y, y))
        };
        self.stats(vector::sum(y), weight, own)
    }

    #[inline(always)]
    fn score<L: Lanes>(&mut self, lanes: L, codes: &[[u32; SET]], side: Side) -> (f64, usize) {
        let rows = self.end - self.start;
        let mut left = 0;
        for (at, block) in codes.iter().enumerate() {
            let there = (rows - SET * at).min(SET);
            left += (side.of(lanes, block) & (u16::MAX >> (SET - there))).count_ones() as usize;
        }
        let sum = summed(codes, &self.y[self.start..self.end], side);
        let weight = if WEIGHTED { summed(codes, &self.weights[self.start..self.end], side) } else { left as f64 };
        (self.ratio(sum, weight), left)
    }

    #[inline(always)]
    fn score_columns<const W: usize>(
        &mut self,
        rows: &[u32],
        records: &[[u32; W]],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let (y, weights) = (&self.y[self.start..self.end], &self.weights);
        let weights = if WEIGHTED { &weights[self.start..self.end] } else { y };
        let mut left = Left::<W, WEIGHTED>::new(lasts, shifts);
        for ((&row, &y), &w) in rows.iter().zip(y).zip(weights) {
            left.add(&records[row as usize], y, w);
        }
        self.ratios(&left)
    }

    #[inline(always)]
    fn split<L: Lanes>(&mut self, lanes: L, rows: &mut [u32], start: usize, codes: &[[u32; SET]], side: Side) -> usize {
        columns::mask(lanes, codes, side, &mut self.mask);
        let all = start..start + rows.len();
        for numbers in [&mut self.y, &mut self.weights, &mut self.own].into_iter().take(if WEIGHTED { 3 } else { 1 }) {
            columns::part_f64(lanes, &self.mask, &mut numbers[all.clone()], &mut self.spare_f64);
        }
        columns::part(lanes, &self.mask, rows, &mut self.spare)
    }

    #[inline(always)]
    fn few_load(&mut self, start: usize, end: usize) {
        for (few, at) in self.few.iter_mut().zip(start..end) {
            let y = self.y[at];
            *few = if WEIGHTED { [y, self.weights[at], self.own[at]] } else { [y, 1.0, y * y] };
        }
    }

    #[inline(always)]
    fn few_enter(&mut self, set: u16) -> Stats {
        let [mut total, mut weight, mut own] = [0.0; 3];
        for at in finder::members(set) {
            let [y, w, o] = self.few[at];
            total += y;
            weight += w;
            own += o;
        }
        self.stats(total, weight, own)
    }

    #[inline(always)]
    fn few_score(&mut self, left: u16) -> f64 {
        let [mut sum, mut weight] = [0.0; 2];
        for at in finder::members(left) {
            sum += self.few[at][0];
            weight += self.few[at][1];
        }
        self.ratio(sum, weight)
    }

    #[inline(always)]
    fn few_columns<const W: usize>(
        &mut self,
        set: u16,
        records: &[[u32; W]; SET],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let mut left = Left::<W, WEIGHTED>::new(lasts, shifts);
        for at in finder::members(set) {
            left.add(&records[at], self.few[at][0], self.few[at][1]);
        }
        self.ratios(&left)
    }

    #[inline(always)]
    fn is_perfect(&self, _: f64, rows: usize) -> bool {
        rows == 2
    }

    #[inline(always)]
    fn gain(&self, score: f64) -> f64 {
        score - self.total * self.total / self.weight
    }

    #[inline(always)]
    fn value(&self, out: &mut Vec<f64>) {
        out.push(self.total / self.weight + self.center);
    }
}
