//! The objective of logistic regression: mean log loss plus penalty, its gradient and its Hessian.
//!
//! For two classes `log(1 + exp(s)) - y s` with the score `s` of the second class; for more classes
//! `log(sum_c exp(s_c)) - s_y`. The mean is weighted; the penalty is `l2 / 2 |w|^2` on the coefficients and
//! `intercept_l2 / 2 b^2` on the intercepts (0 but for liblinear). With `l2 = 1 / (C sum of weights)` this is
//! scikit-learn's objective divided by `C sum of weights`.
//!
//! Parameters lie class after class, the intercept (where there is one) last. Source: scikit-learn's
//! `linear_model/_linear_loss.py`; the cases of `log(1 + exp(s))` are those of Maechler, "Accurately computing
//! log(1 - exp(-|a|))" (2012).

use std::ops::Range;

use corten_core::Result;
use corten_kernels::special::{exp, ln, log1p, sigmoid};
use corten_model::estimator::Context;

use super::design::Design;
use crate::sums::dot;

/// The problem.
pub(super) struct LogisticLoss<'a> {
    pub design: &'a Design<'a>,
    /// Class of each row.
    pub classes: &'a [u32],
    /// Weight of each row.
    pub weights: Option<&'a [f64]>,
    /// Sum of the weights.
    pub total_weight: f64,
    /// Scores a row: 1 for two classes.
    pub outputs: usize,
    /// Whether there are intercepts.
    pub intercept: bool,
    pub l2: f64,
    pub intercept_l2: f64,
    pub context: &'a Context,
}

/// `log(1 + exp(s))`.
fn softplus(s: f64) -> f64 {
    if s <= -37.0 {
        exp(s)
    } else if s <= 18.0 {
        if s <= 0.0 { log1p(exp(s)) } else { s + log1p(exp(-s)) }
    } else if s <= 33.3 {
        s + exp(-s)
    } else {
        s
    }
}

