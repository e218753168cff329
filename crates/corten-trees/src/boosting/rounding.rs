//! Gradients of all rows, rounded to integers for the next trees.

use corten_core::Result;
use corten_kernels::boost::gradients;
use corten_kernels::pages::Pages;
use corten_kernels::parallel;

use super::histogram::{PACKED, PAIR, Scale, Words};
use super::run::{Added, Run};

/// Rows whose gradients are computed at a time: they stay in the first-level cache.
const STEP: usize = 512;
/// Rows of a block, whose statistics are joined in a fixed order, are at least and at most so many.
const BLOCKS: (usize, usize) = (1 << 12, 1 << 16);
/// Rows up to which gradients are kept as they are too, for the values of leaves: there rounding shows.
const EXACT: usize = 1 << 14;
/// How many times its mean the largest gradient may be before it is kept in 31 bits.
const TAIL: f64 = 512.0;

/// The integers of one output.
#[derive(Default)]
pub(crate) struct Integers {
    pub(crate) words: Words,
    pub(crate) scale: Option<Scale>,
    /// Gradients and hessians before they were rounded, of few rows.
    pub(crate) exact: Vec<[f64; 2]>,
}

/// What a pass over the rows is for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Finding the largest gradients.
    Look,
    /// Rounding.
    Round,
    Both,
}

/// A block of rows of all outputs.
struct Block<'b> {
    from: usize,
    scores: Vec<&'b mut [f64]>,
    words: Vec<Room<'b>>,
    exact: Vec<&'b mut [[f64; 2]]>,
    /// Largest and summed gradients, then hessians.
    found: Vec<[f64; 4]>,
}

