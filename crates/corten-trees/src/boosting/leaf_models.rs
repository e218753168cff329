//! Linear models in leaves (Shi, Li & Li, Gradient boosting with piece-wise linear regression trees, IJCAI 2019).
//!
//! As in LightGBM, a leaf's model is of the plain numbers on its path, rows in which one of them is missing have no part
//! in it and are told by the leaf's constant, and the first tree has none.

use corten_kernels::team::Team;
use serde::{Deserialize, Serialize};

use super::binning::Bins;
use super::grower::{Grown, GrownTree};
use super::layout::Layout;
use super::part::Raw;
use super::run::Leaves;

/// Weights of at most this size are none.
const TINY: f64 = 1e-35;

/// A leaf's linear model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinearLeaf {
    pub(crate) intercept: f64,
    /// Columns and weights, in the order in which they add up.
    pub(crate) terms: Vec<(u32, f64)>,
}

impl LinearLeaf {
    /// What the leaf says of a row; `constant` where one of its numbers is missing.
    #[inline]
    pub(crate) fn at(&self, constant: f64, raw: impl Fn(usize) -> f64) -> f64 {
        let mut sum = self.intercept;
        for &(f, weight) in &self.terms {
            let x = raw(f as usize);
            if x.is_nan() {
                return constant;
            }
            sum += weight * x;
        }
        sum
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.intercept *= factor;
        self.terms.iter_mut().for_each(|t| t.1 *= factor);
    }
}

/// The plain numbers on the path to each node.
fn paths(tree: &GrownTree, layout: &Layout) -> Vec<Vec<u32>> {
    let mut paths = vec![Vec::new(); tree.nodes.len()];
    for at in 0..tree.nodes.len() {
        let Grown::Split { split, left, right } = &tree.nodes[at] else { continue };
        let mut path: Vec<u32> = std::mem::take(&mut paths[at]);
        let column = layout.sources[split.feature()] as u32;
        if matches!(layout.features[split.feature()], Bins::Number { .. }) && !path.contains(&column) {
            path.push(column);
            path.sort_unstable();
        }
        paths[*left as usize].clone_from(&path);
        paths[*right as usize] = path;
    }
    paths
}

/// Fits the models of a tree's leaves to gradients and hessians.
pub(crate) fn fit(
    tree: &mut GrownTree,
    leaves: &Leaves<'_>,
    layout: &Layout,
    raw: &Raw,
    slopes: &[Vec<f64>; 2],
    lambda: f64,
    team: Team<'_>,
) {
    let paths = paths(tree, layout);
    let mut found: Vec<(usize, Option<LinearLeaf>)> = leaves.nodes().into_iter().map(|at| (at, None)).collect();
    team.each(&mut found, |i, (at, model)| {
        *model = leaf(&paths[*at], &leaves.rows(i), raw, slopes, lambda);
    });
    tree.models = vec![None; tree.nodes.len()];
    for (at, model) in found {
        tree.models[at] = model;
    }
}

/// A Newton step over an intercept and weights, of which the weights are penalised.
fn leaf(path: &[u32], rows: &[u32], raw: &Raw, [g, h]: &[Vec<f64>; 2], lambda: f64) -> Option<LinearLeaf> {
    let n = path.len();
    let complete = |r: &&u32| path.iter().all(|&f| !raw[f as usize][**r as usize].is_nan());
    let rows: Vec<usize> = rows.iter().filter(complete).map(|&r| r as usize).collect();
    if n == 0 || rows.len() < n + 1 {
        return None;
    }
    // Numbers less their weighted means keep their digits; the intercept takes the rest.
    let (mut weight, mut gradient, mut means) = (0.0, 0.0, vec![0.0; n]);
    for &r in &rows {
        weight += h[r];
        gradient += g[r];
        for (m, &f) in means.iter_mut().zip(path) {
            *m += h[r] * raw[f as usize][r];
        }
    }
    if weight <= 0.0 {
        return None;
    }
    means.iter_mut().for_each(|m| *m /= weight);
    let (mut a, mut b, mut x) = (vec![0.0; n * n], vec![0.0; n], vec![0.0; n]);
    for &r in &rows {
        for ((x, &f), m) in x.iter_mut().zip(path).zip(&means) {
            *x = raw[f as usize][r] - m;
        }
        for i in 0..n {
            b[i] -= g[r] * x[i];
            for j in 0..=i {
                a[i * n + j] += h[r] * x[i] * x[j];
            }
        }
    }
    for i in 0..n {
        a[i * n + i] += lambda;
    }
    let weights = solve(&mut a, b, n);
    let intercept = -gradient / weight - weights.iter().zip(&means).map(|(w, m)| w * m).sum::<f64>();
    let terms: Vec<(u32, f64)> = path.iter().copied().zip(weights).filter(|t| t.1.abs() > TINY).collect();
    let finite = intercept.is_finite() && terms.iter().all(|t| t.1.is_finite());
    (finite && !terms.is_empty()).then_some(LinearLeaf { intercept, terms })
}

/// Solves with the lower half of a symmetric matrix by Cholesky; numbers that others tell already get no weight.
fn solve(a: &mut [f64], mut b: Vec<f64>, n: usize) -> Vec<f64> {
    let mut used = vec![true; n];
    for i in 0..n {
        let before = a[i * n + i];
        for j in 0..i {
            let mut s = a[i * n + j];
            for k in 0..j {
                s -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = if used[j] { s / a[j * n + j] } else { 0.0 };
        }
        let left = (0..i).fold(before, |s, k| s - a[i * n + k] * a[i * n + k]);
        used[i] = left > before * 1e-10 && left > 0.0;
        a[i * n + i] = if used[i] { left.sqrt() } else { 1.0 };
        if used[i] {
            b[i] = (0..i).fold(b[i], |s, k| s - a[i * n + k] * b[k]) / a[i * n + i];
        } else {
            (0..i).for_each(|k| a[i * n + k] = 0.0);
            b[i] = 0.0;
        }
    }
    for i in (0..n).rev() {
        let s = (i + 1..n).fold(b[i], |s, k| s - a[k * n + i] * b[k]);
        b[i] = if used[i] { s / a[i * n + i] } else { 0.0 };
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_finds_a_plane_and_leaves_a_copy_without_weight() {
        let x: Vec<f64> = (0..20).map(|i| f64::from(i) * 0.3 + 100.0).collect();
        let z: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7)).collect();
        // Squared error at scores of zero: the gradient is minus the target.
        let g: Vec<f64> = x.iter().zip(&z).map(|(x, z)| -(2.0 * x - 3.0 * z + 5.0)).collect();
        let raw = vec![x.clone(), x, z];
        let rows: Vec<u32> = (0..20).collect();
        let model = leaf(&[0, 1, 2], &rows, &raw, &[g, vec![1.0; 20]], 0.0).unwrap();
        assert_eq!(model.terms.len(), 2);
        assert!((model.terms[0].1 - 2.0).abs() < 1e-9 && (model.terms[1].1 + 3.0).abs() < 1e-9);
        assert!((model.intercept - 5.0).abs() < 1e-7);
        assert_eq!(model.at(7.0, |_| f64::NAN), 7.0);
    }
}
