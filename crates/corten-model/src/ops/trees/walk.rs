//! Coding rows and walking trees on codes.

use super::super::Flow;
use super::{CATEGORY, CodeColumn, ColumnRule, Trees, VECTOR};
use crate::graph::Slot;

/// Trees, or rows, that are walked in step: their cache misses and compares overlap.
const STEP: usize = 8;

impl CodeColumn {
    /// The code of a raw value.
    #[inline]
    fn code(self, x: f64, thresholds: &[f64]) -> u16 {
        match self.rule {
            ColumnRule::Category => {
                let levels = self.start;
                if x.is_nan() {
                    (levels + 1) as u16
                } else if x >= 0.0 && x < f64::from(levels) {
                    x as u16
                } else {
                    levels as u16
                }
            }
            rule => {
                if x.is_nan() {
                    return if rule == ColumnRule::MissingLeft { 0 } else { u16::MAX };
                }
                thresholds[self.start as usize..self.end as usize].partition_point(|t| *t < x) as u16
            }
        }
    }
}

impl Trees {
    /// One step down: stays at a leaf.
    #[inline(always)]
    fn step(&self, at: usize, codes: &[u16]) -> usize {
        let node = self.nodes[at];
        let right = if node.column & CATEGORY == 0 {
            codes[node.column as usize] > node.threshold
        } else {
            let code = codes[(node.column & !CATEGORY) as usize] as usize;
            self.bits[self.payload[at] as usize + code / 32] >> (code % 32) & 1 == 0
        };
        node.left as usize + usize::from(right)
    }

    /// Scores a block: codes all rows, then walks.
    pub(super) fn score(&self, flow: &mut Flow<'_, '_>, inputs: &[Slot], first: u32) {
        let (rows, stride, width) = (flow.rows, flow.stride, self.columns.len());
        let mut codes = core::mem::take(&mut flow.scratch.codes);
        codes.clear();
        codes.resize(rows * width.max(1), 0);
        for (c, column) in self.columns.iter().enumerate() {
            if let Slot::Number(at) = inputs[column.feature as usize] {
                for (r, &x) in flow.number(at).iter().enumerate() {
                    codes[r * width + c] = column.code(x, &self.thresholds);
                }
            }
        }
        let (_, after) = flow.split(first);
        for (k, &base) in self.base.iter().enumerate() {
            after[k * stride..][..rows].fill(base);
        }
        let width = width.max(1);
        if rows < STEP {
            for r in 0..rows {
                self.walk_row(&codes[r * width..][..width], &mut after[r..], stride);
            }
        } else {
            self.walk_block(&codes, width, rows, after, stride);
        }
        if self.average && !self.is_empty() {
            let count = self.len() as f64;
            for k in 0..self.outputs as usize {
                after[k * stride..][..rows].iter_mut().for_each(|y| *y /= count);
            }
        }
        flow.scratch.codes = codes;
    }

    /// Adds the leaf `at` of `tree` to a row.
    #[inline(always)]
    fn add_leaf(&self, tree: usize, at: usize, out: &mut [f64], stride: usize) {
        let leaf = self.payload[at] as usize;
        match self.targets[tree] {
            VECTOR => {
                for (k, &v) in self.leaves[leaf..][..self.outputs as usize].iter().enumerate() {
                    out[k * stride] += v;
                }
            }
            target => out[target as usize * stride] += self.leaves[leaf],
        }
    }

    /// One row: several trees in step.
    fn walk_row(&self, codes: &[u16], out: &mut [f64], stride: usize) {
        let trees = self.len();
        let mut tree = 0;
        while tree + STEP <= trees {
            let mut at = [0usize; STEP];
            let mut depth = 0;
            for (i, a) in at.iter_mut().enumerate() {
                *a = self.roots[tree + i] as usize;
                depth = depth.max(self.depths[tree + i]);
            }
            for _ in 0..depth {
                let before = at;
                for a in &mut at {
                    *a = self.step(*a, codes);
                }
                if at == before {
                    break;
                }
            }
            for (i, &a) in at.iter().enumerate() {
                self.add_leaf(tree + i, a, out, stride);
            }
            tree += STEP;
        }
        for tree in tree..trees {
            let mut at = self.roots[tree] as usize;
            loop {
                let next = self.step(at, codes);
                if next == at {
                    break;
                }
                at = next;
            }
            self.add_leaf(tree, at, out, stride);
        }
    }

    /// A block: tree by tree, several rows in step.
    fn walk_block(&self, codes: &[u16], width: usize, rows: usize, out: &mut [f64], stride: usize) {
        for tree in 0..self.len() {
            let root = self.roots[tree] as usize;
            let mut r = 0;
            while r + STEP <= rows {
                let mut at = [root; STEP];
                for _ in 0..self.depths[tree] {
                    let before = at;
                    for (i, a) in at.iter_mut().enumerate() {
                        *a = self.step(*a, &codes[(r + i) * width..][..width]);
                    }
                    if at == before {
                        break;
                    }
                }
                for (i, &a) in at.iter().enumerate() {
                    self.add_leaf(tree, a, &mut out[r + i..], stride);
                }
                r += STEP;
            }
            for r in r..rows {
                let mut at = root;
                loop {
                    let next = self.step(at, &codes[r * width..][..width]);
                    if next == at {
                        break;
                    }
                    at = next;
                }
                self.add_leaf(tree, at, &mut out[r..], stride);
            }
        }
    }
}
