//! Classification where weights are any numbers.

use super::finder::{self, Cut, Entry, Finder, Keys, Limits, Order, Side, Stats};
use super::purity::weighted_log;
use super::sort::Key;

/// Which impurity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Gini,
    Entropy,
}

impl Measure {
    /// What a side of a split adds to the score: higher where the side is purer.
    fn side(self, classes: &[f64], weight: f64) -> f64 {
        match self {
            Self::Gini => classes.iter().map(|x| x * x).sum::<f64>() / weight,
            Self::Entropy => classes.iter().map(|&x| weighted_log(x)).sum::<f64>() - weighted_log(weight),
        }
    }

    /// Impurity times weight, from a side's part of the score.
    pub(super) fn impure(self, side: f64, weight: f64) -> f64 {
        match self {
            Self::Gini => weight - side,
            Self::Entropy => -side,
        }
    }

    /// The score of the cut between two classes of such weights: no other of their rows is better.
    pub(super) fn perfect(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Gini => one * one / one + other * other / other,
            Self::Entropy => 0.0,
        }
    }

    /// A node as a whole, from the weights of its classes, whose sum is kept.
    pub(super) fn stats(self, totals: &[f64], weight: &mut f64) -> Stats {
        *weight = totals.iter().sum();
        let side = self.side(totals, *weight);
        Stats { weight: *weight, impurity: (self.impure(side, *weight) / *weight).max(0.0) }
    }

    /// By how much a cut of this score lowers the weighted impurity of a node.
    pub(super) fn gain(self, totals: &[f64], weight: f64, score: f64) -> f64 {
        self.impure(self.side(totals, weight), weight) - self.impure(score, weight)
    }
}

/// See the module.
pub(crate) struct Classes<'a> {
    measure: Measure,
    /// The class and the weight of each row of the table.
    y: &'a [u32],
    weights: &'a [f64],
    totals: Vec<f64>,
    weight: f64,
    /// Classes and weights of the rows that were loaded.
    local: Vec<(u32, f64)>,
    left: Vec<f64>,
    right: Vec<f64>,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(measure: Measure, classes: usize, y: &'a [u32], weights: &'a [f64]) -> Self {
        Self {
            measure,
            y,
            weights,
            totals: vec![0.0; classes],
            weight: 0.0,
            local: Vec::new(),
            left: vec![0.0; classes],
            right: vec![0.0; classes],
        }
    }

    #[inline]
    fn add(&mut self, place: usize) {
        let (class, weight) = self.local[place];
        self.left[class as usize] += weight;
    }

    /// The score and the middle of what lies on the left.
    fn cut(&mut self, limits: &Limits) -> Option<(f64, f64)> {
        let mut sums = (0.0, 0.0);
        for ((r, l), t) in self.right.iter_mut().zip(&self.left).zip(&self.totals) {
            *r = t - l;
            sums.0 += l;
            sums.1 += *r;
        }
        if !limits.allow_weights(sums.0, sums.1) || sums.0 <= 0.0 || sums.1 <= 0.0 {
            return None;
        }
        let values = || (self.left[1] / sums.0, self.right[1] / sums.1);
        limits.allow_values(values).then(|| {
            let score = self.measure.side(&self.left, sums.0) + self.measure.side(&self.right, sums.1);
            (score, limits.middle(values))
        })
    }

    fn scan<K: Key>(&mut self, order: Order<'_, K>, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let window = order.window(missing_left, limits);
        self.left.fill(0.0);
        if missing_left {
            order.absent.iter().for_each(|key| self.add(key.place()));
        }
        let mut best: Option<(usize, f64, f64)> = None;
        for at in 0..window.end {
            self.add(order.present[at].place());
            if at >= window.start
                && order.is_end(at)
                && let Some((score, middle)) = self.cut(limits)
                && best.is_none_or(|b| score > b.1)
            {
                best = Some((at, score, middle));
            }
        }
        let (at, score, middle) = best?;
        order.cut(at, missing_left, score).map(|cut| Cut { middle, ..cut })
    }
}

impl Finder for Classes<'_> {
    fn load(&mut self, rows: &[Entry]) {
        self.local.clear();
        self.local.extend(rows.iter().map(|e| (self.y[e.row as usize], self.weights[e.row as usize])));
    }

    fn enter(&mut self, keys: Option<&[u32]>) -> Stats {
        self.totals.fill(0.0);
        finder::each(self.local.len(), keys, |place| {
            let (class, weight) = self.local[place];
            self.totals[class as usize] += weight;
        });
        self.measure.stats(&self.totals, &mut self.weight)
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
        self.left.fill(0.0);
        let mut rows = 0;
        for at in 0..self.local.len() {
            if side.is_left(at) {
                self.add(at);
                rows += 1;
            }
        }
        if !limits.allow_rows(rows, side.codes.len() - rows) {
            return None;
        }
        let (score, middle) = self.cut(limits)?;
        Some(side.cut(score, middle))
    }

    fn gain(&self, score: f64) -> f64 {
        self.measure.gain(&self.totals, self.weight, score)
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        finder::shares(self.totals.iter().map(|t| t / self.weight), bounds, out);
    }
}
