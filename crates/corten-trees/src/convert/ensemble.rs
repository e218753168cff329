//! What every reader makes: trees over raw values, and what goes into them and comes out.

use corten_core::{Error, Kind, Result};
use corten_model::ops::{
    Category, CategoryColumn, CategoryValues, Decide, DecideKind, Impute, Linear, Link, LinkKind, Rule, Trees,
    TreesSpec, Whole,
};
use corten_model::{Builder, Input, Labels, Method, Model, Output, Schema, Slot};
use serde_json::Value;

use crate::convert::Wrapping;
use crate::convert::categories::{self, Derived, MAX_LEVELS};

/// A column that an ensemble reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Where its values are not numbers that the trees read as they are: the value of each code that the trees read.
    /// Values that are not among them are missing.
    pub categories: Option<CategoryValues>,
}

/// What the sums of an ensemble are turned into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Nothing else.
    Sums,
    /// `exp(x)`.
    Exp,
    /// The probability `1 / (1 + exp(-scale * x))` of the second of two classes.
    Sigmoid {
        /// What the sum is multiplied with.
        scale: f64,
    },
    /// The probabilities of classes.
    Softmax,
    /// One against the rest, each `1 / (1 + exp(-scale * x))`: as they are, or divided by their sum.
    Sigmoids {
        /// What sums are multiplied with.
        scale: f64,
        /// Whether they are made to add up to 1.
        normalized: bool,
    },
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `sign(x) * x * x`.
    SignedSquare,
    /// The number of the class with the highest sum.
    ArgMax,
    /// 1 above 0, else 0.
    Hinge,
    /// Probabilities as they are: forests of classes.
    Probabilities,
    /// An isolation forest, whose mean depth `x` becomes the score `-exp(rate * x) - offset`.
    Isolation {
        /// `-ln 2` over the mean depth of as many rows as a tree was made of.
        rate: f64,
        /// The score from which a row is none of the others.
        offset: f64,
    },
}

/// What is added up.
#[derive(Clone, Debug)]
pub enum Sums {
    /// Trees.
    Trees(TreesSpec),
    /// A linear model; a missing value adds nothing.
    Linear {
        /// Output after output, a weight a feature.
        weights: Vec<f64>,
        /// One an output.
        intercept: Vec<f64>,
    },
}

/// An ensemble of another library.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// The library and its kind of model, such as `lightgbm.Booster`.
    pub source: String,
    /// What is added up.
    pub sums: Sums,
    /// What sums are multiplied with before anything else, and what is added to each.
    pub after: Option<(f64, Vec<f64>)>,
    /// What they read.
    pub features: Vec<Feature>,
    /// Whether columns are found by name.
    pub named: bool,
    /// What their sums mean.
    pub answer: Answer,
    /// Whether the sums may be asked for beside the answer.
    pub scores: bool,
    /// Whether probabilities are computed in `f32`.
    pub narrow: bool,
}

/// Each column multiplied with a number.
fn scaled(builder: &mut Builder, slots: &[Slot], by: f64) -> Result<Vec<Slot>> {
    if by == 1.0 {
        return Ok(slots.to_vec());
    }
    let one = |slot: &Slot| {
        let linear = Linear { outputs: 1, weights: vec![by], intercept: vec![0.0] };
        builder.add(linear, std::slice::from_ref(slot)).map(|s| s[0])
    };
    slots.iter().map(one).collect()
}

fn link(builder: &mut Builder, kind: LinkKind, slots: &[Slot]) -> Result<Vec<Slot>> {
    builder.add(Link { kind }, slots)
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    if count == 1 { vec![name.into()] } else { (0..count).map(|i| format!("{name}_{i}")).collect() }
}

