//! Exact Shapley values of trees (path-dependent TreeSHAP: Lundberg et al., Nature Machine Intelligence 2, 2020).
//!
//! For a row, the game of a leaf is a product over the players on its path: 1 or 0 for a player that is known (whether
//! its conditions hold), the share `z` of the training weight that they let through for one that isn't. The multilinear
//! extension of a product is a product, so the value of player `j` is an integral over `t` from 0 to 1 of
//! `v * (o_j - z_j) * product over i != j of (z_i + t * (o_i - z_i))`. A Gauss-Legendre rule of half as many points as
//! there are players on a path is exact for this polynomial, and all its terms have one sign, so nothing cancels. At a
//! point, the products go down the tree edge by edge and their sums come up again, as in Linear TreeSHAP (Yu et al.,
//! NeurIPS 2022): two passes over the edges, in which rows lie side by side in registers.
//!
//! Rows never mix and every level of instructions runs the same operations in the same order, so a row's values are
//! the same bits for any number of threads and any way of cutting a table.

mod interact;
mod pass;
mod program;
mod quadrature;
mod simd;

use alloc::vec::Vec;

use crate::cpu::Level;
use crate::trees::{Forest, VECTOR};

use program::Program;

/// Rows side by side: blocks of rows are padded to whole groups of them.
pub const LANES: usize = VECTORS * simd::WIDTH;
/// Vectors side by side: what a step costs beside arithmetic is shared by their rows.
const VECTORS: usize = 2;
/// Most points in one pass: their products stay in registers.
const POINTS: usize = 4;

/// Trees, and who plays.
#[derive(Clone, Copy, Debug)]
pub struct Game<'a> {
    forest: &'a Forest,
    /// The player behind each code column.
    players: &'a [u32],
    /// Number of players.
    outcomes: usize,
    /// Training weight that reached each node.
    cover: &'a [f64],
}

/// Memory for [`Game::values`] and [`Game::interactions`].
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    program: Program,
}

/// A point of a rule.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: f64,
    weight: f64,
    /// One over what is left up to 1.
    rest: f64,
}

/// A block of rows as codes: row `r` of code column `c` is `codes[c * stride + r]`.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// The codes.
    pub codes: &'a [u16],
    /// Rows of a column, a multiple of [`LANES`]; those beyond the table are of no consequence.
    pub stride: usize,
}

