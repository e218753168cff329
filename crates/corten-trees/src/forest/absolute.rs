//! Regression whose leaves are medians: absolute error.
//!
//! The error of every prefix of sorted rows comes from a tree of partial sums over the ranks of their targets (Fenwick,
//! Software: Practice and Experience 24, 1994): O(n log n) a column.

use super::finder::{self, Cut, Entry, Finder, Keys, Limits, Order, Side, Stats};
use super::sort::Key;

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
    /// Rows that were loaded, and their weights.
    local: Vec<u32>,
    local_weights: Vec<f64>,
    weight: f64,
    /// Of each output: the node's distinct targets in order, and the rank of each row's among them.
    values: Vec<Vec<f64>>,
    ranks: Vec<Vec<u32>>,
    medians: Vec<f64>,
    /// Sum of weighted errors over outputs.
    error: f64,
    sums: Sums,
    /// Errors and medians (of the first output) of the rows up to, and from, each place of an order.
    before: Vec<(f64, f64)>,
    after: Vec<(f64, f64)>,
}

impl<'a> Absolute<'a> {
    /// Shapes: `y` is `(rows, outputs)` row after row.
    pub(crate) fn new(y: &'a [f64], outputs: usize, weights: Option<&'a [f64]>) -> Self {
        Self {
            y,
            outputs,
            weights,
            local: Vec::new(),
            local_weights: Vec::new(),
            weight: 0.0,
            values: vec![Vec::new(); outputs],
            ranks: vec![Vec::new(); outputs],
            medians: vec![0.0; outputs],
            error: 0.0,
            sums: Sums::default(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// Errors, and medians of the first output, of the first 1, 2 ... places.
    fn errors(&mut self, places: impl Iterator<Item = usize> + Clone, out: &mut Vec<(f64, f64)>) {
        out.clear();
        for output in 0..self.outputs {
            self.sums.reset(self.values[output].len());
            for (k, place) in places.clone().enumerate() {
                let rank = self.ranks[output][place];
                self.sums.add(rank, self.local_weights[place], self.values[output][rank as usize]);
                let (error, median) = self.sums.error(&self.values[output]);
                match out.get_mut(k) {
                    Some((sum, _)) => *sum += error,
                    None => out.push((error, median)),
                }
            }
        }
    }

    fn scan<K: Key>(&mut self, order: Order<'_, K>, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let window = order.window(missing_left, limits);
        let (first, then) = if missing_left { (order.absent, order.present) } else { (order.present, order.absent) };
        let places = first.iter().chain(then).map(|key| key.place());
        let (mut before, mut after) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        self.errors(places.clone(), &mut before);
        self.errors(places.clone().rev(), &mut after);
        let start = if missing_left { order.absent.len() } else { 0 };
        let mut weight = 0.0;
        let mut best: Option<(usize, f64, f64)> = None;
        for (count, place) in places.take(start + window.end).enumerate() {
            weight += self.local_weights[place];
            let Some(at) = count.checked_sub(start).filter(|at| *at >= window.start) else { continue };
            if !order.is_end(at) || !limits.allow_weights(weight, self.weight - weight) {
                continue;
            }
            let (left, right) = (before[count], after[order.rows() - count - 2]);
            let score = -(left.0 + right.0);
            if limits.allow_values(|| (left.1, right.1)) && best.is_none_or(|b| score > b.1) {
                best = Some((at, score, limits.middle(|| (left.1, right.1))));
            }
        }
        (self.before, self.after) = (before, after);
        let (at, score, middle) = best?;
        order.cut(at, missing_left, score).map(|cut| Cut { middle, ..cut })
    }
}

impl Finder for Absolute<'_> {
    fn load(&mut self, rows: &[Entry]) {
        let weights = self.weights;
        self.local.clear();
        self.local.extend(rows.iter().map(|e| e.row));
        self.local_weights.clear();
        self.local_weights
            .extend(rows.iter().map(|e| f64::from(e.payload) * weights.map_or(1.0, |w| w[e.row as usize])));
        self.ranks.iter_mut().for_each(|ranks| ranks.resize(rows.len(), 0));
    }

    fn enter(&mut self, keys: Option<&[u32]>) -> Stats {
        let rows = self.local.len();
        self.weight = 0.0;
        finder::each(rows, keys, |place| self.weight += self.local_weights[place]);
        self.error = 0.0;
        for output in 0..self.outputs {
            let target = |place: usize| self.y[self.local[place] as usize * self.outputs + output];
            let values = &mut self.values[output];
            values.clear();
            finder::each(rows, keys, |place| values.push(target(place)));
            values.sort_unstable_by(f64::total_cmp);
            values.dedup();
            let ranks = &mut self.ranks[output];
            let sums = &mut self.sums;
            sums.reset(values.len());
            finder::each(rows, keys, |place| {
                let y = target(place);
                let rank = values.partition_point(|v| *v < y) as u32;
                ranks[place] = rank;
                sums.add(rank, self.local_weights[place], y);
            });
            self.error += sums.error(values).0;
            let (rank, below, _) = sums.median();
            // With exactly half of the weight up to the lower median, the middle of both medians, as numpy does.
            let mut upto = below;
            finder::each(rows, keys, |place| {
                if ranks[place] as usize == rank {
                    upto += self.local_weights[place];
                }
            });
            let upper = if upto == self.weight / 2.0 { rank + 1 } else { rank };
            self.medians[output] = (values[rank] + values[upper.min(values.len() - 1)]) / 2.0;
        }
        Stats { weight: self.weight, impurity: (self.error / (self.weight * self.outputs as f64)).max(0.0) }
    }

    fn best(&mut self, keys: Keys<'_>, limits: &Limits) -> Option<Cut> {
        match keys {
            Keys::Narrow(order) => finder::both(order, |missing_left| self.scan(order, missing_left, limits)),
            Keys::Wide(order) => finder::both(order, |missing_left| self.scan(order, missing_left, limits)),
        }
    }

    fn binned(&mut self, _: &[u32], _: u32, _: u32, _: &Limits) -> Option<Cut> {
        None
    }

    fn bins(&self, _: usize) -> usize {
        0
    }

    fn at(&mut self, side: Side<'_>, limits: &Limits) -> Option<Cut> {
        let sides = [true, false]
            .map(|left| (0..side.codes.len()).filter(|&place| side.is_left(place) == left).collect::<Vec<usize>>());
        let weigh = |places: &[usize]| places.iter().map(|&place| self.local_weights[place]).sum::<f64>();
        let weights = (weigh(&sides[0]), weigh(&sides[1]));
        if !limits.allow_rows(sides[0].len(), sides[1].len()) || !limits.allow_weights(weights.0, weights.1) {
            return None;
        }
        let (mut score, mut medians) = (0.0, [0.0; 2]);
        for (places, first) in sides.iter().zip(&mut medians) {
            for output in 0..self.outputs {
                self.sums.reset(self.values[output].len());
                for &place in places {
                    let rank = self.ranks[output][place];
                    self.sums.add(rank, self.local_weights[place], self.values[output][rank as usize]);
                }
                let (error, median) = self.sums.error(&self.values[output]);
                score -= error;
                if output == 0 {
                    *first = median;
                }
            }
        }
        let medians = || (medians[0], medians[1]);
        limits.allow_values(medians).then(|| side.cut(score, limits.middle(medians)))
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
