//! Times single rows and blocks inside Rust: `score_rows MODEL ROWS`, rows being little-endian `f64`, row after row.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use corten_core::{Column, Data, Error, Result, Table};
use corten_model::{Method, Model, Run};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, rows] = &arguments[..] else { return Err(Error::value("score_rows MODEL ROWS")) };
    let start = Instant::now();
    let model = Model::load(Path::new(model))?;
    let loaded = start.elapsed();
    let bytes = std::fs::read(rows).map_err(|e| Error::value(format!("{rows}: {e}")))?;
    let values: Vec<f64> =
        bytes.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap_or_default())).collect();
    let width = model.schema().inputs.len();
    let count = values.len() / width;
    let method =
        if model.output(Method::DecisionFunction).is_some() { Method::DecisionFunction } else { Method::Predict };
    let mut session = model.session();
    let start = Instant::now();
    session.numbers_mut().copy_from_slice(&values[..width]);
    black_box(model.run_row(method, &mut session, &[])?);
    println!("load {loaded:?}, first row {:?}", start.elapsed());
    // A random order: a row in turn would let the CPU learn it.
    let order: Vec<usize> = (0..count as u64).map(|i| (corten_core::random::mix(i) % count as u64) as usize).collect();
    let mut best = f64::INFINITY;
    // The best of short parts: other programs disturb few of them.
    for part in order.chunks(1024).cycle().take(7 * count.div_ceil(1024)) {
        let start = Instant::now();
        for &r in part {
            session.numbers_mut().copy_from_slice(&values[r * width..][..width]);
            black_box(model.run_row(method, &mut session, &[])?);
        }
        best = best.min(start.elapsed().as_secs_f64() / part.len() as f64);
    }
    println!("one row {:.3} us", best * 1e6);
    let column = |f: usize| (0..count).map(|r| values[r * width + f]).collect::<Vec<f64>>();
    let columns = model.schema().inputs.iter().enumerate();
    let table = Table::named(columns.map(|(f, i)| Column::f64(&i.name, column(f))).collect())?;
    let data = Data::Table(table);
    for threads in [1, 2] {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            black_box(model.run(method, &data, &Run { threads, ..Run::default() })?);
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{count} rows on {threads} threads: {:.0} thousand rows/s", count as f64 / best / 1e3);
    }
    Ok(())
}
