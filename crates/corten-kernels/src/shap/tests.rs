//! Against the definition: every subset of the players, in every order of their coming.

use alloc::vec;
use alloc::vec::Vec;

use corten_core::random::Stream;

use super::*;
use crate::aligned::Aligned;
use crate::trees::{CATEGORY, Coder, Column, NEVER, Node, Parts, Reads};

const PLAYERS: usize = 6;
/// Code columns: a player has several where they differ in how they read.
const COLUMNS: [u32; 8] = [0, 1, 2, 3, 4, 5, 0, 2];
const LEVELS: u32 = 40;

fn coder() -> Coder {
    let thresholds: Vec<f64> = (0..10).map(f64::from).collect();
    let column = |(at, &feature): (usize, &u32)| {
        let number = Reads::Number { missing_right: at > 5, zero_missing: false };
        let reads = if at == 5 { Reads::Category { levels: LEVELS } } else { number };
        Column { feature, reads, start: 0, end: 10 }
    };
    let columns: Vec<Column> = COLUMNS.iter().enumerate().map(column).collect();
    Coder::new(PLAYERS, &columns, &thresholds, false, 0.0).unwrap()
}

/// Trees of random shape, and the training weight of their nodes.
fn forest(seed: u64, outputs: u32, trees: usize, depth: usize) -> (Forest, Vec<f64>) {
    let mut stream = Stream::new(seed, 1);
    let mut parts = Parts { outputs, roots: vec![0], ..Parts::default() };
    let (mut nodes, mut cover) = (Vec::new(), Vec::new());
    for tree in 0..trees {
        let vector = outputs > 1 && tree % 2 == 1;
        let root = nodes.len();
        nodes.push(0);
        cover.push(100.0);
        parts.payload.push(0);
        let mut open = vec![(root, 0)];
        while let Some((at, level)) = open.pop() {
            if level >= depth || (level > 1 && stream.below(4) == 0) {
                nodes[at] = Parts::word(Node { left: at as u32, column: 0, threshold: NEVER });
                parts.payload[at] = parts.leaves.len() as u32;
                for _ in 0..if vector { outputs } else { 1 } {
                    parts.leaves.push(stream.uniform() * 4.0 - 2.0);
                }
                continue;
            }
            let left = nodes.len();
            let mut column = stream.below(8) as u16;
            let threshold = stream.below(10) as u16;
            if column == 5 {
                parts.payload[at] = parts.bits.len() as u32;
                parts.bits.extend([stream.below(1 << 32) as u32, stream.below(1 << 32) as u32]);
                column |= CATEGORY;
            }
            nodes[at] = Parts::word(Node { left: left as u32, column, threshold });
            // Some children that nothing reached.
            let share = [0.0, stream.uniform(), stream.uniform(), 0.3][stream.below(4) as usize];
            let weight = cover[at];
            cover.extend([weight * share, weight - weight * share]);
            nodes.extend([0, 0]);
            parts.payload.extend([0, 0]);
            open.extend([(left, level + 1), (left + 1, level + 1)]);
        }
        parts.roots.push(nodes.len() as u32);
        parts.targets.push(if vector { VECTOR } else { tree as u32 % outputs });
    }
    parts.nodes = Aligned::of(&nodes);
    (Forest::new(parts, &coder()).unwrap(), cover)
}

/// The mean answer of all trees where only some players are known.
fn worth(game: &Game<'_>, codes: &[u16], known: usize, output: usize) -> f64 {
    let parts = game.forest.parts();
    let mut sum = 0.0;
    for (tree, &target) in parts.targets.iter().enumerate() {
        let mut open = vec![(parts.roots[tree], 1.0)];
        while let Some((at, weight)) = open.pop() {
            let node = game.forest.node(at as usize);
            if node.left == at {
                let leaf = parts.payload[at as usize] as usize;
                sum += match target {
                    VECTOR => weight * parts.leaves[leaf + output],
                    target if target as usize == output => weight * parts.leaves[leaf],
                    _ => 0.0,
                };
                continue;
            }
            let column = (node.column & !CATEGORY) as usize;
            let right = if node.column & CATEGORY != 0 {
                game.category_right(at as usize, codes[column] as usize)
            } else {
                codes[column] > node.threshold
            };
            for (child, is_right) in [(node.left, false), (node.left + 1, true)] {
                if known >> game.players[column] & 1 == 0 {
                    open.push((child, weight * game.ratio(at, child)));
                } else if right == is_right {
                    open.push((child, weight));
                }
            }
        }
    }
    sum
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|i| i as f64).product()
}

