//! Regression whose leaves are medians: absolute error.
//!
//! The error of every prefix of sorted rows comes from a tree of partial sums over the ranks of their targets (Fenwick,
//! Software: Practice and Experience 24, 1994): O(n log n) a column.

use super::finder::{self, Cut, Entry, Finder, Limits, Span, Stats};
use super::ranks::Code;
use super::sort;

/// Weights and weighted targets by rank of the target, with their partial sums.
#[derive(Default)]
struct Sums {
    weights: Vec<f64>,
    targets: Vec<f64>,
    weight: f64,
    target: f64,
}

impl Sums {
    fn reset(&mut self, ranks: usize) {
        for v in [&mut self.weights, &mut self.targets] {
            v.clear();
            v.resize(ranks + 1, 0.0);
        }
        (self.weight, self.target) = (0.0, 0.0);
    }

    fn add(&mut self, rank: u32, weight: f64, y: f64) {
        self.weight += weight;
        self.target += weight * y;
        let mut at = rank as usize + 1;
        while at < self.weights.len() {
            self.weights[at] += weight;
            self.targets[at] += weight * y;
            at += at & at.wrapping_neg();
        }
    }

    /// The rank of the lower weighted median, with the sums of weights and of weighted targets below it.
    fn median(&self) -> (usize, f64, f64) {
        let (mut at, mut below, mut target) = (0, 0.0, 0.0);
        let mut step = self.weights.len().next_power_of_two() / 2;
        while step > 0 {
            let next = at + step;
            if next < self.weights.len() && below + self.weights[next] < self.weight / 2.0 {
                at = next;
                below += self.weights[next];
                target += self.targets[next];
            }
            step /= 2;
        }
        (at, below, target)
    }

    /// Sum of weighted distances to the lower median, and that median.
    fn error(&self, values: &[f64]) -> (f64, f64) {
        if self.weight <= 0.0 {
            return (0.0, 0.0);
        }
        let (rank, below, target) = self.median();
        let median = values[rank.min(values.len() - 1)];
        // Rows at the median itself add nothing on either side.
        ((median * below - target) + ((self.target - target) - median * (self.weight - below)), median)
    }
}

/// See the module.
pub(crate) struct Absolute<'a> {
    y: &'a [f64],
    outputs: usize,
    weights: Option<&'a [f64]>,
    local_weights: Vec<f64>,
    weight: f64,
    /// Of each output: the node's distinct targets in order, and the rank of each row's.
    values: Vec<Vec<f64>>,
    ranks: Vec<Vec<u32>>,
    medians: Vec<f64>,
    /// Sum of weighted errors over outputs.
    error: f64,
    sums: Sums,
    /// Errors and medians (of the first output) of the rows up to, and from, each place of an order.
    before: Vec<(f64, f64)>,
    after: Vec<(f64, f64)>,
    keys: Vec<u64>,
    absent: Vec<u64>,
    scratch: Vec<u64>,
}

impl<'a> Absolute<'a> {
    /// Shapes: `y` is `(rows, outputs)` row after row.
    pub(crate) fn new(y: &'a [f64], outputs: usize, weights: Option<&'a [f64]>) -> Self {
        Self {
            y,
            outputs,
            weights,
            local_weights: Vec::new(),
            weight: 0.0,
            values: vec![Vec::new(); outputs],
            ranks: vec![Vec::new(); outputs],
            medians: vec![0.0; outputs],
            error: 0.0,
            sums: Sums::default(),
            before: Vec::new(),
            after: Vec::new(),
            keys: Vec::new(),
            absent: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Errors, and medians of the first output, of the first 1, 2 ... rows of `order`.
    fn errors(&mut self, order: impl Iterator<Item = u64> + Clone, out: &mut Vec<(f64, f64)>) {
        out.clear();
        for output in 0..self.outputs {
            self.sums.reset(self.values[output].len());
            for (k, key) in order.clone().enumerate() {
                let i = key as u32 as usize;
                let rank = self.ranks[output][i];
                self.sums.add(rank, self.local_weights[i], self.values[output][rank as usize]);
                let (error, median) = self.sums.error(&self.values[output]);
                match out.get_mut(k) {
                    Some((sum, _)) => *sum += error,
                    None => out.push((error, median)),
                }
            }
        }
    }

    fn scan(&mut self, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let (keys, absent) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.absent));
        let (mut before, mut after) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        let order: Vec<u64> = if missing_left {
            absent.iter().chain(&keys).copied().collect()
        } else {
            keys.iter().chain(&absent).copied().collect()
        };
        self.errors(order.iter().copied(), &mut before);
        self.errors(order.iter().rev().copied(), &mut after);
        let mut weight = 0.0;
        let mut best: Option<Cut> = None;
        let code = |key: u64| (key >> 32) as u32;
        for at in 0..order.len() - 1 {
            weight += self.local_weights[order[at] as u32 as usize];
            let same = code(order[at]) == code(order[at + 1]);
            if same || (missing_left && at < absent.len()) || (!missing_left && at >= keys.len()) {
                continue;
            }
            let rows = (at + 1, order.len() - at - 1);
            if !limits.allow((rows.0, weight), (rows.1, self.weight - weight)) {
                continue;
            }
            let (left, right) = (before[at], after[rows.1 - 1]);
            let score = -(left.0 + right.0);
            if limits.allow_values(|| (left.1, right.1)) && best.is_none_or(|b| score > b.score) {
                let (last, next) = (code(order[at]), code(order[at + 1]));
                best = Some(Cut { last, next, missing_left, score, middle: (left.1 + right.1) / 2.0 });
            }
        }
        (self.keys, self.absent, self.before, self.after) = (keys, absent, before, after);
        best
    }
}

