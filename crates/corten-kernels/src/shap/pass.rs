//! Values: products down the edges, sums up again.

use alloc::vec::Vec;

use super::program::Step;
use super::{Codes, Game, LANES, Scratch, at_level, choose};

/// Numbers of a step for a pass of `N` points, `4 * N + 1` in all: what the product is multiplied with where the player's
/// conditions hold with this edge, and where they end to hold here; what the sum is multiplied with in these cases; then
/// the factor of the product where they didn't hold before.
pub(super) fn constants(steps: &[Step], rule: &[(f64, f64)], out: &mut Vec<f64>) {
    out.clear();
    for step in steps {
        let (z, before) = (step.share, step.share_before);
        let known = |t: f64, z: f64| z + t * (1.0 - z);
        out.extend(rule.iter().map(|&(t, _)| known(t, z) / known(t, before)));
        out.extend(rule.iter().map(|&(t, _)| z * (1.0 - t) / known(t, before)));
        let rate = |t: f64, z: f64| (1.0 - z) / known(t, z);
        out.extend(rule.iter().map(|&(t, w)| w * (rate(t, z) - rate(t, before))));
        out.extend(rule.iter().map(|&(t, w)| -w * (1.0 / (1.0 - t) + rate(t, before))));
        out.push(if before > 0.0 { z / before } else { 0.0 });
    }
}

/// One tree, one output and some points of its rule for a block of rows: `out[player * stride + row]`.
#[inline(always)]
fn whole(game: &Game<'_>, rule: &[(f64, f64)], rows: Codes<'_>, offset: usize, scratch: &mut Scratch, out: &mut [f64]) {
    constants(&scratch.program.steps, rule, &mut scratch.constants);
    match rule.len() {
        1 => points::<1>(game, rows, offset, scratch, out),
        2 => points::<2>(game, rows, offset, scratch, out),
        3 => points::<3>(game, rows, offset, scratch, out),
        _ => points::<4>(game, rows, offset, scratch, out),
    }
}

at_level! {
    fn run(game: &Game<'_>, rule: &[(f64, f64)], rows: Codes<'_>, offset: usize, scratch: &mut Scratch, out: &mut [f64])
        = whole
}

/// Whether each row's player has held all its conditions down to an edge: all bits or none.
#[inline(always)]
pub(super) fn holds(
    game: &Game<'_>,
    step: &Step,
    rows: Codes<'_>,
    at: usize,
    before: &[u64; LANES],
    out: &mut [u64; LANES],
) {
    let codes = &rows.codes[usize::from(step.column) * rows.stride + at..][..LANES];
    let flip = if step.right { 0 } else { u64::MAX };
    if step.category {
        for l in 0..LANES {
            let right = game.category_right(step.node as usize, usize::from(codes[l]));
            out[l] = (u64::from(right).wrapping_neg() ^ flip) & before[l];
        }
    } else {
        for l in 0..LANES {
            out[l] = (u64::from(codes[l] > step.threshold).wrapping_neg() ^ flip) & before[l];
        }
    }
}

/// The product below an edge.
#[inline(always)]
pub(super) fn multiply<const N: usize>(
    step: &Step,
    constants: &[f64],
    above: &[[f64; LANES]; N],
    before: &[u64; LANES],
    holds: &[u64; LANES],
) -> [[f64; LANES]; N] {
    let mut out = [[0.0; LANES]; N];
    let (yes, no) = constants.split_at(N);
    if step.previous == 0 {
        for q in 0..N {
            for l in 0..LANES {
                out[q][l] = above[q][l] * choose(holds[l], yes[q], no[q]);
            }
        }
    } else {
        let gone = constants[4 * N];
        for q in 0..N {
            for l in 0..LANES {
                out[q][l] = above[q][l] * choose(holds[l], yes[q], choose(before[l], no[q], gone));
            }
        }
    }
    out
}

/// Adds what an edge brings its player: `sum` comes from below it.
#[inline(always)]
fn credit<const N: usize>(
    constants: &[f64],
    sum: &[[f64; LANES]; N],
    before: &[u64; LANES],
    holds: &[u64; LANES],
    out: &mut [f64; LANES],
) {
    let (yes, no) = (&constants[2 * N..][..N], &constants[3 * N..][..N]);
    let mut total = [0.0; LANES];
    for q in 0..N {
        for l in 0..LANES {
            total[l] += sum[q][l] * choose(holds[l], yes[q], no[q]);
        }
    }
    // Where the conditions had ended to hold before, this edge says nothing new.
    for l in 0..LANES {
        out[l] += f64::from_bits(total[l].to_bits() & before[l]);
    }
}

#[inline(always)]
fn points<const N: usize>(game: &Game<'_>, rows: Codes<'_>, offset: usize, scratch: &mut Scratch, out: &mut [f64]) {
    let Scratch { program, constants, down, up, holds: held, .. } = scratch;
    let (steps, places) = (&program.steps[..], program.places);
    down.clear();
    down.resize(places * N, [1.0; LANES]);
    up.clear();
    up.resize(places * N, [0.0; LANES]);
    held.clear();
    held.resize(places, [u64::MAX; LANES]);
    let (down, up) = (down.as_chunks_mut::<N>().0, up.as_chunks_mut::<N>().0);
    let mut way = alloc::vec![0usize; places];
    let leaves = &game.forest.parts().leaves;
    let width = 4 * N + 1;
    for at in (0..rows.stride).step_by(LANES) {
        for (index, step) in steps.iter().enumerate() {
            let depth = step.depth as usize;
            let of_step = &constants[index * width..][..width];
            let before = held[step.previous as usize];
            let mut now = [0; LANES];
            holds(game, step, rows, at, &before, &mut now);
            let product = multiply::<N>(step, of_step, &down[depth], &before, &now);
            if !step.is_leaf() {
                down[depth + 1] = product;
                held[depth + 1] = now;
                way[depth + 1] = index;
                continue;
            }
            let value = leaves[step.leaf() + offset];
            let mut sum = product;
            sum.iter_mut().flatten().for_each(|x| *x *= value);
            let place = step.player as usize * rows.stride + at;
            if let Some(out) = out[place..].first_chunk_mut() {
                credit::<N>(of_step, &sum, &before, &now, out);
            }
            join(&mut up[depth], &sum, step.first);
            // The edges above that end here.
            for place in (depth + 1 - step.ups as usize..=depth).rev().take(step.ups as usize) {
                let index = way[place];
                let (step, of_step) = (&steps[index], &constants[index * width..][..width]);
                let sum = up[place];
                let (before, now) = (held[step.previous as usize], held[place]);
                let to = step.player as usize * rows.stride + at;
                if let Some(out) = out[to..].first_chunk_mut() {
                    credit::<N>(of_step, &sum, &before, &now, out);
                }
                join(&mut up[place - 1], &sum, step.first);
            }
        }
    }
}

/// Takes the sum of a child up to its parent.
#[inline(always)]
fn join<const N: usize>(up: &mut [[f64; LANES]; N], sum: &[[f64; LANES]; N], first: bool) {
    if first {
        *up = *sum;
        return;
    }
    for q in 0..N {
        for l in 0..LANES {
            up[q][l] += sum[q][l];
        }
    }
}
