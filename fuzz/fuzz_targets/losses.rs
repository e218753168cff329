//! Any text is refused as a loss, or can be fitted and answers.
#![no_main]

use corten_core::{Column, Data, Table};
use corten_model::estimator::{Context, Extras, FitInput, Target};
use corten_model::{Run, Schema};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let entries = corten_trees::registry::estimators();
    let Some(entry) = entries.iter().find(|e| e.name == "ensemble.HistGradientBoostingRegressor") else { return };
    let Ok(table) = Table::matrix(vec![Column::f64("a", vec![0.0, 1.0, 2.0, 3.0, f64::NAN, 5.0])]) else { return };
    let data = Data::Table(table);
    let mut params = (entry.defaults)();
    params["loss"] = json!(text);
    params["max_iter"] = json!(2);
    params["min_samples_leaf"] = json!(1);
    let (extras, context) = (Extras::default(), Context { threads: 1, ..Context::default() });
    let input = FitInput {
        x: &data,
        y: Target::Numbers { values: vec![0.5, 1.0, 2.0, 0.0, 4.0, 8.0].into(), outputs: 1, flat: true },
        sample_weight: None,
        previous: None,
        partial: false,
        extras: &extras,
        context: &context,
    };
    let Ok(fitted) = (entry.fit)(&params, &input) else { return };
    let (Some(state), Some(restore)) = (fitted.state(), entry.restore) else { return };
    // A state that was written is read.
    assert!(restore(&state).is_ok());
    let Ok(schema) = Schema::of(&data) else { return };
    let Ok(model) = fitted.model(schema) else { return };
    for method in model.methods() {
        let _ = model.run(method, &data, &Run::default());
    }
});