impl<'a> Game<'a> {
    /// A game of `count` players.
    ///
    /// # Errors
    /// What doesn't fit together: a player a code column, below `count`; a weight a node.
    pub fn new(forest: &'a Forest, players: &'a [u32], count: usize, cover: &'a [f64]) -> Result<Self, &'static str> {
        if players.len() != forest.columns() || players.iter().any(|&p| p as usize >= count) {
            return Err("each code column needs a player");
        }
        if cover.len() != forest.parts().nodes.len() {
            return Err("each node needs its training weight");
        }
        Ok(Self { forest, players, outcomes: count, cover })
    }

    /// Share of a node's training weight that goes to a child; half where nothing reached the node.
    fn ratio(&self, node: u32, child: u32) -> f64 {
        let whole = self.cover[node as usize];
        if whole > 0.0 { self.cover[child as usize] / whole } else { 0.5 }
    }

    /// Whether a category node sends a code right.
    #[inline(always)]
    fn category_right(&self, node: usize, code: usize) -> bool {
        let parts = self.forest.parts();
        let word = parts.bits.get(parts.payload[node] as usize + code / 32).copied().unwrap_or(0);
        word >> (code % 32) & 1 == 0
    }

    /// The mean of each output over the training weight, added to `mean`.
    pub fn means(&self, mean: &mut [f64]) {
        let parts = self.forest.parts();
        let mut reach = Vec::new();
        for (tree, &target) in parts.targets.iter().enumerate() {
            let (start, end) = (parts.roots[tree] as usize, parts.roots[tree + 1] as usize);
            reach.clear();
            reach.resize(end - start, 0.0);
            reach[0] = 1.0;
            // Children come after their parents.
            for at in start..end {
                let (left, own) = (self.forest.node(at).left as usize, reach[at - start]);
                if left == at {
                    let values = &parts.leaves[parts.payload[at] as usize..];
                    match target {
                        VECTOR => mean.iter_mut().zip(values).for_each(|(m, v)| *m += own * v),
                        output => mean[output as usize] += own * values[0],
                    }
                    continue;
                }
                for child in [left, left + 1] {
                    reach[child - start] += own * self.ratio(at as u32, child as u32);
                }
            }
        }
    }

    /// Adds the Shapley values of a block of rows to `out[(output * players + player) * stride + row]`.
    pub fn values(&self, level: Level, rows: Codes<'_>, scratch: &mut Scratch, out: &mut [f64]) {
        let outputs = self.forest.parts().outputs as usize;
        assert!(self.fits(rows) && out.len() >= outputs * self.outcomes * rows.stride, "a value a row and player");
        self.each_pass(rows, scratch, false, outputs, |rule, rows, scratch, output, offset| {
            let out = &mut out[output * self.outcomes * rows.stride..][..self.outcomes * rows.stride];
            pass::run(level, self, rule, rows, offset, scratch, out);
        });
    }

    /// Adds half the Shapley interaction indices of a block of rows to `out[(output * pairs + pair) * stride + row]`;
    /// pair `(i, j)` with `i < j` is number `j * (j - 1) / 2 + i`.
    pub fn interactions(&self, level: Level, rows: Codes<'_>, scratch: &mut Scratch, out: &mut [f64]) {
        let outputs = self.forest.parts().outputs as usize;
        let pairs = self.outcomes * self.outcomes.saturating_sub(1) / 2;
        assert!(self.fits(rows) && out.len() >= outputs * pairs * rows.stride, "a value a row and pair");
        self.each_pass(rows, scratch, true, outputs, |rule, rows, scratch, output, offset| {
            let out = &mut out[output * pairs * rows.stride..][..pairs * rows.stride];
            interact::run(level, self, rule, rows, offset, scratch, out);
        });
    }

    fn fits(&self, rows: Codes<'_>) -> bool {
        rows.stride.is_multiple_of(LANES) && rows.codes.len() >= self.forest.columns() * rows.stride
    }

    /// Calls `pass` for each tree, part of its rule and output that its leaves have.
    fn each_pass<'r>(
        &self,
        rows: Codes<'r>,
        scratch: &mut Scratch,
        visits: bool,
        outputs: usize,
        mut pass: impl FnMut(&[Point], Codes<'r>, &Scratch, usize, usize),
    ) {
        let mut rules: Vec<Vec<Point>> = Vec::new();
        for (tree, &target) in self.forest.parts().targets.iter().enumerate() {
            let mut program = core::mem::take(&mut scratch.program);
            program.write(self, tree, visits);
            scratch.program = program;
            if scratch.program.steps.is_empty() {
                continue;
            }
            let points = scratch.program.players.div_ceil(2);
            if rules.len() <= points {
                rules.resize(points + 1, Vec::new());
            }
            if rules[points].is_empty() {
                let (at, weights) = quadrature::rule(points);
                let point = |(at, weight)| Point { at, weight, rest: 1.0 / (1.0 - at) };
                rules[points] = at.into_iter().zip(weights).map(point).collect();
            }
            let of_tree = if target == VECTOR { 0..outputs } else { target as usize..target as usize + 1 };
            // Passes of equal size: the rule's points are independent.
            let size = points.div_ceil(points.div_ceil(POINTS));
            for rule in rules[points].chunks(size) {
                for output in of_tree.clone() {
                    let offset = if target == VECTOR { output } else { 0 };
                    pass(rule, rows, scratch, output, offset);
                }
            }
        }
    }
}

/// Compiles one body for each level and calls the one asked for, or the highest below it that there is.
macro_rules! at_level {
    (fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        pub(super) fn $name(level: $crate::cpu::Level, $($arg: $type),*) {
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) { $body::<$crate::shap::simd::Avx2>($($arg),*) }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
                fn avx512($($arg: $type),*) { $body::<$crate::shap::simd::Avx512>($($arg),*) }
                match level.min($crate::cpu::available()) {
                    $crate::cpu::Level::Plain | $crate::cpu::Level::Neon => {}
                    $crate::cpu::Level::Avx2 => {
                        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                        // SAFETY: available() found AVX2 on this CPU.
                        return unsafe { avx2($($arg),*) };
                    }
                    $crate::cpu::Level::Avx512 => {
                        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                        // SAFETY: available() found these parts of AVX-512 on this CPU.
                        return unsafe { avx512($($arg),*) };
                    }
                }
            }
            let _ = level;
            $body::<$crate::shap::simd::Plain>($($arg),*);
        }
    };
}
use at_level;

#[cfg(test)]
mod tests;
