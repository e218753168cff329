//! Classification where rows weigh any numbers.

use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::classes::Measure;
use super::super::columns::{self, Side};
use super::super::finder::{Stats, members};
use super::super::purity::weighted_log;
use super::Target;

/// Tables in which rows are summed in turns, as a sum waits for the one before it in the same place.
const TURNS: usize = 4;

/// Most classes: a cut costs as much for each as for some rows, and nodes of few rows are many.
pub(crate) const CLASSES: usize = 8;

/// See the module.
pub(crate) struct Shares {
    measure: Measure,
    classes: usize,
    /// Of each row its class and its weight.
    codes: Vec<u32>,
    weights: Vec<f64>,
    spare: Vec<u32>,
    spare_f64: Vec<f64>,
    /// Which rows lie on the left of a cut.
    mask: Vec<u64>,
    /// The node at hand: its rows, the classes that it has rows of, and their weights.
    start: usize,
    end: usize,
    present: Vec<u32>,
    own: Vec<f64>,
    weight: f64,
    side: f64,
    /// By class: weights, and its place among those that are there.
    totals: Vec<f64>,
    places: Vec<u32>,
    /// What lies on the left of a cut, and of a cut a column, column beside column.
    left: Vec<[f64; TURNS]>,
    lefts: Vec<f64>,
    /// Of few rows each one's place of its class among those that are there, and its weight.
    few_rows: [(usize, f64); SET],
}

impl Shares {
    /// Classes and weights by row of the table.
    pub(crate) fn new(measure: Measure, classes: usize, codes: &[u32], weights: &[f64], rows: &[u32]) -> Self {
        Self {
            measure,
            classes,
            codes: rows.iter().map(|&row| codes[row as usize]).collect(),
            weights: rows.iter().map(|&row| weights[row as usize]).collect(),
            spare: vec![0; rows.len() + SET],
            spare_f64: vec![0.0; rows.len() + SET],
            mask: Vec::new(),
            start: 0,
            end: 0,
            present: Vec::new(),
            own: Vec::new(),
            weight: 0.0,
            side: 0.0,
            totals: vec![0.0; classes],
            places: vec![0; classes],
            left: vec![[0.0; TURNS]; classes],
            lefts: Vec::new(),
            few_rows: [(0, 0.0); SET],
        }
    }

    /// What a class adds to the score of a side.
    #[inline(always)]
    fn term(&self, weight: f64) -> f64 {
        match self.measure {
            Measure::Gini => weight * weight,
            Measure::Entropy => weighted_log(weight),
        }
    }

    /// What a side adds to the score, from the sum of terms of its classes, and its weight; one without any is the worst.
    #[inline(always)]
    fn side(&self, terms: f64, weight: f64) -> f64 {
        if weight <= 0.0 {
            return f64::NEG_INFINITY;
        }
        match self.measure {
            Measure::Gini => terms / weight,
            Measure::Entropy => terms - weighted_log(weight),
        }
    }

    /// The node as a whole, from the weights of its classes.
    #[inline(always)]
    fn stats(&mut self) -> Stats {
        self.weight = self.own.iter().sum();
        let terms = self.own.iter().map(|&own| self.term(own)).sum();
        self.side = self.side(terms, self.weight);
        let impure = self.measure.impure(self.side, self.weight);
        Stats { weight: self.weight, impurity: (impure / self.weight).max(0.0) }
    }

    /// The score of a cut from what lies on its left of each class that is there.
    #[inline(always)]
    fn score_of(&self, lefts: impl Iterator<Item = f64>) -> f64 {
        let ([mut left, mut right], [mut on_left, mut on_right]) = ([0.0; 2], [0.0; 2]);
        for (l, &total) in lefts.zip(&self.own) {
            let r = total - l;
            left += self.term(l);
            right += self.term(r);
            on_left += l;
            on_right += r;
        }
        self.side(left, on_left) + self.side(right, on_right)
    }

    /// Scores of a cut a column, and the numbers of rows on their left; of each row come the place of its class among those
    /// that are there, its weight, and its record.
    #[inline(always)]
    fn score_beside<'r, const W: usize>(
        &self,
        rows: impl Iterator<Item = (usize, f64, &'r [u32; W])>,
        (lasts, shifts): (&[u32; W], &[u32; W]),
        room: &mut Vec<f64>,
    ) -> ([f64; W], [u32; W]) {
        room.clear();
        room.resize(self.present.len() * W, 0.0);
        let (mut last, mut counts) = (*lasts, [0; W]);
        for lane in 0..W {
            last[lane] = last[lane].wrapping_add(shifts[lane]);
        }
        let (lefts, _) = room.as_chunks_mut::<W>();
        for (place, weight, record) in rows {
            let own = &mut lefts[place];
            for lane in 0..W {
                let is_left = record[lane].wrapping_add(shifts[lane]) <= last[lane];
                own[lane] += if is_left { weight } else { 0.0 };
                counts[lane] += u32::from(is_left);
            }
        }
        let mut scores = [0.0; W];
        let [mut left, mut right, mut on_left, mut on_right] = [[0.0; W]; 4];
        for (own, &total) in lefts.iter().zip(&self.own) {
            for lane in 0..W {
                let (l, r) = (own[lane], total - own[lane]);
                left[lane] += self.term(l);
                right[lane] += self.term(r);
                on_left[lane] += l;
                on_right[lane] += r;
            }
        }
        for lane in 0..W {
            scores[lane] = self.side(left[lane], on_left[lane]) + self.side(right[lane], on_right[lane]);
        }
        (scores, counts)
    }
}