impl LogisticLoss<'_> {
    /// Parameters of one class.
    pub(super) fn stride(&self) -> usize {
        self.design.width() + usize::from(self.intercept)
    }

    /// Number of parameters.
    pub(super) fn size(&self) -> usize {
        self.outputs * self.stride()
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    /// The penalty's factor of a parameter.
    pub(super) fn penalty(&self, at: usize) -> f64 {
        if self.intercept && at % self.stride() == self.design.width() { self.intercept_l2 } else { self.l2 }
    }

    fn scores(&self, rows: Range<usize>, w: &[f64]) -> Vec<f64> {
        let (count, stride) = (rows.len(), self.stride());
        let mut scores = vec![0.0; count * self.outputs];
        if self.intercept {
            for (scores, w) in scores.chunks_exact_mut(count).zip(w.chunks_exact(stride)) {
                scores.fill(w[stride - 1]);
            }
        }
        self.design.scores(rows, w, stride, &mut scores);
        scores
    }

    /// Adds the transposed product of per-row numbers, intercepts included.
    fn gather(&self, rows: Range<usize>, residuals: &[f64], out: &mut [f64]) {
        let (count, stride) = (rows.len(), self.stride());
        if self.intercept {
            for (residuals, out) in residuals.chunks_exact(count).zip(out.chunks_exact_mut(stride)) {
                out[stride - 1] += crate::sums::sum(count, |r| residuals[r]);
            }
        }
        self.design.gather(rows, residuals, stride, out);
    }

    /// Scores to probabilities, in place (one score to the probability of the second class); adds up the loss.
    fn probabilities(&self, rows: Range<usize>, scores: &mut [f64]) -> f64 {
        let count = rows.len();
        let mut loss = 0.0;
        if self.outputs == 1 {
            for (r, score) in rows.zip(scores) {
                let positive = self.classes[r] == 1;
                loss += self.weight(r) * (softplus(*score) - if positive { *score } else { 0.0 });
                *score = sigmoid(*score);
            }
            return loss;
        }
        for (i, r) in rows.enumerate() {
            let at = |c: usize| c * count + i;
            let largest = (0..self.outputs).fold(f64::NEG_INFINITY, |m, c| m.max(scores[at(c)]));
            let own = scores[at(self.classes[r] as usize)] - largest;
            let mut total = 0.0;
            for c in 0..self.outputs {
                let e = exp(scores[at(c)] - largest);
                scores[at(c)] = e;
                total += e;
            }
            for c in 0..self.outputs {
                scores[at(c)] /= total;
            }
            loss += self.weight(r) * (ln(total) - own);
        }
        loss
    }

    /// Writes the gradient and returns the value.
    pub(super) fn value_and_gradient(&self, w: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let size = self.size();
        // The last entry collects the loss.
        let sums = self.design.reduce(self.context.threads, &self.context.cancel, size + 1, |rows, out| {
            let mut scores = self.scores(rows.clone(), w);
            out[size] += self.probabilities(rows.clone(), &mut scores);
            let count = rows.len();
            for (c, scores) in scores.chunks_exact_mut(count).enumerate() {
                for (r, p) in rows.clone().zip(scores) {
                    let own = self.classes[r] as usize == if self.outputs == 1 { 1 } else { c };
                    *p = self.weight(r) * (*p - f64::from(u8::from(own)));
                }
            }
            self.gather(rows, &scores, &mut out[..size]);
        })?;
        let mut penalty = 0.0;
        for (at, (gradient, sum)) in gradient.iter_mut().zip(&sums).enumerate() {
            *gradient = sum / self.total_weight + self.penalty(at) * w[at];
            penalty += self.penalty(at) * w[at] * w[at];
        }
        Ok(sums[size] / self.total_weight + 0.5 * penalty)
    }

    /// The probabilities of all rows, from which Hessians are made: `[c * rows + r]` within each tile's rows.
    pub(super) fn curvature(&self, w: &[f64]) -> Curvature {
        let rows = self.design.rows();
        let mut p = vec![0.0; rows * self.outputs];
        let mut start = 0;
        while start < rows {
            let end = (start + TILE).min(rows);
            let mut scores = self.scores(start..end, w);
            self.probabilities(start..end, &mut scores);
            for (c, scores) in scores.chunks_exact(end - start).enumerate() {
                p[c * rows + start..c * rows + end].copy_from_slice(scores);
            }
            start = end;
        }
        Curvature { p }
    }

    /// The Hessian at a point times a vector.
    pub(super) fn hessian_product(&self, at: &Curvature, v: &[f64]) -> Result<Vec<f64>> {
        let (rows, k) = (self.design.rows(), self.outputs);
        let mut product =
            self.design.reduce(self.context.threads, &self.context.cancel, self.size(), |range, out| {
                let mut s = self.scores(range.clone(), v);
                let count = range.len();
                for (i, r) in range.clone().enumerate() {
                    let p = |c: usize| at.p[c * rows + r];
                    let weight = self.weight(r);
                    if k == 1 {
                        s[i] *= weight * p(0) * (1.0 - p(0));
                    } else {
                        let mean = (0..k).fold(0.0, |sum, c| sum + p(c) * s[c * count + i]);
                        for c in 0..k {
                            s[c * count + i] = weight * p(c) * (s[c * count + i] - mean);
                        }
                    }
                }
                self.gather(range, &s, out);
            })?;
        for (at, (product, v)) in product.iter_mut().zip(v).enumerate() {
            *product = *product / self.total_weight + self.penalty(at) * v;
        }
        Ok(product)
    }

    /// The whole Hessian at a point: symmetric, `size * size`.
    pub(super) fn hessian(&self, at: &Curvature) -> Result<Vec<f64>> {
        let (size, stride, rows, k) = (self.size(), self.stride(), self.design.rows(), self.outputs);
        let mut hessian =
            self.design.reduce(self.context.threads, &self.context.cancel, size * size, |range, out| {
                for a in 0..k {
                    for b in 0..=a {
                        let h: Vec<f64> = range
                            .clone()
                            .map(|r| {
                                let (pa, pb) = (at.p[a * rows + r], at.p[b * rows + r]);
                                self.weight(r) * if a == b { pa * (1.0 - pa) } else { -pa * pb }
                            })
                            .collect();
                        self.outer(range.clone(), &h, |i, j, v| out[(a * stride + i) * size + b * stride + j] += v);
                    }
                }
            })?;
        for i in 0..size {
            for j in 0..i {
                // The blocks of classes on and below the diagonal were filled.
                hessian[j * size + i] = hessian[i * size + j];
            }
        }
        for at in 0..size {
            for v in &mut hessian[at * size..(at + 1) * size] {
                *v /= self.total_weight;
            }
            hessian[at * size + at] += self.penalty(at);
        }
        Ok(hessian)
    }

    /// Calls `add(i, j, sum_r h[r] x[r][i] x[r][j])` for all pairs of columns, the intercept's ones included.
    fn outer(&self, rows: Range<usize>, h: &[f64], mut add: impl FnMut(usize, usize, f64)) {
        let (width, count) = (self.design.width(), rows.len());
        match self.design {
            Design::Dense { columns, .. } => {
                let ones = [1.0; TILE];
                let column = |j: usize| columns.get(j).map_or(&ones[..count], |c| &c[rows.clone()]);
                for i in 0..self.stride() {
                    let scaled: Vec<f64> = column(i).iter().zip(h).map(|(x, h)| x * h).collect();
                    for j in 0..self.stride() {
                        add(i, j, dot(&scaled, column(j)));
                    }
                }
            }
            Design::Sparse(m) => {
                for (r, h) in rows.zip(h) {
                    let (indices, values) = m.row(r);
                    for (&i, x) in indices.iter().zip(values) {
                        for (&j, y) in indices.iter().zip(values) {
                            add(i as usize, j as usize, h * x * y);
                        }
                        if self.intercept {
                            add(i as usize, width, h * x);
                            add(width, i as usize, h * x);
                        }
                    }
                    if self.intercept {
                        add(width, width, *h);
                    }
                }
            }
        }
    }
}

/// Rows of a tile.
const TILE: usize = 1024;

/// The probabilities of all rows at a point.
pub(super) struct Curvature {
    p: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_and_sigmoid_are_exact_at_both_ends() {
        assert_eq!(softplus(-800.0), 0.0);
        assert_eq!(softplus(800.0), 800.0);
        assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-15);
        for s in [-40.0, -20.0, -1.0, -1e-3, 1e-3, 1.0, 20.0, 40.0f64] {
            assert!((softplus(s) - s.max(0.0) - (-s.abs()).exp().ln_1p()).abs() <= 1e-15 * softplus(s), "{s}");
            assert!((sigmoid(s) - 1.0 / (1.0 + (-s).exp())).abs() <= 1e-15, "{s}");
        }
    }
}
