//! Interactions: for each leaf, every pair of players on its path.

use alloc::vec;
use alloc::vec::Vec;
use core::array::from_fn;

use super::pass::{Answers, Row, factors, holds, multiply};
use super::program::Visit;
use super::simd::{Simd, WIDTH};
use super::{Codes, Game, LANES, Point, Scratch, VECTORS, at_level};

at_level! {
    fn run(game: &Game<'_>, rule: &[Point], rows: Codes<'_>, offset: usize, scratch: &Scratch, out: &mut [f64]) = whole
}

#[inline(always)]
fn whole<S: Simd>(game: &Game<'_>, rule: &[Point], rows: Codes<'_>, offset: usize, scratch: &Scratch, out: &mut [f64]) {
    match rule.len() {
        1 => points::<S, 1>(game, rule, rows, offset, scratch, out),
        2 => points::<S, 2>(game, rule, rows, offset, scratch, out),
        3 => points::<S, 3>(game, rule, rows, offset, scratch, out),
        _ => points::<S, 4>(game, rule, rows, offset, scratch, out),
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
    let program = &scratch.program;
    let factors = factors::<N>(&program.steps, rule);
    let mut down: Vec<[Row<S>; N]> = vec![[[S::splat(1.0); VECTORS]; N]; program.places];
    let mut held: Vec<Answers<S>> = vec![[S::of_bits(u8::MAX); VECTORS]; program.places];
    // How fast a player's part of the product grows, over the part: where its conditions hold.
    let rate = |visit: &Visit| -> [f64; N] {
        from_fn(|q| (1.0 - visit.share) / (visit.share + rule[q].at * (1.0 - visit.share)))
    };
    let known: Vec<[f64; N]> = program.visits.iter().map(rate).collect();
    let mut rates: Vec<[Row<S>; N]> = vec![[[S::splat(0.0); VECTORS]; N]; program.players];
    let leaves = &game.forest.parts().leaves;
    for at in (0..rows.stride).step_by(LANES) {
        let (mut start, mut ends) = (0, program.visit_ends.iter());
        for (step, own) in program.steps.iter().zip(&factors) {
            let depth = step.depth as usize;
            let before = held[step.previous as usize];
            let now = holds::<S>(game, step, rows, at, before);
            let product = multiply::<S, N>(step, own, &down[depth], before, now);
            held[depth + 1] = now;
            if !step.is_leaf() {
                down[depth + 1] = product;
                continue;
            }
            let end = ends.next().map_or(start, |&end| end as usize);
            let visits = &program.visits[start..end];
            for ((visit, known), rate) in visits.iter().zip(&known[start..end]).zip(&mut rates) {
                let held = held[visit.place as usize];
                for q in 0..N {
                    for v in 0..VECTORS {
                        rate[q][v] = S::choose(held[v], known[q], -rule[q].rest);
                    }
                }
            }
            start = end;
            let half = leaves[step.leaf() + offset] / 2.0;
            for (i, (one, rate)) in visits.iter().zip(&rates).enumerate() {
                let mut with = product;
                for q in 0..N {
                    let factor = S::splat(half * rule[q].weight);
                    for v in 0..VECTORS {
                        with[q][v] = S::mul(S::mul(product[q][v], factor), rate[q][v]);
                    }
                }
                for (other, rate) in visits[..i].iter().zip(&rates) {
                    let to = out[pair(one, other) * rows.stride + at..][..LANES].as_chunks_mut::<WIDTH>().0;
                    for v in 0..VECTORS {
                        let mut total = S::mul(with[0][v], rate[0][v]);
                        for q in 1..N {
                            total = S::add(total, S::mul(with[q][v], rate[q][v]));
                        }
                        S::store(S::add(S::load(&to[v]), total), &mut to[v]);
                    }
                }
            }
        }
    }
}

/// Number of a pair.
#[inline(always)]
fn pair(one: &Visit, other: &Visit) -> usize {
    let (i, j) = (one.player.min(other.player) as usize, one.player.max(other.player) as usize);
    j * (j - 1) / 2 + i
}
