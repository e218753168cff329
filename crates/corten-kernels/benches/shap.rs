//! `cargo bench -p corten-kernels --bench shap`: Shapley values of random trees, by level of instructions.

use std::time::Instant;

use corten_core::random::Stream;
use corten_kernels::aligned::Aligned;
use corten_kernels::cpu::Level;
use corten_kernels::shap::{Codes, Game, LANES, Scratch};
use corten_kernels::trees::{Coder, Column, Forest, NEVER, Node, Parts, Reads};

const FEATURES: usize = 8;
const TREES: usize = 200;
const LEAVES: usize = 63;
const ROWS: usize = 512;

fn main() {
    let thresholds: Vec<f64> = (0..250).map(f64::from).collect();
    let reads = Reads::Number { missing_right: false, zero_missing: false };
    let columns: Vec<Column> =
        (0..FEATURES as u32).map(|feature| Column { feature, reads, start: 0, end: 250 }).collect();
    let coder = Coder::new(FEATURES, &columns, &thresholds, false, 0.0).expect("columns fit");
    let mut stream = Stream::new(1, 1);
    let mut parts = Parts { outputs: 1, roots: vec![0], ..Parts::default() };
    let (mut nodes, mut cover) = (Vec::new(), Vec::new());
    for _ in 0..TREES {
        let root = nodes.len();
        let mut leaves = vec![root];
        nodes.push(0);
        cover.push(10_000.0);
        while leaves.len() < LEAVES {
            let at = leaves.swap_remove(stream.below(leaves.len() as u64) as usize);
            let left = nodes.len();
            let (column, threshold) = (stream.below(FEATURES as u64) as u16, stream.below(250) as u16);
            nodes[at] = Parts::word(Node { left: left as u32, column, threshold });
            nodes.extend([0, 0]);
            let share = stream.uniform();
            cover.extend([cover[at] * share, cover[at] * (1.0 - share)]);
            leaves.extend([left, left + 1]);
        }
        parts.payload.resize(nodes.len(), 0);
        for at in leaves {
            nodes[at] = Parts::word(Node { left: at as u32, column: 0, threshold: NEVER });
            parts.payload[at] = parts.leaves.len() as u32;
            parts.leaves.push(stream.uniform() - 0.5);
        }
        parts.roots.push(nodes.len() as u32);
        parts.targets.push(0);
    }
    parts.nodes = Aligned::of(&nodes);
    let forest = Forest::new(parts, &coder).expect("trees fit");
    let players: Vec<u32> = (0..FEATURES as u32).collect();
    let game = Game::new(&forest, &players, FEATURES, &cover).expect("players fit");
    let codes: Vec<u16> = (0..FEATURES * ROWS).map(|_| stream.below(251) as u16).collect();
    let codes = Codes { codes: &codes, stride: ROWS };
    let mut scratch = Scratch::default();
    // One group of rows: what it costs to make a tree ready.
    let few: Vec<u16> = codes.codes[..FEATURES * LANES].to_vec();
    let few = Codes { codes: &few, stride: LANES };
    let mut out = vec![0.0; FEATURES * LANES];
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        game.values(Level::Avx512, few, &mut scratch, &mut out);
        least = least.min(start.elapsed().as_secs_f64());
    }
    println!("{LANES} rows: {:.0} us", least * 1e6);
    for level in Level::ALL {
        let mut out = vec![0.0; FEATURES * ROWS];
        let mut pairs = vec![0.0; FEATURES * (FEATURES - 1) / 2 * ROWS];
        let mut best = [f64::INFINITY; 2];
        for _ in 0..5 {
            let start = Instant::now();
            game.values(level, codes, &mut scratch, &mut out);
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            game.interactions(level, codes, &mut scratch, &mut pairs);
            best[1] = best[1].min(start.elapsed().as_secs_f64());
        }
        let [values, interactions] = best.map(|s| s / ROWS as f64 * 1e6);
        println!("{level:?}: values {values:.2} us a row, interactions {interactions:.2} us a row");
    }
}
