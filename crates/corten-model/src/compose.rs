//! Models put together: one after the other, and side by side on parts of a table.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};

use crate::graph::{Builder, Method, Output, Slot};
use crate::model::Model;
use crate::schema::Schema;

/// What happens to some columns of a table.
pub enum Part<'m> {
    /// A transformer.
    Model(&'m Model),
    /// They pass as they are.
    Passthrough,
}

/// A pipeline: the `transform` of each model feeds the next one by position, and the last one answers.
///
/// # Errors
/// [`Error::Value`] for no models, a model before the last without `transform`, or steps that don't fit each other.
pub fn chain(models: &[&Model]) -> Result<Model> {
    let first = models.first().ok_or_else(|| Error::value("a pipeline needs at least one step"))?;
    let mut builder = Builder::new(first.schema().clone());
    let mut slots = builder.inputs();
    let mut outputs = Vec::new();
    for (i, model) in models.iter().enumerate() {
        outputs = builder.inline(model.graph(), &slots)?;
        if i + 1 < models.len() {
            slots = transform_of(&outputs)
                .ok_or_else(|| Error::value(format!("step {i} of the pipeline has no 'transform'")))?
                .columns
                .clone();
        }
    }
    builder.finish(outputs)
}

fn transform_of(outputs: &[Output]) -> Option<&Output> {
    outputs.iter().find(|o| o.method == Method::Transform)
}

/// Transformers side by side: each reads the columns at some positions of the schema, and their outputs follow each
/// other. A prefix goes before the names of a part's outputs as `prefix__name`.
///
/// # Errors
/// [`Error::Value`] for a position outside the schema or a part without `transform`.
pub fn columns(schema: &Schema, parts: &[(Option<String>, Part<'_>, Vec<usize>)]) -> Result<Model> {
    let mut builder = Builder::new(schema.clone());
    let inputs = builder.inputs();
    let (mut slots, mut names): (Vec<Slot>, Vec<String>) = (Vec::new(), Vec::new());
    for (prefix, part, positions) in parts {
        let chosen = positions
            .iter()
            .map(|&at| {
                inputs
                    .get(at)
                    .copied()
                    .ok_or_else(|| Error::value(format!("column {at} of a table with {} columns", schema.inputs.len())))
            })
            .collect::<Result<Vec<_>>>()?;
        let output = match part {
            Part::Passthrough => {
                let names = positions.iter().map(|&at| schema.inputs[at].name.clone()).collect();
                Output::new(Method::Transform, chosen, names)
            }
            Part::Model(model) => {
                let outputs = builder.inline(model.graph(), &chosen)?;
                transform_of(&outputs)
                    .cloned()
                    .ok_or_else(|| Error::value("a part of the columns has no 'transform'"))?
            }
        };
        slots.extend(&output.columns);
        names.extend(output.names.into_iter().map(|name| match prefix {
            Some(prefix) => format!("{prefix}__{name}"),
            None => name,
        }));
    }
    builder.finish(Vec::from([Output::new(Method::Transform, slots, names)]))
}

impl Schema {
    /// The kinds of the columns by name.
    pub fn kinds(&self) -> Vec<(String, Kind)> {
        self.inputs.iter().map(|i| (i.name.clone(), i.kind)).collect()
    }
}
