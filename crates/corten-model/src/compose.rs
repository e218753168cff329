//! Models put together: one after the other, and side by side on parts of a table.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};

use crate::graph::{Builder, Method, Output, Slot};
use crate::model::Model;
use crate::ops::{Decide, DecideKind, Linear, Link, LinkKind, OneHot, WeightedMedian};
use crate::schema::{Labels, Schema};

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
        let chosen = select(schema, &inputs, positions)?;
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

/// How the answers of several models become one.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// The weighted mean of what regressors predict.
    Mean,
    /// The weighted mean of probabilities; the class of the greatest is predicted.
    Soft(Labels),
    /// Each model has votes for the class that it predicts; the first class of most votes is predicted.
    Hard(Labels),
    /// The weighted median of what regressors predict.
    Median,
    /// Classifiers that AdaBoost has weighted: a model's vote for a class is one against the others.
    Boosted(Labels),
    /// All answers side by side, for a model on top: the method of each, and whether its first column is left out.
    Stack(Vec<(Method, bool)>),
}

/// One of several models that read the same table.
pub struct Member<'m> {
    /// The model.
    pub model: &'m Model,
    /// Positions in the schema of the columns that it reads.
    pub columns: Vec<usize>,
    /// The place of each of its classes among those of the rule; the same classes when `None`.
    pub classes: Option<Vec<usize>>,
    /// Its share.
    pub weight: f64,
}