impl Ensemble {
    /// The columns as the trees read them.
    fn inputs(&self, builder: &mut Builder) -> Result<Vec<Slot>> {
        let mut slots = builder.inputs();
        let (mut columns, mut chosen, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (at, feature) in self.features.iter().enumerate() {
            let Some(values) = &feature.categories else { continue };
            columns.push(CategoryColumn {
                name: feature.name.clone(),
                values: values.clone(),
                codes: None,
                missing: Rule::Code(f64::NAN),
                unknown: Rule::Code(f64::NAN),
            });
            chosen.push(slots[at]);
            places.push(at);
        }
        if !columns.is_empty() {
            let codes = builder.add(Category::new(columns), &chosen)?;
            places.into_iter().zip(codes).for_each(|(at, code)| slots[at] = code);
        }
        Ok(slots)
    }

    /// The codes of a derived feature.
    fn derived(&self, builder: &mut Builder, slot: Slot, derived: Derived) -> Result<Slot> {
        let Feature { name, categories } = &self.features[derived.feature as usize];
        let whole = if categories.is_some() { slot } else { builder.add(Whole, &[slot])?[0] };
        let column = CategoryColumn {
            name: name.clone(),
            values: CategoryValues::Numbers(derived.values),
            codes: Some(derived.codes),
            missing: Rule::Code(f64::NAN),
            unknown: Rule::Code(-1.0),
        };
        Ok(builder.add(Category::new(vec![column]), &[whole])?[0])
    }

    fn schema(&self) -> Schema {
        let input = |feature: &Feature| {
            let text = matches!(feature.categories, Some(CategoryValues::Texts(_)));
            let (kind, dtype) = if text { (Kind::Text, "text") } else { (Kind::Number, "f64") };
            Input { name: feature.name.clone(), kind, dtype: dtype.into() }
        };
        Schema { named: self.named, inputs: self.features.iter().map(input).collect() }
    }

    /// The model of an ensemble.
    ///
    /// # Errors
    /// [`Error::Foreign`] for trees that are none; [`Error::Value`] for classes that don't fit.
    pub fn lower(mut self, wrapping: &Wrapping) -> Result<Model> {
        let mut builder = Builder::new(self.schema());
        let mut slots = self.inputs(&mut builder)?;
        // Trees may take as much memory as the text that they came from: they are handed on, not copied.
        let sums = std::mem::replace(&mut self.sums, Sums::Linear { weights: Vec::new(), intercept: Vec::new() });
        let mut sums = match sums {
            Sums::Trees(mut spec) => {
                for derived in categories::derive(&mut spec, MAX_LEVELS) {
                    let slot = self.derived(&mut builder, slots[derived.feature as usize], derived)?;
                    slots.push(slot);
                }
                builder.add(Trees::build(spec)?, &slots)?
            }
            Sums::Linear { weights, intercept } => {
                let fill = Impute { missing: f64::NAN, fill: vec![0.0; slots.len()] };
                let filled = builder.add(fill, &slots)?;
                let outputs = intercept.len() as u32;
                builder.add(Linear { outputs, weights, intercept }, &filled)?
            }
        };
        if let Some((scale, bias)) = &self.after {
            for (sum, &bias) in sums.iter_mut().zip(bias) {
                let after = Linear { outputs: 1, weights: vec![*scale], intercept: vec![bias] };
                *sum = builder.add(after, std::slice::from_ref(sum))?[0];
            }
        }
        let outputs = match &wrapping.labels {
            Some(labels) => self.classes(&mut builder, sums, labels)?,
            None => self.numbers(&mut builder, sums)?,
        };
        let mut model = builder.finish(outputs)?;
        let facts = model.metadata_mut();
        facts.insert("converted_from".into(), Value::from(self.source.as_str()));
        if let Answer::Isolation { offset, .. } = self.answer {
            facts.insert("offset".into(), Value::from(offset));
        }
        Ok(model)
    }

    /// What a classifier of two or more classes answers.
    fn classes(&self, builder: &mut Builder, sums: Vec<Slot>, labels: &Labels) -> Result<Vec<Output>> {
        let (count, given) = (labels.len(), sums.len());
        let expected = if matches!(self.answer, Answer::Sigmoid { .. }) { 2 } else { given };
        if count != expected || count < 2 {
            return Err(Error::value(format!("the model tells {expected} classes apart, but {count} were given")));
        }
        let (probabilities, decide) = match self.answer {
            Answer::Sigmoid { scale } => {
                let scaled = scaled(builder, &sums, scale)?;
                (link(builder, self.sigmoid(), &scaled)?, DecideKind::Threshold(0.0))
            }
            Answer::Softmax | Answer::ArgMax => (link(builder, self.softmax(), &sums)?, DecideKind::ArgMax),
            Answer::Sigmoids { scale, normalized } => {
                (self.sigmoids(builder, &sums, scale, normalized)?, DecideKind::ArgMax)
            }
            Answer::Probabilities => {
                let class = builder.add(Decide { kind: DecideKind::ArgMax }, &sums)?;
                let probabilities = Output::of_probabilities(sums, labels.clone());
                return Ok(vec![Output::of_class(class[0], labels.clone()), probabilities]);
            }
            _ => return Err(Error::value("the model's objective tells no classes apart")),
        };
        let class = builder.add(Decide { kind: decide }, &sums)?;
        let names = if given == 1 { vec!["decision".into()] } else { labels.names() };
        let mut out =
            vec![Output::of_class(class[0], labels.clone()), Output::of_probabilities(probabilities, labels.clone())];
        if self.scores {
            out.push(Output::new(Method::DecisionFunction, sums, names));
        }
        Ok(out)
    }

    fn sigmoid(&self) -> LinkKind {
        if self.narrow { LinkKind::Sigmoid32 } else { LinkKind::Sigmoid }
    }

    fn softmax(&self) -> LinkKind {
        if self.narrow { LinkKind::Softmax32 } else { LinkKind::Softmax }
    }

    fn sigmoids(&self, builder: &mut Builder, sums: &[Slot], scale: f64, normalized: bool) -> Result<Vec<Slot>> {
        let sums = scaled(builder, sums, scale)?;
        if normalized {
            return link(builder, LinkKind::Normalize, &sums);
        }
        // A sigmoid gives both probabilities.
        sums.iter().map(|s| link(builder, self.sigmoid(), std::slice::from_ref(s)).map(|both| both[1])).collect()
    }

    /// What the library's own object predicts.
    fn numbers(&self, builder: &mut Builder, sums: Vec<Slot>) -> Result<Vec<Output>> {
        let answers = match self.answer {
            Answer::Sums | Answer::Probabilities => sums.clone(),
            Answer::Exp => link(builder, LinkKind::Exp, &sums)?,
            Answer::Sigmoid { scale } => self.sigmoids(builder, &sums, scale, false)?,
            Answer::Sigmoids { scale, normalized } => self.sigmoids(builder, &sums, scale, normalized)?,
            Answer::Softmax => link(builder, self.softmax(), &sums)?,
            Answer::ArgMax => builder.add(Decide { kind: DecideKind::ArgMax }, &sums)?,
            Answer::Hinge => builder.add(Decide { kind: DecideKind::Threshold(0.0) }, &sums)?,
            Answer::Softplus => link(builder, LinkKind::Softplus, &sums)?,
            Answer::SignedSquare => link(builder, LinkKind::SignedSquare, &sums)?,
            Answer::Isolation { rate, offset } => {
                let exponent = scaled(builder, &sums, rate)?;
                let power = link(builder, LinkKind::Exp, &exponent)?;
                let score = Linear { outputs: 1, weights: vec![-1.0], intercept: vec![-offset] };
                let score = builder.add(score, &power)?;
                // Not below 0: above the greatest number below it.
                let threshold = DecideKind::Threshold(-f64::from_bits(1));
                let class = builder.add(Decide { kind: threshold }, &score)?;
                return Ok(vec![
                    Output::of_class(class[0], Labels::Int(vec![-1, 1])),
                    Output::new(Method::DecisionFunction, score, vec!["score".into()]),
                ]);
            }
        };
        let count = answers.len();
        let mut out = vec![Output::new(Method::Predict, answers.clone(), numbered("prediction", count))];
        if self.scores && answers != sums {
            let count = sums.len();
            out.push(Output::new(Method::DecisionFunction, sums, numbered("score", count)));
        }
        Ok(out)
    }
}
