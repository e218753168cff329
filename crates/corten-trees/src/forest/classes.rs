//! Classification where weights are any numbers.

use super::counts::weighted_log;
use super::finder::{self, Cut, Entry, Finder, Limits, Span, Stats};
use super::ranks::Code;
use super::sort;

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
    fn impure(self, side: f64, weight: f64) -> f64 {
        match self {
            Self::Gini => weight - side,
            Self::Entropy => -side,
        }
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
    /// Classes and weights of the node's rows.
    local: Vec<(u32, f64)>,
    keys: Vec<u64>,
    absent: Vec<u64>,
    scratch: Vec<u64>,
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
            keys: Vec::new(),
            absent: Vec::new(),
            scratch: Vec::new(),
            left: vec![0.0; classes],
            right: vec![0.0; classes],
        }
    }

    fn start(&mut self, missing_left: bool) -> usize {
        self.left.fill(0.0);
        if !missing_left {
            return 0;
        }
        for i in 0..self.absent.len() {
            self.add(self.absent[i]);
        }
        self.absent.len()
    }

    #[inline]
    fn add(&mut self, key: u64) {
        let (class, weight) = self.local[key as u32 as usize];
        self.left[class as usize] += weight;
    }

    fn cut(&mut self, left_rows: usize, limits: &Limits) -> Option<(f64, f64)> {
        let mut sums = (0.0, 0.0);
        for ((r, l), t) in self.right.iter_mut().zip(&self.left).zip(&self.totals) {
            *r = t - l;
            sums.0 += l;
            sums.1 += *r;
        }
        let rows = (left_rows, self.local.len() - left_rows);
        if !limits.allow((rows.0, sums.0), (rows.1, sums.1)) || sums.0 <= 0.0 || sums.1 <= 0.0 {
            return None;
        }
        let mut middle = 0.0;
        if limits.monotonic.is_some() {
            let values = (self.left[1] / sums.0, self.right[1] / sums.1);
            if !limits.allow_values(|| values) {
                return None;
            }
            middle = (values.0 + values.1) / 2.0;
        }
        Some((self.measure.side(&self.left, sums.0) + self.measure.side(&self.right, sums.1), middle))
    }

    fn scan(&mut self, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let start = self.start(missing_left);
        let code = |key: u64| (key >> 32) as u32;
        let mut best: Option<Cut> = None;
        for i in 0..self.keys.len() {
            let key = self.keys[i];
            self.add(key);
            let next = match self.keys.get(i + 1) {
                Some(&next) if code(next) != code(key) => code(next),
                None if !missing_left && !self.absent.is_empty() => code(self.absent[0]),
                _ => continue,
            };
            if let Some((score, middle)) = self.cut(start + i + 1, limits)
                && best.is_none_or(|b| score > b.score)
            {
                best = Some(Cut { last: code(key), next, missing_left, score, middle });
            }
        }
        best
    }
}

impl<C: Code> Finder<C> for Classes<'_> {
    fn enter(&mut self, rows: &[Entry]) -> Stats {
        self.totals.fill(0.0);
        self.local.clear();
        for entry in rows {
            let (class, weight) = (self.y[entry.row as usize], self.weights[entry.row as usize]);
            self.totals[class as usize] += weight;
            self.local.push((class, weight));
        }
        self.weight = self.totals.iter().sum();
        let side = self.measure.side(&self.totals, self.weight);
        Stats { weight: self.weight, impurity: (self.measure.impure(side, self.weight) / self.weight).max(0.0) }
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
        let mut rows = self.start(missing_left);
        for i in 0..self.keys.len() {
            let key = self.keys[i];
            if (key >> 32) as u32 <= last {
                self.add(key);
                rows += 1;
            }
        }
        let (score, middle) = self.cut(rows, limits)?;
        Some(Cut { last, next: last + 1, missing_left, score, middle })
    }

    fn gain(&self, score: f64) -> f64 {
        let side = self.measure.side(&self.totals, self.weight);
        self.measure.impure(side, self.weight) - self.measure.impure(score, self.weight)
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        finder::shares(self.totals.iter().map(|t| t / self.weight), bounds, out);
    }
}
