//! Values: products down the edges, sums up again.

use alloc::vec;
use alloc::vec::Vec;

use super::program::Step;
use super::simd::{Simd, WIDTH};
use super::{Codes, Game, LANES, Point, Scratch, VECTORS, at_level};

/// A number a row of the lanes.
pub(super) type Row<S> = [<S as Simd>::V; VECTORS];
/// An answer a row.
pub(super) type Answers<S> = [<S as Simd>::M; VECTORS];

/// Numbers of a step for a pass of `N` points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors<const N: usize> {
    /// Of the product: where the player's conditions hold with this edge, and where they end to hold here.
    yes: [f64; N],
    no: [f64; N],
    /// The same of what the sum below the edge brings its player.
    credit: [f64; N],
    debit: [f64; N],
    /// Of the product where the conditions did not hold before.
    gone: f64,
    /// Of the edge itself: one over what a known player is worth, and how fast that grows.
    inverse: [f64; N],
    rate: [f64; N],
}

/// The factors of each step.
#[inline(always)]
pub(super) fn factors<const N: usize>(steps: &[Step], rule: &[Point]) -> Vec<Factors<N>> {
    let rule = &rule[..N];
    let mut out: Vec<Factors<N>> = Vec::with_capacity(steps.len());
    for step in steps {
        let z = step.share;
        let (above, above_rate, gone) = match out.get(step.before as usize) {
            Some(f) => (f.inverse, f.rate, if step.share_before > 0.0 { z / step.share_before } else { 0.0 }),
            None => ([1.0; N], [0.0; N], 0.0),
        };
        let mut own = Factors {
            yes: [0.0; N],
            no: [0.0; N],
            credit: [0.0; N],
            debit: [0.0; N],
            gone,
            inverse: [0.0; N],
            rate: [0.0; N],
        };
        for q in 0..N {
            let Point { at, weight, rest } = rule[q];
            let known = z + at * (1.0 - z);
            own.inverse[q] = 1.0 / known;
            own.rate[q] = (1.0 - z) * own.inverse[q];
            own.yes[q] = known * above[q];
            own.no[q] = z * (1.0 - at) * above[q];
            own.credit[q] = weight * (own.rate[q] - above_rate[q]);
            own.debit[q] = -weight * (rest + above_rate[q]);
        }
        out.push(own);
    }
    out
}

/// One tree, one output and some points of its rule for a block of rows: `out[player * stride + row]`.
#[inline(always)]
fn whole<S: Simd>(game: &Game<'_>, rule: &[Point], rows: Codes<'_>, offset: usize, scratch: &Scratch, out: &mut [f64]) {
    match rule.len() {
        1 => points::<S, 1>(game, rule, rows, offset, scratch, out),
        2 => points::<S, 2>(game, rule, rows, offset, scratch, out),
        3 => points::<S, 3>(game, rule, rows, offset, scratch, out),
        _ => points::<S, 4>(game, rule, rows, offset, scratch, out),
    }
}

at_level! {
    fn run(game: &Game<'_>, rule: &[Point], rows: Codes<'_>, offset: usize, scratch: &Scratch, out: &mut [f64]) = whole
}

/// Whether each row's player has held all its conditions down to an edge.
#[inline(always)]
pub(super) fn holds<S: Simd>(
    game: &Game<'_>,
    step: &Step,
    rows: Codes<'_>,
    at: usize,
    before: Answers<S>,
) -> Answers<S> {
    let codes = &rows.codes[usize::from(step.column) * rows.stride + at..][..LANES];
    let codes = codes.as_chunks::<WIDTH>().0;
    let mut out = before;
    for v in 0..VECTORS {
        let right = if step.category {
            let mut bits = 0;
            for (i, &code) in codes[v].iter().enumerate() {
                bits |= u8::from(game.category_right(step.node as usize, usize::from(code))) << i;
            }
            S::of_bits(bits)
        } else {
            S::above(&codes[v], step.threshold)
        };
        out[v] = if step.right { S::and(right, before[v]) } else { S::and_not(right, before[v]) };
    }
    out
}

