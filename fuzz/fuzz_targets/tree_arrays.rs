//! Any arrays are refused as trees, or give a model that answers: scikit-learn's way in.
#![no_main]

use corten_trees::convert::flat::{Flat, Meaning, read};
use corten_trees::convert::{Answer, Wrapping};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [first, second, rest @ ..] = bytes else { return };
    let count = rest.len() / 8;
    // A node's small numbers: most lead somewhere, some do not.
    let small = |at: usize| -> Vec<i64> { rest.chunks_exact(8).map(|n| i64::from(n[at] as i8)).collect() };
    let number = |b: u8| match b {
        250 => f64::NAN,
        251 => f64::INFINITY,
        252 => f64::NEG_INFINITY,
        b => f64::from(b as i8) / 4.0,
    };
    let width = usize::from(first % 3);
    let sets = rest.chunks_exact(8).map(|n| (i64::from(n[4] as i8), i64::from(n[5] as i8))).collect();
    let flat = Flat {
        counts: if first & 8 == 0 {
            vec![count as i64]
        } else {
            vec![i64::from(*second), count as i64 - i64::from(*second)]
        },
        left: small(0),
        right: small(1),
        feature: small(2),
        threshold: rest.chunks_exact(8).map(|n| number(n[3])).collect(),
        missing_left: rest.chunks_exact(8).map(|n| n[6] & 1 == 1).collect(),
        cover: if first & 16 == 0 { Vec::new() } else { rest.chunks_exact(8).map(|n| number(n[7])).collect() },
        values: (0..count * width).map(|i| number(rest[i % rest.len().max(1)])).collect(),
        width,
        sets: if first & 32 == 0 { Vec::new() } else { sets },
        codes: (0..8).collect(),
    };
    let values = corten_model::ops::CategoryValues::Numbers((0..6).map(f64::from).collect());
    let meaning = Meaning {
        source: "fuzz".into(),
        names: None,
        features: 4,
        categories: if first & 64 == 0 { Vec::new() } else { vec![(1, values)] },
        base: vec![0.5; if first & 128 == 0 { 1 } else { width.max(1) }],
        average: second & 1 == 1,
        narrow: second & 2 == 2,
        answer: Answer::Sums,
        scores: false,
    };
    let Ok(model) = read(&flat, meaning).and_then(|e| e.lower(&Wrapping::default())) else { return };
    for cell in [f64::NAN, 0.0, -1.0, 3.0, f64::INFINITY] {
        let mut session = model.session();
        session.numbers_mut()[..4].fill(cell);
        model.run_row(corten_model::Method::Predict, &mut session, &[]).expect("numbers are answered");
    }
});