impl Target for Shares {
    const PICKS: bool = false;

    #[inline(always)]
    fn enter(&mut self, start: usize, end: usize) -> Stats {
        (self.start, self.end) = (start, end);
        self.totals.fill(0.0);
        for (&class, &weight) in self.codes[start..end].iter().zip(&self.weights[start..end]) {
            self.totals[class as usize] += weight;
        }
        self.present.clear();
        self.own.clear();
        for (class, &total) in (0..).zip(&self.totals) {
            if total > 0.0 {
                self.places[class as usize] = self.present.len() as u32;
                self.present.push(class);
                self.own.push(total);
            }
        }
        self.stats()
    }

    #[inline(always)]
    fn score<L: Lanes>(&mut self, lanes: L, codes: &[[u32; SET]], side: Side) -> (f64, usize) {
        columns::mask(lanes, codes, side, &mut self.mask);
        self.left.fill([0.0; TURNS]);
        let (classes, weights) = (&self.codes[self.start..self.end], &self.weights[self.start..self.end]);
        let mut left = 0;
        for ((&word, classes), weights) in self.mask.iter().zip(classes.chunks(64)).zip(weights.chunks(64)) {
            let word = if classes.len() < 64 { word & ((1 << classes.len()) - 1) } else { word };
            left += word.count_ones() as usize;
            for (at, (&class, &weight)) in classes.iter().zip(weights).enumerate() {
                // No branch: sides are as good as random.
                let there = (word >> at & 1).wrapping_neg();
                self.left[class as usize][at % TURNS] += f64::from_bits(weight.to_bits() & there);
            }
        }
        let lefts = self.present.iter().map(|&class| {
            let [a, b, c, d] = self.left[class as usize];
            (a + b) + (c + d)
        });
        (self.score_of(lefts), left)
    }

    /// A pass adds to all columns of a record, whichever are drawn.
    #[inline(always)]
    fn looks_at_once(&self, _rows: usize, drawn: usize, width: usize) -> bool {
        2 * drawn >= width
    }

    #[inline(always)]
    fn score_columns<const W: usize>(
        &mut self,
        rows: &[u32],
        records: &[[u32; W]],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let mut room = std::mem::take(&mut self.lefts);
        let own = self.codes[self.start..self.end].iter().zip(&self.weights[self.start..self.end]);
        let place = |class: u32| self.places[class as usize] as usize;
        let rows = own.zip(rows).map(|((&class, &weight), &row)| (place(class), weight, &records[row as usize]));
        let scored = self.score_beside(rows, (lasts, shifts), &mut room);
        self.lefts = room;
        scored
    }

    #[inline(always)]
    fn split<L: Lanes>(&mut self, lanes: L, rows: &mut [u32], start: usize, codes: &[[u32; SET]], side: Side) -> usize {
        columns::mask(lanes, codes, side, &mut self.mask);
        let all = start..start + rows.len();
        columns::part_f64(lanes, &self.mask, &mut self.weights[all.clone()], &mut self.spare_f64);
        columns::part(lanes, &self.mask, &mut self.codes[all], &mut self.spare);
        columns::part(lanes, &self.mask, rows, &mut self.spare)
    }

    #[inline(always)]
    fn few_load(&mut self, start: usize, end: usize) {
        let classes = &self.codes[start..end];
        // In the order of classes, in which the terms of all nodes are summed.
        self.present.clear();
        self.present.extend_from_slice(classes);
        self.present.sort_unstable();
        self.present.dedup();
        for (at, (&class, &weight)) in classes.iter().zip(&self.weights[start..end]).enumerate() {
            let place = self.present.iter().position(|&other| other == class).unwrap_or(0);
            self.few_rows[at] = (place, weight);
        }
    }

    #[inline(always)]
    fn few_enter(&mut self, set: u16) -> Stats {
        self.own.clear();
        self.own.resize(self.present.len(), 0.0);
        for at in members(set) {
            let (place, weight) = self.few_rows[at];
            self.own[place] += weight;
        }
        self.stats()
    }

    #[inline(always)]
    fn few_score(&mut self, left: u16) -> f64 {
        let mut lefts = [0.0; SET];
        for at in members(left) {
            let (place, weight) = self.few_rows[at];
            lefts[place] += weight;
        }
        self.score_of(lefts.into_iter())
    }

    #[inline(always)]
    fn few_columns<const W: usize>(
        &mut self,
        set: u16,
        records: &[[u32; W]; SET],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]) {
        let mut room = std::mem::take(&mut self.lefts);
        let rows = members(set).map(|at| (self.few_rows[at].0, self.few_rows[at].1, &records[at]));
        let scored = self.score_beside(rows, (lasts, shifts), &mut room);
        self.lefts = room;
        scored
    }

    #[inline(always)]
    fn is_perfect(&self, _: f64, rows: usize) -> bool {
        rows == 2
    }

    #[inline(always)]
    fn gain(&self, score: f64) -> f64 {
        self.measure.impure(self.side, self.weight) - self.measure.impure(score, self.weight)
    }

    #[inline(always)]
    fn value(&self, out: &mut Vec<f64>) {
        let start = out.len();
        out.resize(start + self.classes, 0.0);
        for (&class, own) in self.present.iter().zip(&self.own) {
            out[start + class as usize] = own / self.weight;
        }
    }
}
