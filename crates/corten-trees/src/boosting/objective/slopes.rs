//! Gradients and hessians of losses that are sums over rows.

use corten_kernels::boost::gradients;
use corten_kernels::special;
use corten_kernels::team::Team;
use corten_model::estimator::Slopes;

use super::Objective;
use crate::boosting::part::Part;

/// Rows whose slopes one thread finds at a time.
const BLOCK: usize = 4096;

impl Objective {
    /// Gradients and hessians of all rows, weights included.
    pub(crate) fn by_blocks(&self, part: &Part, team: Team<'_>) -> Slopes {
        let (n, outputs) = (part.y.len(), self.outputs());
        let mut slopes: Slopes = vec![[vec![0.0; n], vec![0.0; n]]; outputs];
        let mut blocks: Vec<Vec<[&mut [f64]; 2]>> = (0..n.div_ceil(BLOCK)).map(|_| Vec::new()).collect();
        for [g, h] in &mut slopes {
            for ((block, g), h) in blocks.iter_mut().zip(g.chunks_mut(BLOCK)).zip(h.chunks_mut(BLOCK)) {
                block.push([g, h]);
            }
        }
        team.each(&mut blocks, |b, block| {
            let range = b * BLOCK..((b + 1) * BLOCK).min(n);
            let mut room = [0.0; BLOCK];
            let y = part.y.read(range.clone(), &mut room);
            let weights = part.weights.as_ref().map(|w| &w[range.clone()]);
            if let [[g, h]] = &mut block[..] {
                self.block(y, weights, &part.scores[0][range], g, h);
                return;
            }
            let scores: Vec<&[f64]> = part.scores.iter().map(|s| &s[range.clone()]).collect();
            self.classes(y, weights, &scores, |k, g, h| {
                block[k][0].copy_from_slice(g);
                block[k][1].copy_from_slice(h);
            });
        });
        slopes
    }

    /// Gradients and hessians of a block of rows at their scores, for an objective of one output.
    ///
    /// Shapes: all of one length.
    pub(crate) fn block(&self, y: &[f64], weights: Option<&[f64]>, scores: &[f64], g: &mut [f64], h: &mut [f64]) {
        match self {
            Self::Binary | Self::CrossEntropy => gradients::logistic(y, scores, g, h),
            Self::Expression(loss) => loss.slopes(y, scores, g, h),
            Self::Poisson => {
                h.copy_from_slice(scores);
                gradients::exp_all(h);
                for ((g, &h), &y) in g.iter_mut().zip(&*h).zip(y) {
                    *g = h - y;
                }
            }
            Self::Gamma => {
                for (h, &s) in h.iter_mut().zip(scores) {
                    *h = -s;
                }
                gradients::exp_all(h);
                for ((g, h), &y) in g.iter_mut().zip(h.iter_mut()).zip(y) {
                    *h *= y;
                    *g = 1.0 - *h;
                }
            }
            _ => {
                for (((g, h), &y), &s) in g.iter_mut().zip(h.iter_mut()).zip(y).zip(scores) {
                    (*g, *h) = self.one(y, s);
                }
            }
        }
        weigh(weights, g, h);
    }

    /// Gradients and hessians of a block of rows, class after class; `give` gets each class with them.
    ///
    /// Shapes: `scores` has a slice of the block's length for each class.
    pub(crate) fn classes(
        &self,
        y: &[f64],
        weights: Option<&[f64]>,
        scores: &[&[f64]],
        mut give: impl FnMut(usize, &[f64], &[f64]),
    ) {
        let n = y.len();
        if let Self::Quantiles(all) = self {
            let (mut g, mut h) = (vec![0.0; n], vec![0.0; n]);
            for (k, (&q, scores)) in all.iter().zip(scores).enumerate() {
                Self::Quantile(q).block(y, weights, scores, &mut g, &mut h);
                give(k, &g, &h);
            }
            return;
        }
        let mut top = scores[0].to_vec();
        for scores in &scores[1..] {
            for (t, &s) in top.iter_mut().zip(*scores) {
                *t = if s > *t { s } else { *t };
            }
        }
        let (mut exps, mut sums) = (vec![0.0; n * scores.len()], vec![0.0; n]);
        for (e, scores) in exps.chunks_exact_mut(n).zip(scores) {
            for ((e, &s), &t) in e.iter_mut().zip(*scores).zip(&top) {
                *e = s - t;
            }
            gradients::exp_all(e);
            for (sum, &e) in sums.iter_mut().zip(&*e) {
                *sum += e;
            }
        }
        let (mut g, mut h) = (vec![0.0; n], vec![0.0; n]);
        for (k, e) in exps.chunks_exact(n).enumerate() {
            gradients::softmax(k as f64, y, e, &sums, &mut g, &mut h);
            weigh(weights, &mut g, &mut h);
            give(k, &g, &h);
        }
    }

    /// Gradient and hessian of one row with one score.
    #[inline]
    pub(super) fn one(&self, y: f64, score: f64) -> (f64, f64) {
        match self {
            Self::SquaredError => (score - y, 1.0),
            Self::AbsoluteError => (
                if score > y {
                    1.0
                } else if score < y {
                    -1.0
                } else {
                    0.0
                },
                1.0,
            ),
            Self::Quantile(q) => (if y >= score { -q } else { 1.0 - q }, 1.0),
            // Those of all rows at once, and of several scores, are found elsewhere.
            Self::Quantiles(_) | Self::Ranking(_) | Self::Cox | Self::Outside(_) | Self::Expression(_) => (0.0, 1.0),
            Self::Poisson => {
                let e = special::exp(score);
                (e - y, e)
            }
            Self::Gamma => {
                let e = y * special::exp(-score);
                (1.0 - e, e)
            }
            Self::Huber(delta) => {
                let residual = score - y;
                (residual.clamp(-*delta, *delta), 1.0)
            }
            Self::Tweedie(power) => {
                let (a, b) = (special::exp((1.0 - power) * score), special::exp((2.0 - power) * score));
                (b - y * a, (2.0 - power) * b - (1.0 - power) * y * a)
            }
            Self::Binary | Self::CrossEntropy | Self::Multiclass(_) => {
                let p = special::sigmoid(score);
                (p - y, p * (1.0 - p))
            }
        }
    }
}

pub(super) fn weigh(weights: Option<&[f64]>, g: &mut [f64], h: &mut [f64]) {
    let Some(weights) = weights else { return };
    for ((g, h), &w) in g.iter_mut().zip(h).zip(weights) {
        *g *= w;
        *h *= w;
    }
}