/// Values by player, and half the interactions by pair, as they are defined.
fn defined(game: &Game<'_>, codes: &[u16], output: usize) -> (Vec<f64>, Vec<f64>) {
    let worths: Vec<f64> = (0..1 << PLAYERS).map(|known| worth(game, codes, known, output)).collect();
    let mut values = vec![0.0; PLAYERS];
    let mut pairs = vec![0.0; PLAYERS * (PLAYERS - 1) / 2];
    for known in 0usize..1 << PLAYERS {
        let size = known.count_ones() as usize;
        for j in (0..PLAYERS).filter(|j| known >> j & 1 == 0) {
            let weight = factorial(size) * factorial(PLAYERS - size - 1) / factorial(PLAYERS);
            values[j] += weight * (worths[known | 1 << j] - worths[known]);
            for i in (0..j).filter(|i| known >> i & 1 == 0) {
                let weight = factorial(size) * factorial(PLAYERS - size - 2) / factorial(PLAYERS - 1) / 2.0;
                let both = worths[known | 1 << i | 1 << j] - worths[known | 1 << i];
                pairs[j * (j - 1) / 2 + i] += weight * (both - (worths[known | 1 << j] - worths[known]));
            }
        }
    }
    (values, pairs)
}

fn rows(count: usize) -> Vec<f64> {
    let mut stream = Stream::new(9, 9);
    let value = |i: usize| match stream.below(9) {
        0 => f64::NAN,
        _ if i % PLAYERS == 5 => stream.below(u64::from(LEVELS) + 2) as f64,
        _ => stream.uniform() * 11.0 - 0.5,
    };
    (0..count * PLAYERS).map(value).collect()
}

/// Codes by column, padded; and by row.
fn coded(count: usize) -> (Vec<u16>, Vec<Vec<u16>>, usize) {
    let (coder, stride) = (coder(), count.next_multiple_of(LANES));
    let mut by_column = vec![0; COLUMNS.len() * stride];
    let mut by_row = Vec::new();
    for (r, row) in rows(count).chunks(PLAYERS).enumerate() {
        let mut codes = vec![0; COLUMNS.len()];
        coder.row(Level::Plain, row, &mut codes);
        codes.iter().enumerate().for_each(|(c, &code)| by_column[c * stride + r] = code);
        by_row.push(codes);
    }
    (by_column, by_row, stride)
}

#[test]
fn values_and_interactions_are_those_of_the_definition_on_every_level() {
    let (by_column, by_row, stride) = coded(21);
    let codes = Codes { codes: &by_column, stride };
    for (seed, outputs, depth) in [(1, 1, 3), (2, 1, 9), (3, 3, 6), (4, 2, 1), (5, 1, 0)] {
        let (forest, cover) = forest(seed, outputs, 6, depth);
        let game = Game::new(&forest, &COLUMNS, PLAYERS, &cover).unwrap();
        let outputs = outputs as usize;
        let pairs = PLAYERS * (PLAYERS - 1) / 2;
        let run = |level| {
            let mut scratch = Scratch::default();
            let mut values = vec![0.0; outputs * PLAYERS * stride];
            let mut interactions = vec![0.0; outputs * pairs * stride];
            game.interactions(level, codes, &mut scratch, &mut interactions);
            game.values(level, codes, &mut scratch, &mut values);
            (values, interactions)
        };
        let (values, interactions) = run(Level::Plain);
        for level in Level::ALL {
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let other = run(level);
            assert_eq!(bits(&values), bits(&other.0), "{level:?}");
            assert_eq!(bits(&interactions), bits(&other.1), "{level:?}");
        }
        let mut mean = vec![0.0; outputs];
        game.means(&mut mean);
        for (r, row) in by_row.iter().enumerate() {
            for output in 0..outputs {
                let (want, want_pairs) = defined(&game, row, output);
                assert!((mean[output] - worth(&game, row, 0, output)).abs() < 1e-12);
                for (player, want) in want.iter().enumerate() {
                    let got = values[(output * PLAYERS + player) * stride + r];
                    assert!((got - want).abs() < 1e-12, "seed {seed}, row {r}, player {player}: {got} and {want}");
                }
                for (pair, want) in want_pairs.iter().enumerate() {
                    let got = interactions[(output * pairs + pair) * stride + r];
                    assert!((got - want).abs() < 1e-12, "seed {seed}, row {r}, pair {pair}: {got} and {want}");
                }
            }
        }
    }
}

#[test]
fn refuses_players_and_weights_that_do_not_fit() {
    let (forest, cover) = forest(1, 1, 2, 3);
    assert!(Game::new(&forest, &COLUMNS[1..], PLAYERS, &cover).is_err());
    assert!(Game::new(&forest, &COLUMNS, PLAYERS - 1, &cover).is_err());
    assert!(Game::new(&forest, &COLUMNS, PLAYERS, &cover[1..]).is_err());
}