/// Several models on the same table, and one answer. The columns of the table itself come after a
/// [`Rule::Stack`] when `passthrough` is set.
///
/// # Errors
/// [`Error::Value`] for no members, weights that don't add up to a positive number, a position outside the schema, a
/// member without the method that the rule needs, or classes that aren't there.
pub fn ensemble(schema: &Schema, members: &[Member<'_>], rule: &Rule, passthrough: bool) -> Result<Model> {
    let total: f64 = members.iter().map(|m| m.weight).sum();
    if members.is_empty() || !total.is_finite() || total <= 0.0 || members.iter().any(|m| m.weight < 0.0) {
        return Err(Error::value("an ensemble needs members whose weights aren't negative and add up to more than 0"));
    }
    let mut builder = Builder::new(schema.clone());
    let inputs = builder.inputs();
    let wanted = |i: usize| match rule {
        Rule::Mean | Rule::Median | Rule::Hard(_) | Rule::Boosted(_) => Method::Predict,
        Rule::Soft(_) => Method::PredictProba,
        Rule::Stack(methods) => methods.get(i).map_or(Method::Predict, |m| m.0),
    };
    let mut answers = Vec::with_capacity(members.len());
    for (i, member) in members.iter().enumerate() {
        let chosen = select(schema, &inputs, &member.columns)?;
        let outputs = builder.inline(member.model.graph(), &chosen)?;
        let method = wanted(i);
        let output = outputs.into_iter().find(|o| o.method == method);
        answers.push(
            output.ok_or_else(|| Error::value(format!("member {i} of the ensemble has no '{}'", method.as_str())))?,
        );
    }
    match rule {
        Rule::Mean => mean(builder, members, &answers, total),
        Rule::Median => median(builder, members, &answers),
        Rule::Soft(labels) | Rule::Hard(labels) => {
            let soft = matches!(rule, Rule::Soft(_));
            let shares = shares(&mut builder, members, &answers, labels.len(), soft, total)?;
            let class = builder.add(Decide { kind: DecideKind::ArgMax }, &shares)?;
            let mut outputs = Vec::from([Output::of_class(class[0], labels.clone())]);
            if soft {
                outputs.push(Output::of_probabilities(shares, labels.clone()));
            }
            builder.finish(outputs)
        }
        Rule::Boosted(labels) => {
            let shares = shares(&mut builder, members, &answers, labels.len(), false, total)?;
            boosted(builder, &shares, labels)
        }
        Rule::Stack(methods) => {
            let (mut slots, mut names) = (Vec::new(), Vec::new());
            for (i, output) in answers.iter().enumerate() {
                let skip = usize::from(methods.get(i).is_some_and(|m| m.1));
                slots.extend(output.columns.iter().skip(skip));
                names.extend(output.names.iter().skip(skip).map(|name| format!("member{i}__{name}")));
            }
            if passthrough {
                slots.extend(&inputs);
                names.extend(schema.names());
            }
            builder.finish(Vec::from([Output::new(Method::Transform, slots, names)]))
        }
    }
}

pub(crate) fn select(schema: &Schema, inputs: &[Slot], positions: &[usize]) -> Result<Vec<Slot>> {
    let column = |&at: &usize| {
        let found = inputs.get(at).copied();
        found.ok_or_else(|| Error::value(format!("column {at} of a table with {} columns", schema.inputs.len())))
    };
    positions.iter().map(column).collect()
}

/// The weighted mean of regressors, output by output.
fn mean(mut builder: Builder, members: &[Member<'_>], answers: &[Output], total: f64) -> Result<Model> {
    let width = answers[0].columns.len();
    if answers.iter().any(|o| o.columns.len() != width || o.labels.is_some()) {
        return Err(Error::value("the mean needs regressors of as many outputs each"));
    }
    let mut columns = Vec::with_capacity(width);
    for k in 0..width {
        let slots: Vec<Slot> = answers.iter().map(|o| o.columns[k]).collect();
        let weights = members.iter().map(|m| m.weight / total).collect();
        columns.extend(builder.add(Linear { outputs: 1, weights, intercept: Vec::from([0.0]) }, &slots)?);
    }
    builder.finish(Vec::from([Output::new(Method::Predict, columns, answers[0].names.clone())]))
}

/// The weighted median of regressors of one output.
fn median(mut builder: Builder, members: &[Member<'_>], answers: &[Output]) -> Result<Model> {
    if answers.iter().any(|o| o.columns.len() != 1 || o.labels.is_some()) {
        return Err(Error::value("the median needs regressors of one output each"));
    }
    let slots: Vec<Slot> = answers.iter().map(|o| o.columns[0]).collect();
    let weights = members.iter().map(|m| m.weight).collect();
    let columns = builder.add(WeightedMedian { weights }, &slots)?;
    builder.finish(Vec::from([Output::new(Method::Predict, columns, answers[0].names.clone())]))
}

/// The weighted share of each class: of probabilities, or of votes.
fn shares(
    builder: &mut Builder,
    members: &[Member<'_>],
    answers: &[Output],
    classes: usize,
    soft: bool,
    total: f64,
) -> Result<Vec<Slot>> {
    let (mut slots, mut places, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (member, output)) in members.iter().zip(answers).enumerate() {
        let own = output.labels.as_ref().map_or(0, Labels::len);
        let columns = if soft {
            output.columns.clone()
        } else {
            builder.add(OneHot { widths: Vec::from([own as u32]) }, &output.columns)?
        };
        let map = member.classes.clone().unwrap_or_else(|| (0..classes).collect());
        if own == 0 || columns.len() != own || map.len() != own || map.iter().any(|&c| c >= classes) {
            return Err(Error::value(format!("member {i} of the ensemble has other classes")));
        }
        slots.extend(columns);
        shares.extend(map.iter().map(|_| member.weight / total));
        places.extend(map);
    }
    let mut weights = alloc::vec![0.0; classes * slots.len()];
    for (at, (&class, &share)) in places.iter().zip(&shares).enumerate() {
        weights[class * slots.len() + at] = share;
    }
    let intercept = alloc::vec![0.0; classes];
    builder.add(Linear { outputs: classes as u32, weights, intercept }, &slots)
}

/// AdaBoost's scores of classes (Zhu, Zou, Rosset & Hastie, Statistics and its interface 2, 2009): a share of the votes
/// counts one for its class and the rest `1 / (k - 1)` against it.
fn boosted(mut builder: Builder, shares: &[Slot], labels: &Labels) -> Result<Model> {
    let k = labels.len();
    let (scores, probabilities, class, names);
    if k == 2 {
        let twice = Linear { outputs: 1, weights: Vec::from([-2.0, 2.0]), intercept: Vec::from([0.0]) };
        scores = builder.add(twice, shares)?;
        probabilities = builder.add(Link { kind: LinkKind::Sigmoid }, &scores)?;
        class = builder.add(Decide { kind: DecideKind::Threshold(0.0) }, &scores)?;
        names = Vec::from(["decision".into()]);
    } else {
        let others = (k - 1) as f64;
        let diagonal = |a: f64| {
            let mut weights = alloc::vec![0.0; k * k];
            (0..k).for_each(|i| weights[i * k + i] = a);
            weights
        };
        let (weights, intercept) = (diagonal(k as f64 / others), alloc::vec![-1.0 / others; k]);
        scores = builder.add(Linear { outputs: k as u32, weights, intercept }, shares)?;
        let softer = Linear { outputs: k as u32, weights: diagonal(1.0 / others), intercept: alloc::vec![0.0; k] };
        let softer = builder.add(softer, &scores)?;
        probabilities = builder.add(Link { kind: LinkKind::Softmax }, &softer)?;
        class = builder.add(Decide { kind: DecideKind::ArgMax }, &scores)?;
        names = labels.names();
    }
    builder.finish(Vec::from([
        Output::of_class(class[0], labels.clone()),
        Output::of_probabilities(probabilities, labels.clone()),
        Output::new(Method::DecisionFunction, scores, names),
    ]))
}

impl Schema {
    /// The kinds of the columns by name.
    pub fn kinds(&self) -> Vec<(String, Kind)> {
        self.inputs.iter().map(|i| (i.name.clone(), i.kind)).collect()
    }
}