/// The product below an edge.
#[inline(always)]
pub(super) fn multiply<S: Simd, const N: usize>(
    step: &Step,
    factors: &Factors<N>,
    above: &[Row<S>; N],
    before: Answers<S>,
    holds: Answers<S>,
) -> [Row<S>; N] {
    // Loops rather than closures: a closure is a function of its own, which need not have the level's instructions.
    let mut out = *above;
    if step.previous == 0 {
        for q in 0..N {
            for v in 0..VECTORS {
                out[q][v] = S::mul(above[q][v], S::choose(holds[v], factors.yes[q], factors.no[q]));
            }
        }
    } else {
        for q in 0..N {
            for v in 0..VECTORS {
                let not = S::choose(before[v], factors.no[q], factors.gone);
                out[q][v] = S::mul(above[q][v], S::choose_or(holds[v], factors.yes[q], not));
            }
        }
    }
    out
}

/// Adds what an edge brings its player; `sum` comes from below it.
#[inline(always)]
fn credit<S: Simd, const N: usize>(
    factors: &Factors<N>,
    sum: &[Row<S>; N],
    before: Answers<S>,
    holds: Answers<S>,
    out: &mut [f64],
) {
    let out = out[..LANES].as_chunks_mut::<WIDTH>().0;
    for v in 0..VECTORS {
        let mut total = S::mul(sum[0][v], S::choose(holds[v], factors.credit[0], factors.debit[0]));
        for q in 1..N {
            let one = S::mul(sum[q][v], S::choose(holds[v], factors.credit[q], factors.debit[q]));
            total = S::add(total, one);
        }
        // Where the conditions had ended to hold before, this edge says nothing new.
        S::store(S::add(S::load(&out[v]), S::keep(before[v], total)), &mut out[v]);
    }
}

#[inline(always)]
fn points<S: Simd, const N: usize>(
    game: &Game<'_>,
    rule: &[Point],
    rows: Codes<'_>,
    offset: usize,
    scratch: &Scratch,
    out: &mut [f64],
) {
    let (steps, places) = (&scratch.program.steps[..], scratch.program.places);
    let factors = factors::<N>(steps, rule);
    // By place on the way from the root: products above, sums from below, answers, and the steps themselves.
    let mut down: Vec<[Row<S>; N]> = vec![[[S::splat(1.0); VECTORS]; N]; places];
    let mut up = down.clone();
    let mut held: Vec<Answers<S>> = vec![[S::of_bits(u8::MAX); VECTORS]; places];
    let mut way = vec![0usize; places];
    let leaves = &game.forest.parts().leaves;
    for at in (0..rows.stride).step_by(LANES) {
        for (index, (step, own)) in steps.iter().zip(&factors).enumerate() {
            let depth = step.depth as usize;
            let before = held[step.previous as usize];
            let now = holds::<S>(game, step, rows, at, before);
            let mut sum = multiply::<S, N>(step, own, &down[depth], before, now);
            if !step.is_leaf() {
                down[depth + 1] = sum;
                held[depth + 1] = now;
                way[depth + 1] = index;
                continue;
            }
            let value = S::splat(leaves[step.leaf() + offset]);
            for q in 0..N {
                for v in 0..VECTORS {
                    sum[q][v] = S::mul(sum[q][v], value);
                }
            }
            credit::<S, N>(own, &sum, before, now, &mut out[step.player as usize * rows.stride + at..]);
            // The edges above that end here: each adds its sum to the one beside it.
            let mut first = step.first;
            let mut place = depth;
            for _ in 0..step.ups {
                let index = way[place];
                let (step, own) = (&steps[index], &factors[index]);
                // An edge never ends with its first child.
                for q in 0..N {
                    for v in 0..VECTORS {
                        sum[q][v] = S::add(up[place][q][v], sum[q][v]);
                    }
                }
                let (before, now) = (held[step.previous as usize], held[place]);
                credit::<S, N>(own, &sum, before, now, &mut out[step.player as usize * rows.stride + at..]);
                first = step.first;
                place -= 1;
            }
            if first {
                up[place] = sum;
            }
        }
    }
}
