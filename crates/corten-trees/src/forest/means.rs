//! Regression whose leaves are means: squared error and Poisson deviance.

use corten_kernels::special;

use super::finder::{self, Cut, Entry, Finder, Limits, Span, Stats};
use super::ranks::Code;
use super::sort;

/// Which loss.
pub(crate) trait Loss: Send + Sync {
    /// What a side of a split adds to the score, from its sum and its weight; NaN where the side can't be.
    fn side(sum: f64, weight: f64) -> f64;
    /// What a row adds to the impurity beside the sides.
    fn own(y: f64) -> f64;
}

/// Squared error.
pub(crate) struct Squared;

impl Loss for Squared {
    #[inline]
    fn side(sum: f64, weight: f64) -> f64 {
        sum * sum / weight
    }

    #[inline]
    fn own(y: f64) -> f64 {
        y * y
    }
}

/// Half Poisson deviance; targets are not negative.
pub(crate) struct Poisson;

impl Loss for Poisson {
    #[inline]
    fn side(sum: f64, weight: f64) -> f64 {
        // A mean of 0 has no logarithm: such a side may not be.
        if sum > f64::EPSILON { sum * special::ln(sum / weight) } else { f64::NAN }
    }

    #[inline]
    fn own(y: f64) -> f64 {
        if y > 0.0 { y * special::ln(y) } else { 0.0 }
    }
}

/// See the module.
pub(crate) struct Means<'a, L> {
    loss: std::marker::PhantomData<L>,
    /// Targets less `center`, row after row.
    y: &'a [f64],
    outputs: usize,
    center: &'a [f64],
    weights: Option<&'a [f64]>,
    /// Weighted targets and weights of the node's rows.
    local: Vec<f64>,
    local_weights: Vec<f64>,
    totals: Vec<f64>,
    weight: f64,
    impurity: f64,
    keys: Vec<u64>,
    absent: Vec<u64>,
    scratch: Vec<u64>,
    left: Vec<f64>,
}

impl<'a, L: Loss> Means<'a, L> {
    /// Shapes: `y` is `(rows, outputs)` row after row, `center` `(outputs,)`; weights beside those of entries.
    pub(crate) fn new(y: &'a [f64], outputs: usize, center: &'a [f64], weights: Option<&'a [f64]>) -> Self {
        Self {
            loss: std::marker::PhantomData,
            y,
            outputs,
            center,
            weights,
            local: Vec::new(),
            local_weights: Vec::new(),
            totals: vec![0.0; outputs],
            weight: 0.0,
            impurity: 0.0,
            keys: Vec::new(),
            absent: Vec::new(),
            scratch: Vec::new(),
            left: vec![0.0; outputs],
        }
    }

    /// The score and the middle of a cut.
    #[inline]
    fn cut(&self, left: &[f64], weight: f64, rows: usize, limits: &Limits) -> Option<(f64, f64)> {
        let right = self.weight - weight;
        if !limits.allow((rows, weight), (self.local_weights.len() - rows, right)) {
            return None;
        }
        let mut score = 0.0;
        for (l, t) in left.iter().zip(&self.totals) {
            score += L::side(*l, weight) + L::side(t - l, right);
        }
        let mut middle = 0.0;
        if limits.monotonic.is_some() {
            let values = (left[0] / weight + self.center[0], (self.totals[0] - left[0]) / right + self.center[0]);
            if !limits.allow_values(|| values) {
                return None;
            }
            middle = (values.0 + values.1) / 2.0;
        }
        (!score.is_nan()).then_some((score, middle))
    }

    fn start(&mut self, missing_left: bool) -> (usize, f64) {
        self.left.fill(0.0);
        let mut weight = 0.0;
        if missing_left {
            for &key in &self.absent {
                let i = key as u32 as usize;
                weight += self.local_weights[i];
                for (o, l) in self.left.iter_mut().enumerate() {
                    *l += self.local[i * self.outputs + o];
                }
            }
            return (self.absent.len(), weight);
        }
        (0, weight)
    }

    fn scan(&mut self, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let (start, mut weight) = self.start(missing_left);
        let mut left = std::mem::take(&mut self.left);
        let code = |key: u64| (key >> 32) as u32;
        let end = if missing_left { None } else { self.absent.first() };
        let (mut best, mut score) = (None, f64::NEG_INFINITY);
        for (at, &key) in self.keys.iter().enumerate() {
            let i = key as u32 as usize;
            weight += self.local_weights[i];
            if let [l] = &mut left[..] {
                *l += self.local[i];
            } else {
                for (l, y) in left.iter_mut().zip(&self.local[i * self.outputs..]) {
                    *l += y;
                }
            }
            let next = match self.keys.get(at + 1).or(end) {
                Some(&next) if code(next) != code(key) => code(next),
                _ => continue,
            };
            if let Some((s, middle)) = self.cut(&left, weight, start + at + 1, limits)
                && s > score
            {
                score = s;
                best = Some(Cut { last: code(key), next, missing_left, score, middle });
            }
        }
        self.left = left;
        best
    }
}

impl<C: Code, L: Loss> Finder<C> for Means<'_, L> {
    fn enter(&mut self, rows: &[Entry]) -> Stats {
        self.local.clear();
        self.local_weights.clear();
        self.totals.fill(0.0);
        (self.weight, self.impurity) = (0.0, 0.0);
        for entry in rows {
            let row = entry.row as usize;
            let weight = f64::from(entry.payload) * self.weights.map_or(1.0, |w| w[row]);
            self.weight += weight;
            self.local_weights.push(weight);
            for (o, t) in self.totals.iter_mut().enumerate() {
                let y = self.y[row * self.outputs + o];
                self.local.push(weight * y);
                *t += weight * y;
                self.impurity += weight * L::own(y);
            }
        }
        let sides: f64 = self.totals.iter().map(|&t| L::side(t, self.weight)).sum();
        let sides = if sides.is_nan() { 0.0 } else { sides };
        self.impurity = ((self.impurity - sides) / (self.weight * self.outputs as f64)).max(0.0);
        Stats { weight: self.weight, impurity: self.impurity }
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
        let (mut rows, mut weight) = self.start(missing_left);
        let mut left = std::mem::take(&mut self.left);
        for &key in &self.keys {
            let i = key as u32 as usize;
            // Multiplied by 0 or 1: no branch on the side.
            let side = f64::from(u8::from((key >> 32) as u32 <= last));
            weight += side * self.local_weights[i];
            rows += usize::from(side > 0.0);
            for (l, y) in left.iter_mut().zip(&self.local[i * self.outputs..]) {
                *l += side * y;
            }
        }
        let cut = self.cut(&left, weight, rows, limits);
        self.left = left;
        let (score, middle) = cut?;
        Some(Cut { last, next: last + 1, missing_left, score, middle })
    }

    fn gain(&self, score: f64) -> f64 {
        let sides: f64 = self.totals.iter().map(|&t| L::side(t, self.weight)).sum();
        (score - sides) / self.outputs as f64
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        out.extend(self.totals.iter().zip(self.center).map(|(t, c)| t / self.weight + c));
        if let (Some((low, high)), Some(last)) = (bounds, out.last_mut()) {
            *last = last.clamp(low, high);
        }
    }
}