impl<C: Code> Finder<C> for Absolute<'_> {
    fn enter(&mut self, rows: &[Entry]) -> Stats {
        let weights = self.weights;
        self.local_weights.clear();
        self.local_weights
            .extend(rows.iter().map(|e| f64::from(e.payload) * weights.map_or(1.0, |w| w[e.row as usize])));
        self.weight = self.local_weights.iter().sum();
        self.error = 0.0;
        for output in 0..self.outputs {
            let target = |e: &Entry| self.y[e.row as usize * self.outputs + output];
            let values = &mut self.values[output];
            values.clear();
            values.extend(rows.iter().map(target));
            values.sort_unstable_by(f64::total_cmp);
            values.dedup();
            let ranks = &mut self.ranks[output];
            ranks.clear();
            ranks.extend(rows.iter().map(|e| {
                let y = target(e);
                values.partition_point(|v| *v < y) as u32
            }));
            self.sums.reset(values.len());
            for (i, &rank) in ranks.iter().enumerate() {
                self.sums.add(rank, self.local_weights[i], values[rank as usize]);
            }
            self.error += self.sums.error(values).0;
            let (rank, below, _) = self.sums.median();
            // With exactly half of the weight up to the lower median, the middle of both medians, as numpy does.
            let upto = below
                + ranks
                    .iter()
                    .zip(&self.local_weights)
                    .filter(|(r, _)| **r as usize == rank)
                    .map(|(_, w)| w)
                    .sum::<f64>();
            let upper = if upto == self.weight / 2.0 { rank + 1 } else { rank };
            self.medians[output] = (values[rank] + values[upper.min(values.len() - 1)]) / 2.0;
        }
        Stats { weight: self.weight, impurity: (self.error / (self.weight * self.outputs as f64)).max(0.0) }
    }

    fn gather(&mut self, codes: &[C], missing: u32, rows: &[Entry]) -> Span {
        finder::gather(codes, missing, rows, &mut self.keys, &mut self.absent, |code, i, _| {
            u64::from(code.get()) << 32 | i as u64
        })
    }

    fn best(&mut self, span: &Span, limits: &Limits) -> Option<Cut> {
        sort::by_code(&mut self.keys, &mut self.scratch, span.low, span.high);
        let right = self.scan(false, limits);
        if span.missing == 0 {
            return right;
        }
        Cut::better(right, self.scan(true, limits))
    }

    fn at(&mut self, last: u32, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let goes_left = |key: u64| (key >> 32) as u32 <= last;
        let sides = [true, false].map(|side| {
            let present = self.keys.iter().copied().filter(|&k| goes_left(k) == side);
            let absent = self.absent.iter().copied().filter(|_| missing_left == side);
            present.chain(absent).collect::<Vec<u64>>()
        });
        let weigh = |side: &[u64]| side.iter().map(|&k| self.local_weights[k as u32 as usize]).sum::<f64>();
        let weights = (weigh(&sides[0]), weigh(&sides[1]));
        if !limits.allow((sides[0].len(), weights.0), (sides[1].len(), weights.1)) {
            return None;
        }
        let (mut score, mut medians) = (0.0, [0.0; 2]);
        for (side, first) in sides.iter().zip(&mut medians) {
            for output in 0..self.outputs {
                self.sums.reset(self.values[output].len());
                for key in side {
                    let i = *key as u32 as usize;
                    let rank = self.ranks[output][i];
                    self.sums.add(rank, self.local_weights[i], self.values[output][rank as usize]);
                }
                let (error, median) = self.sums.error(&self.values[output]);
                score -= error;
                if output == 0 {
                    *first = median;
                }
            }
        }
        let [left, right] = medians;
        limits.allow_values(|| (left, right)).then_some(Cut {
            last,
            next: last + 1,
            missing_left,
            score,
            middle: (left + right) / 2.0,
        })
    }

    fn gain(&self, score: f64) -> f64 {
        (self.error + score) / self.outputs as f64
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        out.extend_from_slice(&self.medians);
        if let (Some((low, high)), Some(last)) = (bounds, out.last_mut()) {
            *last = last.clamp(low, high);
        }
    }
}
