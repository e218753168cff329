//! Any bytes are refused as a fitted state, or give a model that answers and a fit that goes on.
#![no_main]

use corten_core::{Column, Data, Table};
use corten_model::estimator::{Context, Extras, FitInput, Target};
use corten_model::{Run, Schema};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let [first, state @ ..] = bytes else { return };
    let (name, rounds) = match first & 1 {
        0 => ("ensemble.HistGradientBoostingRegressor", "max_iter"),
        _ => ("ensemble.GradientBoostingRegressor", "n_estimators"),
    };
    let entries = corten_trees::registry::estimators();
    let Some(entry) = entries.iter().find(|e| e.name == name) else { return };
    let Some(restore) = entry.restore else { return };
    let Ok(fitted) = restore(state) else { return };
    let columns = vec![
        Column::f64("a", vec![0.0, 1.0, f64::NEG_INFINITY, 3.0]),
        Column::f64("b", vec![1.0, 0.0, -0.0, f64::INFINITY]),
    ];
    let Ok(table) = Table::matrix(columns) else { return };
    let data = Data::Table(table);
    let Ok(schema) = Schema::of(&data) else { return };
    if let Ok(model) = fitted.model(schema) {
        for method in model.methods() {
            let _ = model.run(method, &data, &Run::default());
        }
        if let Ok(file) = model.to_bytes() {
            assert!(corten_model::Model::from_bytes(&file).is_ok(), "a model that can't be read back");
        }
    }
    fitted.attributes();
    let mut params = (entry.defaults)();
    params["warm_start"] = json!(true);
    params[rounds] = json!(2);
    let (extras, context) = (Extras::default(), Context { threads: 1, ..Context::default() });
    let input = FitInput {
        x: &data,
        y: Target::Numbers { values: vec![0.0, 0.0, 1.0, 1.0].into(), outputs: 1, flat: true },
        sample_weight: None,
        previous: Some(&*fitted),
        partial: false,
        extras: &extras,
        context: &context,
    };
    let _ = (entry.fit)(&params, &input);
});
