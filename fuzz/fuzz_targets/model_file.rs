//! Any bytes are refused as a model, or give one that scores and explains rows within limits.
#![no_main]

use corten_core::{Column, Data, Kind, Table, Text};
use corten_model::{Model, Run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        let mut session = model.session();
        let texts = vec![None; model.schema().counts().1];
        for method in model.methods() {
            let _ = model.run_row(method, &mut session, &texts);
        }
        let columns = model.schema().inputs.iter().map(|i| match i.kind {
            Kind::Number => Column::f64(&i.name, vec![1.0]),
            Kind::Text => Column::text(&i.name, Text::from_options([None::<&str>])),
        });
        if let Ok(table) = Table::matrix(columns.collect()) {
            let _ = model.explain(&Data::Table(table), false, &Run::default());
        }
        let _ = corten_model::sketch::Sketch::read(&model);
        let _ = corten_model::sketch::check_sample(&model);
        let again = model.to_bytes().expect("a model that was read can be written");
        Model::from_bytes(&again).expect("a model that was written can be read");
    }
});
