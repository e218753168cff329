//! Interactions: for each leaf, every pair of players on its path.

use super::pass::{holds, multiply};
use super::program::Visit;
use super::{Codes, Game, LANES, Scratch, at_level, choose};

at_level! {
    fn run(game: &Game<'_>, rule: &[(f64, f64)], rows: Codes<'_>, offset: usize, scratch: &mut Scratch, out: &mut [f64])
        = whole
}

#[inline(always)]
fn whole(game: &Game<'_>, rule: &[(f64, f64)], rows: Codes<'_>, offset: usize, scratch: &mut Scratch, out: &mut [f64]) {
    super::pass::constants(&scratch.program.steps, rule, &mut scratch.constants);
    match rule.len() {
        1 => points::<1>(game, rule, rows, offset, scratch, out),
        2 => points::<2>(game, rule, rows, offset, scratch, out),
        3 => points::<3>(game, rule, rows, offset, scratch, out),
        _ => points::<4>(game, rule, rows, offset, scratch, out),
    }
}

#[inline(always)]
fn points<const N: usize>(
    game: &Game<'_>,
    rule: &[(f64, f64)],
    rows: Codes<'_>,
    offset: usize,
    scratch: &mut Scratch,
    out: &mut [f64],
) {
    let Scratch { program, constants, down, holds: held, rates, .. } = scratch;
    let places = program.places;
    down.clear();
    down.resize(places * N, [1.0; LANES]);
    held.clear();
    held.resize(places, [u64::MAX; LANES]);
    rates.clear();
    rates.resize(program.players * N, [0.0; LANES]);
    let (down, rates) = (down.as_chunks_mut::<N>().0, rates.as_chunks_mut::<N>().0);
    let leaves = &game.forest.parts().leaves;
    let width = 4 * N + 1;
    for at in (0..rows.stride).step_by(LANES) {
        let mut visited = (0usize, program.visit_ends.iter());
        for (index, step) in program.steps.iter().enumerate() {
            let depth = step.depth as usize;
            let before = held[step.previous as usize];
            let mut now = [0; LANES];
            holds(game, step, rows, at, &before, &mut now);
            let mut product = multiply::<N>(step, &constants[index * width..][..width], &down[depth], &before, &now);
            held[depth + 1] = now;
            if !step.is_leaf() {
                down[depth + 1] = product;
                continue;
            }
            let start = visited.0;
            visited.0 = visited.1.next().map_or(start, |&end| end as usize);
            let visits = &program.visits[start..visited.0];
            let half = leaves[step.leaf() + offset] / 2.0;
            for (q, &(_, weight)) in rule.iter().enumerate() {
                product[q].iter_mut().for_each(|x| *x *= half * weight);
            }
            for (visit, rate) in visits.iter().zip(rates.iter_mut()) {
                for (q, &(t, _)) in rule.iter().enumerate() {
                    let yes = (1.0 - visit.share) / (visit.share + t * (1.0 - visit.share));
                    let no = -1.0 / (1.0 - t);
                    let held = &held[visit.place as usize];
                    for l in 0..LANES {
                        rate[q][l] = choose(held[l], yes, no);
                    }
                }
            }
            for (i, (one, rate)) in visits.iter().zip(rates.iter()).enumerate() {
                let mut with = *rate;
                for q in 0..N {
                    for l in 0..LANES {
                        with[q][l] *= product[q][l];
                    }
                }
                for (other, rate) in visits[..i].iter().zip(rates.iter()) {
                    let mut total = [0.0; LANES];
                    for q in 0..N {
                        for l in 0..LANES {
                            total[l] += with[q][l] * rate[q][l];
                        }
                    }
                    let to = &mut out[pair(one, other) * rows.stride + at..][..LANES];
                    for l in 0..LANES {
                        to[l] += total[l];
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