enum Room<'b> {
    Packed(&'b mut [u32]),
    Wide(&'b mut [[i32; 2]]),
}

impl Run<'_> {
    /// Adds a tree to the scores and makes the integers of the next ones; `step` is the largest value added.
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn round(&mut self, added: &Added<'_>, step: f64) -> Result<()> {
        self.context.cancel.check()?;
        let wide_weights = self.train.weights.as_ref().map(|w| {
            let top = w.iter().fold(0.0f64, |a, &b| a.max(b));
            (top, top > TAIL * corten_kernels::vector::sum(w) / w.len() as f64)
        });
        let counts = self.counts();
        let (top_weight, heavy) = wide_weights.unwrap_or((1.0, false));
        if let Some((g, h)) = self.objective.bounds().filter(|_| self.slopes.is_empty()) {
            let scale = scale_of(g * top_weight, h * top_weight, counts, heavy);
            for integers in &mut self.integers {
                integers.scale = Some(scale);
            }
            self.pass(added, heavy, Mode::Round);
            return Ok(());
        }
        if self.residuals
            && let Some((top, mean)) = self.found
        {
            // A residual grows by a leaf's value at most.
            let wide = top + step > TAIL * mean;
            self.integers[0].scale = Some(scale_of(top + step, 1.0, counts, wide));
            let found = self.pass(added, wide, Mode::Both);
            self.found = Some(self.largest(&found, 0).0);
            return Ok(());
        }
        // The largest gradients have to be known before any is rounded.
        let found = self.pass(added, false, Mode::Look);
        let mut any = false;
        let scales: Vec<(f64, f64)> = (0..self.integers.len())
            .map(|k| {
                let ((g, g_mean), (h, h_mean)) = self.largest(&found, k);
                any |= g > TAIL * g_mean || h > TAIL * h_mean;
                if self.residuals {
                    self.found = Some((g, g_mean));
                }
                (g, h)
            })
            .collect();
        for (integers, (g, h)) in self.integers.iter_mut().zip(scales) {
            integers.scale = Some(scale_of(g, h, counts, any));
        }
        self.pass(&Added::Nothing, any, Mode::Round);
        self.objective.slopes_are_finite()
    }

    /// Largest and mean gradient and hessian of an output, from what blocks found.
    pub(crate) fn largest(&self, found: &[Vec<[f64; 4]>], output: usize) -> ((f64, f64), (f64, f64)) {
        let parts: Vec<[f64; 4]> = found.iter().map(|f| f[output]).collect();
        let join = |a: &mut [f64; 4], b: [f64; 4]| *a = [a[0].max(b[0]), a[1] + b[1], a[2].max(b[2]), a[3] + b[3]];
        let [g, g_sum, h, h_sum] = parallel::reduce_blocks(parts, join).unwrap_or([0.0; 4]);
        let n = self.rows() as f64;
        ((g, g_sum / n), (h, h_sum / n))
    }

    /// One pass over all rows: adds leaves' values to scores; then looks for the largest gradients, or rounds all.
    pub(crate) fn pass(&mut self, added: &Added<'_>, wide: bool, mode: Mode) -> Vec<Vec<[f64; 4]>> {
        let rows = self.rows();
        let outputs = self.integers.len();
        let (look, round, residuals) = (mode != Mode::Round, mode != Mode::Look, self.residuals);
        let scales: Vec<Option<Scale>> = self.integers.iter().map(|i| i.scale).collect();
        // By the number of rows alone: nothing else may decide the order of sums.
        let size = (rows / 64).next_multiple_of(STEP).clamp(BLOCKS.0, BLOCKS.1);
        let count = rows.div_ceil(size);
        let mut blocks: Vec<Block<'_>> = (0..count)
            .map(|b| Block {
                from: b * size,
                scores: Vec::new(),
                words: Vec::new(),
                exact: Vec::new(),
                found: vec![[0.0; 4]; outputs],
            })
            .collect();
        for scores in &mut self.train.scores {
            for (block, part) in blocks.iter_mut().zip(scores.chunks_mut(size)) {
                block.scores.push(part);
            }
        }
        for integers in &mut self.integers {
            if round {
                make_room(&mut integers.words, rows, wide);
                if rows <= EXACT {
                    integers.exact.resize(rows, [0.0; 2]);
                    for (block, part) in blocks.iter_mut().zip(integers.exact.chunks_mut(size)) {
                        block.exact.push(part);
                    }
                }
            }
            match &mut integers.words {
                _ if !round => {}
                Words::Packed(words) => {
                    for (block, part) in blocks.iter_mut().zip(words.chunks_mut(size)) {
                        block.words.push(Room::Packed(part));
                    }
                }
                Words::Wide(words) => {
                    for (block, part) in blocks.iter_mut().zip(words.chunks_mut(size)) {
                        block.words.push(Room::Wide(part));
                    }
                }
            }
        }
        let (objective, train_y, weights) = (self.objective, &self.train.y, self.train.weights.as_deref());
        let slopes = &self.slopes;
        self.team.each(&mut blocks, |_, block| {
            let n = block.scores[0].len();
            added.to(block.scores[0], block.from);
            let Block { from, scores, words, exact, found } = block;
            let (mut g, mut h, mut room) = ([0.0; STEP], [0.0; STEP], [0.0; STEP]);
            for start in (0..n).step_by(STEP) {
                let end = (start + STEP).min(n);
                let range = *from + start..*from + end;
                let (y, w) = (train_y.read(range.clone(), &mut room), weights.map(|w| &w[range.clone()]));
                let mut give = |k: usize, g: &[f64], h: &[f64]| {
                    if look {
                        let (f, a, b) = (&mut found[k], gradients::largest(g), gradients::largest(h));
                        *f = [f[0].max(a.0), f[1] + a.1, f[2].max(b.0), f[3] + b.1];
                    }
                    if !round {
                        return;
                    }
                    if let Some(exact) = exact.get_mut(k) {
                        for ((e, &g), &h) in exact[start..end].iter_mut().zip(g).zip(h) {
                            *e = [g, h];
                        }
                    }
                    let Some(s) = scales[k] else { return };
                    let (gs, hs) = (1.0 / s.gradient, 1.0 / s.hessian);
                    match &mut words[k] {
                        Room::Packed(words) if s.counts => gradients::pack_ones(g, gs, &mut words[start..end]),
                        Room::Packed(words) => gradients::pack(g, h, gs, hs, &mut words[start..end]),
                        Room::Wide(words) => gradients::pack_wide(g, h, gs, hs, &mut words[start..end]),
                    }
                };
                if !slopes.is_empty() {
                    for (k, [g, h]) in slopes.iter().enumerate() {
                        give(k, &g[range.clone()], &h[range.clone()]);
                    }
                } else if residuals {
                    // Hessians are 1 each, and neither looked at nor stored apart from a wide sum.
                    let g = &scores[0][start..end];
                    h[..g.len()].fill(1.0);
                    give(0, g, &h[..g.len()]);
                } else if outputs == 1 {
                    let (g, h) = (&mut g[..end - start], &mut h[..end - start]);
                    objective.block(y, w, &scores[0][start..end], g, h);
                    give(0, g, h);
                } else {
                    let scores: Vec<&[f64]> = scores.iter().map(|s| &s[start..end]).collect();
                    objective.classes(y, w, &scores, give);
                }
            }
        });
        if look { blocks.into_iter().map(|b| b.found).collect() } else { Vec::new() }
    }
}

/// The scale at which the largest gradient and hessian just fit.
fn scale_of(g: f64, h: f64, counts: bool, wide: bool) -> Scale {
    let (most_g, most_h) = if wide { PAIR } else { PACKED };
    let unit = |x: f64, most: f64| {
        let unit = x / most;
        // A division by the unit must not overflow either.
        if unit > 1e-300 && unit.is_finite() { unit } else { 1.0 }
    };
    if counts {
        return Scale { gradient: unit(g, most_g), hessian: 1.0, counts, most: 1 };
    }
    Scale { gradient: unit(g, most_g), hessian: unit(h, most_h), counts, most: most_h as i64 }
}

fn make_room(words: &mut Words, rows: usize, wide: bool) {
    match words {
        Words::Packed(v) if !wide && v.len() == rows => {}
        Words::Wide(v) if wide && v.len() == rows => {}
        _ => *words = if wide { Words::Wide(Pages::zeroed(rows)) } else { Words::Packed(Pages::zeroed(rows)) },
    }
}
