//! `cargo bench -p corten-kernels --bench trees`: nanoseconds a row and tree of each layout, by columns and rows of a block.
//!
//! Trees of 63 leaves; single rows of trees of 255 leaves, too. Half of the columns hold few codes, one of them most of the time; the others hold all codes alike.

use std::time::Instant;

use corten_core::random::Stream;
use corten_kernels::aligned::Aligned;
use corten_kernels::cpu::Level;
use corten_kernels::trees::{
    Coder, Column, Forest, NEVER, Node, OneRow, Parts, PlaneScratch, Planes, Reads, RowScratch, Sieve, SieveScratch,
};

const TREES: usize = 500;
const LEAVES: usize = 63;
const MANY_LEAVES: usize = 255;
const CODES: u64 = 250;
const FEW: u64 = 30;
const ROWS: usize = 1 << 14;

/// Random trees over some columns.
fn ensemble(columns: usize, most: usize, stream: &mut Stream) -> (Forest, Coder) {
    let thresholds: Vec<f64> = (0..CODES).map(|i| i as f64).collect();
    let reads = Reads::Number { missing_right: false, zero_missing: false };
    let end = |feature: usize| if feature.is_multiple_of(2) { CODES } else { FEW } as u32;
    let listed: Vec<Column> =
        (0..columns).map(|feature| Column { feature: feature as u32, reads, start: 0, end: end(feature) }).collect();
    let coder = Coder::new(columns, &listed, &thresholds, false, 0.0).expect("columns fit");
    let mut parts = Parts { outputs: 1, roots: vec![0], ..Parts::default() };
    let mut nodes = Vec::new();
    for _ in 0..TREES {
        let root = nodes.len();
        let mut leaves = vec![root];
        nodes.push(0);
        while leaves.len() < most {
            let at = leaves.swap_remove(stream.below(leaves.len() as u64) as usize);
            let left = nodes.len();
            let column = stream.below(columns as u64) as usize;
            let threshold = stream.below(u64::from(end(column))) as u16;
            nodes[at] = Parts::word(Node { left: left as u32, column: column as u16, threshold });
            nodes.extend([0, 0]);
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
    (Forest::new(parts, &coder).expect("trees fit"), coder)
}

/// Raw rows, column after column.
fn rows_of(columns: usize, stream: &mut Stream) -> Vec<f64> {
    let mut value = |column: usize| match column % 2 {
        0 => stream.below(CODES + 1),
        _ if stream.below(4) > 0 => 0,
        _ => stream.below(FEW + 1),
    };
    (0..columns).flat_map(|c| (0..ROWS).map(|_| value(c)).collect::<Vec<_>>()).map(|code| code as f64 - 0.5).collect()
}

/// Nanoseconds a row and tree, the least of some repeats.
fn least(rows: usize, mut call: impl FnMut()) -> f64 {
    let repeats = (1 << 17) / rows;
    let each = (0..repeats.max(5)).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    });
    each.fold(f64::INFINITY, f64::min) * 1e9 / (rows * TREES) as f64
}

fn main() {
    println!("ns a row and tree   rows    walk  planes   sieve   (-: not for these)");
    let mut stream = Stream::new(1, 1);
    for columns in [3, 5, 8, 12, 24, 60] {
        let (forest, coder) = ensemble(columns, LEAVES, &mut stream);
        let raw = rows_of(columns, &mut stream);
        let (planes, sieve) = (Planes::new(&forest, &coder), Sieve::for_blocks(&forest, &coder));
        let (mut of_planes, mut of_sieve) = (PlaneScratch::default(), SieveScratch::default());
        for rows in [64, 256, 1024, ROWS] {
            let mut codes = vec![0; rows * columns];
            coder.block(Level::Avx512, rows, |f| &raw[f * ROWS..][..rows], &mut codes);
            let by_row: Vec<u16> = (0..rows).flat_map(|r| codes.iter().skip(r).step_by(rows).copied()).collect();
            let mut out = vec![0.0; rows];
            let walk = least(rows, || forest.walk_block(&by_row, columns, rows, &mut out, rows));
            let mut figures = [None; 2];
            if let Some(planes) = &planes {
                figures[0] = Some(least(rows, || planes.block(&forest, &codes, rows, &mut of_planes, &mut out, rows)));
            }
            if let Some(sieve) = &sieve
                && sieve.block(&forest, &codes, rows, &mut of_sieve, &mut out, rows)
            {
                let block = || assert!(sieve.block(&forest, &codes, rows, &mut of_sieve, &mut out, rows));
                figures[1] = Some(least(rows, block));
            }
            let [planes, sieve] = figures.map(|f| f.map_or_else(|| String::from("-"), |ns| format!("{ns:.3}")));
            println!("{columns:>2} columns       {rows:>6} {walk:>7.3} {planes:>7} {sieve:>7}");
        }
        single(&forest, &coder, columns, LEAVES, &raw);
        let (large, coder) = ensemble(columns, MANY_LEAVES, &mut stream);
        single(&large, &coder, columns, MANY_LEAVES, &raw);
    }
}

/// Prints the time of single rows.
fn single(forest: &Forest, coder: &Coder, columns: usize, leaves: usize, raw: &[f64]) {
    let Some(one_row) = OneRow::new(forest, coder) else { return };
    let (mut scratch, mut found) = (RowScratch::default(), vec![0; TREES]);
    let mut codes = vec![0; columns * 4096];
    for (r, codes) in codes.chunks_exact_mut(columns).enumerate() {
        let row: Vec<f64> = (0..columns).map(|c| raw[c * ROWS + r]).collect();
        coder.row(Level::Plain, &row, codes);
    }
    let mut out = [0.0];
    let took = least(4096, || {
        codes.chunks_exact(columns).for_each(|codes| one_row.row(forest, codes, &mut scratch, &mut found, &mut out, 1));
    });
    let name = match one_row {
        OneRow::Sieve(_) => "sieve",
        OneRow::Lanes(_) => "lanes",
        OneRow::Paths(_) => "paths",
    };
    println!("{columns:>2} columns            1   {took:>.3} ({name}, {leaves} leaves)");
}
