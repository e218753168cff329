//! Nanoseconds of the kernels of gradient boosting, beside what the machine allows: `cargo bench -p corten-kernels --bench
//! boost`. `CORTEN_CPU=plain` or `avx2` shows their other forms.

use std::hint::black_box;
use std::time::Instant;

use corten_core::random::bits;
use corten_kernels::boost::histogram::{Sums, Tile, unpack};
use corten_kernels::boost::partition::{Buffers, Set, Stretch};
use corten_kernels::boost::{BLOCK, WIDTH, gradients, scan};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

/// The least time of some repetitions of `f`, by `count`.
fn nanoseconds(count: usize, mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e9 / count as f64
}

fn main() {
    let n = 1 << 20;
    let byte = |i: usize| bits(1, 2, i as u64) as u8;
    // Adding to places of an array that fits the first cache, in a known order without repeats nearby.
    let mut counters = [0i64; 2048];
    let order: Vec<u16> = (0..n).map(|i| (i * 1021 % 2048) as u16).collect();
    let store = nanoseconds(n, || {
        for &i in &order {
            counters[usize::from(i & 2047)] += 1;
        }
    });
    println!("limit: {store:.3} ns to add one number in the first cache");
    let words: Pages<u32> = (0..n).map(|i| bits(3, 4, i as u64) as u32 & 0x7fff_00ff).collect();
    for columns in [5, 10, 14, 16] {
        let tile = Tile::new((0..n * columns).map(byte).collect(), columns);
        let mut sums = Sums::default();
        for percent in [100u64, 20, 1] {
            let list: Vec<u32> = (0..n as u32).filter(|&r| bits(5, 6, u64::from(r)) % 100 < percent).collect();
            let rows = if percent == 100 { Stretch::all(n) } else { Stretch::some(&list, n) };
            let time = nanoseconds(rows.len() * columns, || {
                rows.pieces(BLOCK).for_each(|piece| sums.add(&tile, &words, piece));
            });
            println!(
                "histogram, {columns:2} columns, {percent:3} % of rows: {time:.3} ns a cell, {:.1} limits",
                time / store
            );
        }
    }
    let column: Pages<u8> = (0..n).map(byte).collect();
    let set: Set = std::array::from_fn(|i| if i < 4 { u32::MAX } else { 0 });
    for percent in [100u64, 20, 1] {
        let list: Vec<u32> = (0..n as u32).filter(|&r| bits(7, 8, u64::from(r)) % 100 < percent).collect();
        let mut buffers = Buffers::new(n);
        let time = nanoseconds(list.len(), || {
            let rows = if percent == 100 { buffers.all(1) } else { buffers.some(&list, 1) };
            black_box(rows.part(&column, &set, Team::alone()).counts().0);
        });
        let copy = nanoseconds(list.len(), || {
            let rows = if percent == 100 { buffers.all(1) } else { buffers.some(&list, 1) };
            black_box(rows.len());
        });
        println!("partition, {percent:3} % of rows: {:.3} ns a row", time - copy);
    }
    let sums: Vec<i64> = (0..WIDTH as i64).map(|i| ((i % 17 - 8) << 32) + 3 + i % 5).collect();
    let total = unpack(sums.iter().sum());
    let node = scan::Node { gradient: total.0, hessian: total.1, least: 20, l2: 1.0 };
    let time = nanoseconds(1000 * WIDTH, || {
        for _ in 0..1000 {
            black_box(scan::packed(black_box(&sums), 0, &node, 0.0));
        }
    });
    println!("split scan: {time:.3} ns a bin");
    let y: Vec<f64> = (0..4096).map(|i| f64::from(i % 2)).collect();
    let scores: Vec<f64> = (0..4096).map(|i| f64::from(i) / 1000.0 - 2.0).collect();
    let (mut g, mut h, mut out) = (vec![0.0; 4096], vec![0.0; 4096], vec![0; 4096]);
    let time = nanoseconds(100 * 4096, || {
        for _ in 0..100 {
            gradients::logistic(&y, &scores, &mut g, &mut h);
            gradients::pack(&g, &h, 32_767.0, 262_140.0, &mut out);
        }
    });
    println!("logistic gradients and rounding: {time:.3} ns a row");
    let cuts: Vec<f64> = (0..254).map(|i| f64::from(i) / 60.0 - 2.0).collect();
    let mut binned = vec![0; 4096];
    let time = nanoseconds(100 * 4096, || {
        for _ in 0..100 {
            gradients::bins(black_box(&scores), &cuts, 255, &mut binned);
        }
    });
    println!("binning: {time:.3} ns a value");
}
