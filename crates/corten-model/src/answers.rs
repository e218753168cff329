//! The columns that a table of rows is answered with, by whoever writes a table: the command line and the server.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, OutputColumn, OutputKind, Result};

use crate::graph::{Method, Output, Slot};
use crate::model::Model;
use crate::run::Batch;
use crate::schema::Labels;

/// Name and type of a column.
pub type Named = (String, OutputKind);

/// Name and type of each column of a method's answer.
pub fn columns(output: &Output) -> Vec<Named> {
    if let (Method::Predict, Some(labels)) = (output.method, &output.labels) {
        let kind = match labels {
            Labels::Int(_) => OutputKind::Int,
            Labels::Float(_) => OutputKind::Float,
            Labels::Bool(_) => OutputKind::Bool,
            Labels::Text(_) => OutputKind::Text,
        };
        return vec![("prediction".to_owned(), kind)];
    }
    let name = |(i, name): (usize, &String)| match output.method {
        Method::Predict if output.columns.len() == 1 => "prediction".to_owned(),
        Method::Predict => format!("prediction_{i}"),
        Method::PredictProba => format!("probability_{name}"),
        Method::PredictSet => format!("in_set_{name}"),
        _ => name.clone(),
    };
    let kind = |slot: &Slot| match slot {
        Slot::Number(_) => OutputKind::Float,
        Slot::Text(_) => OutputKind::Text,
    };
    output.names.iter().enumerate().map(name).zip(output.columns.iter().map(kind)).collect()
}

/// The values of those columns.
pub fn values(output: &Output, batch: Batch) -> Vec<OutputColumn> {
    if let (Method::Predict, Some(labels)) = (output.method, &output.labels) {
        let (indices, at) = (batch.numbers.iter(), |x: &f64| *x as usize);
        return vec![match labels {
            Labels::Int(v) => OutputColumn::Int(indices.map(|x| v[at(x)]).collect()),
            Labels::Float(v) => OutputColumn::Float(indices.map(|x| v[at(x)]).collect()),
            Labels::Bool(v) => OutputColumn::Bool(indices.map(|x| v[at(x)]).collect()),
            Labels::Text(v) => OutputColumn::Text(indices.map(|x| Some(v[at(x)].clone())).collect()),
        }];
    }
    let (mut number, mut texts) = (0, batch.texts.into_iter());
    let value = |slot: &Slot| match slot {
        Slot::Number(_) => {
            number += 1;
            let own = batch.numbers.iter().skip(number - 1).step_by(batch.width.max(1));
            OutputColumn::Float(own.copied().collect())
        }
        Slot::Text(_) => OutputColumn::Text(texts.next().unwrap_or_default()),
    };
    output.columns.iter().map(value).collect()
}

impl Model {
    /// The methods whose answers make up a table: predictions, probabilities where they are wanted, intervals and sets;
    /// or what a transformer makes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where probabilities are wanted and the model has none.
    pub fn table_methods(&self, proba: bool) -> Result<Vec<Method>> {
        let has = |method: &Method| self.output(*method).is_some();
        if proba && !has(&Method::PredictProba) {
            return Err(Error::Unsupported("This model has no 'predict_proba'.".into()));
        }
        let all = [Method::Predict, Method::PredictProba, Method::PredictInterval, Method::PredictSet];
        let wanted = |method: &Method| has(method) && (proba || *method != Method::PredictProba);
        let methods: Vec<Method> = all.into_iter().filter(wanted).collect();
        if methods.is_empty() {
            return Ok([Method::Transform].into_iter().filter(has).collect());
        }
        Ok(methods)
    }
}
