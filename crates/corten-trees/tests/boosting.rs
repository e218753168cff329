//! Boosting through the registry: the same bytes for any number of threads, and rows without weight.

use std::borrow::Cow;

use corten_core::{Column, Data, Table};
use corten_model::estimator::{Context, Extras, FitInput, Target};
use corten_model::{Labels, Schema};
use serde_json::{Value, json};

const ROWS: usize = 20_000;

fn columns(rows: impl Iterator<Item = usize> + Clone) -> Data<'static> {
    let columns = (0..6usize)
        .map(|c| {
            let values = rows.clone().map(|r| {
                let x = (corten_core::random::bits(3, c as u64, r as u64) >> 40) as f64 / 1e6;
                if c == 2 && r % 7 == 0 { f64::NAN } else { x }
            });
            Column::f64(format!("x{c}"), values.collect::<Vec<_>>())
        })
        .collect();
    Data::Table(Table::matrix(columns).unwrap())
}

fn class(row: usize, classes: u32) -> u32 {
    let x = (corten_core::random::bits(3, 0, row as u64) >> 40) as f64 / 1e6;
    let noise = corten_core::random::bits(9, 0, row as u64) % 4;
    ((x / 17.0 * f64::from(classes)) as u32 + u32::from(noise == 0)) % classes
}

fn bytes(x: &Data<'_>, codes: &[u32], classes: i64, weights: Option<&[f64]>, threads: usize, change: Value) -> Vec<u8> {
    let entries = corten_trees::registry::estimators();
    let entry = entries.iter().find(|e| e.name == "ensemble.HistGradientBoostingClassifier").unwrap();
    let mut params = (entry.defaults)();
    params["max_iter"] = json!(5);
    params["random_state"] = json!(1);
    for (name, value) in change.as_object().unwrap() {
        params[name] = value.clone();
    }
    let context = Context { threads, ..Context::default() };
    let y = Target::Classes { codes: Cow::Borrowed(codes), labels: Labels::Int((0..classes).collect()) };
    let input = FitInput {
        x,
        y,
        sample_weight: weights,
        previous: None,
        partial: false,
        extras: &Extras::default(),
        context: &context,
    };
    let fitted = (entry.fit)(&params, &input).unwrap();
    fitted.model(Schema::of(x).unwrap()).unwrap().to_bytes().unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let x = columns(0..ROWS);
    for (classes, change) in [
        (2, json!({"early_stopping": false})),
        (2, json!({"early_stopping": true, "max_features": 0.5})),
        (3, json!({"early_stopping": false})),
        (2, json!({"early_stopping": true, "data_sample_strategy": "goss", "learning_rate": 0.5})),
        (3, json!({"early_stopping": false, "boosting": "dart", "skip_drop": 0.0, "drop_rate": 0.5})),
        (2, json!({"early_stopping": false, "linear_tree": true, "linear_lambda": 1.0})),
    ] {
        let codes: Vec<u32> = (0..ROWS).map(|r| class(r, classes)).collect();
        let one = bytes(&x, &codes, i64::from(classes), None, 1, change.clone());
        for threads in [2, 5] {
            assert!(one == bytes(&x, &codes, i64::from(classes), None, threads, change.clone()), "{change}");
        }
    }
}

#[test]
fn rows_without_weight_are_no_rows() {
    let kept = |r: &usize| !r.is_multiple_of(3);
    let weights: Vec<f64> = (0..ROWS).map(|r| f64::from(u8::from(kept(&r)))).collect();
    let codes: Vec<u32> = (0..ROWS).map(|r| class(r, 2)).collect();
    let some: Vec<u32> = (0..ROWS).filter(kept).map(|r| class(r, 2)).collect();
    let change = json!({"early_stopping": false});
    let weighted = bytes(&columns(0..ROWS), &codes, 2, Some(&weights), 2, change.clone());
    let ones = vec![1.0; some.len()];
    let dropped = bytes(&columns((0..ROWS).filter(kept)), &some, 2, Some(&ones), 2, change);
    assert!(weighted == dropped);
}
