//! A fitted state as text and back: what a fit goes on from, also after it was pickled.

use std::time::Instant;

use corten_core::{Error, Result};
use corten_model::Labels;
use corten_model::estimator::Fitted;
use corten_model::ops::CategoryValues;
use serde::{Deserialize, Serialize};

use super::binning::{Bins, Features, MOST};
use super::fitted::Boosted;
use super::fitting::boosted;
use super::grower::{Grown, GrownTree};
use super::objective::Objective;
use super::split::Left;
use super::train::Trained;

/// Longest text.
const LONGEST: usize = 1 << 30;
/// Most scores of a row.
const SCORES: usize = 1 << 16;

#[derive(Serialize, Deserialize)]
struct State {
    objective: Objective,
    labels: Option<Labels>,
    width: usize,
    features: Features,
    trained: Trained,
    early_stopping: bool,
    seconds: f64,
}

impl Boosted {
    /// The state as text.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        let state = State {
            objective: self.objective.clone(),
            labels: self.labels.clone(),
            width: self.gains.len(),
            features: self.features.clone(),
            trained: self.trained.clone(),
            early_stopping: self.early_stopping,
            seconds: self.seconds,
        };
        serde_json::to_vec(&state).ok()
    }
}

/// Reads what [`Boosted::write`] wrote.
///
/// # Errors
/// [`Error::Format`] for anything else: all of it is checked before any of it is used.
pub(crate) fn read(bytes: &[u8]) -> Result<Box<dyn Fitted>> {
    if bytes.len() > LONGEST {
        return Err(Error::Limit(format!("a fitted state of more than {LONGEST} bytes")));
    }
    let state: State = serde_json::from_slice(bytes).map_err(|e| wrong(&format!("it can't be read ({e})")))?;
    state.check()?;
    let State { objective, labels, width, features, trained, early_stopping, seconds } = state;
    let fitted = boosted(objective, labels, width, features, trained, early_stopping, Instant::now());
    Ok(Box::new(Boosted { seconds, ..fitted }))
}

fn wrong(problem: &str) -> Error {
    Error::Format(format!("this is no fitted state of boosted trees: {problem}"))
}

fn hold(condition: bool, problem: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(wrong(problem)) }
}

fn ascends(cuts: &[f64]) -> bool {
    cuts.len() < MOST && cuts.iter().all(|c| c.is_finite()) && cuts.windows(2).all(|w| w[0] < w[1])
}

fn are_ordered(values: &CategoryValues) -> bool {
    match values {
        CategoryValues::Numbers(v) => v.iter().all(|x| !x.is_nan()) && v.windows(2).all(|w| w[0] < w[1]),
        CategoryValues::Texts(v) => v.iter().is_sorted_by(|a, b| a < b),
    }
}

impl State {
    fn check(&self) -> Result<()> {
        let Features { bins, sources } = &self.features;
        let width = self.width;
        hold(width > 0 && bins.len() >= width && bins.len() == sources.len(), "its columns don't fit each other")?;
        hold(sources[..width].iter().enumerate().all(|(i, &s)| i == s), "its columns are out of order")?;
        hold(sources.iter().all(|&s| s < width), "it names a column that isn't there")?;
        for bins in bins {
            let fine = match bins {
                Bins::Number { cuts } => ascends(cuts),
                Bins::Category { values } => values.len() <= MOST && are_ordered(values),
                Bins::Coded(coded) => {
                    let codes = &coded.codes;
                    ascends(&coded.cuts) && are_ordered(&coded.values) && codes.len() == coded.values.len()
                }
            };
            hold(fine, "the bins of a column don't ascend")?;
        }
        let outputs = self.objective.outputs();
        hold((1..=SCORES).contains(&outputs), "it has no scores, or too many")?;
        hold(self.trained.baseline.len() == outputs, "its first scores are too many or too few")?;
        let classes = self.labels.as_ref().map(Labels::len);
        hold(classes.is_none_or(|c| c == outputs.max(2)), "its classes don't fit its scores")?;
        let iterations = &self.trained.iterations;
        hold(iterations.iter().all(|trees| trees.len() == outputs), "a round has too many trees or too few")?;
        let members = &self.trained.members;
        let rounds = members.iter().try_fold(0usize, |sum, member| sum.checked_add(member.rounds));
        hold(rounds.is_some_and(|r| r <= iterations.len()), "its models have more rounds than there are")?;
        let started = members.iter().all(|m| m.baseline.len() == outputs && m.learning_rate.is_finite());
        hold(started, "a model of it has other first scores")?;
        let weights = self.trained.weights.len();
        hold(weights == 0 || weights == iterations.len(), "it has weights of other rounds")?;
        iterations.iter().flatten().try_for_each(|tree| self.check_tree(tree))
    }

    fn check_tree(&self, tree: &GrownTree) -> Result<()> {
        let (nodes, bins) = (&tree.nodes, &self.features.bins);
        hold(!nodes.is_empty() && tree.rows.len() == nodes.len(), "a tree's nodes and rows don't fit")?;
        hold(tree.models.is_empty() || tree.models.len() == nodes.len(), "a tree has models of other leaves")?;
        for (at, node) in nodes.iter().enumerate() {
            let Grown::Split { split, left, right } = node else { continue };
            let below = |child: u32| child as usize > at && (child as usize) < nodes.len();
            hold(below(*left) && below(*right), "a node's children don't come after it")?;
            let bins = bins.get(split.feature()).ok_or_else(|| wrong("a node splits a column that isn't there"))?;
            let fits = match (&split.left, bins) {
                (Left::UpTo(last), bins) => bins.cuts().is_some() && usize::from(*last) < bins.count(),
                (Left::Set(_), bins) => matches!(bins, Bins::Category { .. }),
            };
            hold(fits, "a node splits a column by what it isn't")?;
        }
        let width = self.features.width();
        let plain = |c: u32| (c as usize) < width && matches!(bins[c as usize], Bins::Number { .. });
        let known = tree.models.iter().flatten().all(|m| m.terms.iter().all(|t| plain(t.0)));
        hold(known, "a leaf's model is of a column that holds no numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boosting::split::Branch;
    use serde_json::{Value, json};

    fn state() -> Boosted {
        let split = Branch::new(0, 2.0, Left::UpTo(0), true, false);
        let tree = GrownTree {
            nodes: vec![
                Grown::Split { split, left: 1, right: 2 },
                Grown::Leaf { value: 0.1 },
                Grown::Leaf { value: -0.3 },
            ],
            rows: vec![5, 2, 3],
            models: Vec::new(),
        };
        let values = CategoryValues::Texts(vec!["a", "b"].into());
        let features = Features {
            bins: vec![Bins::Number { cuts: vec![0.1, 1e300] }, Bins::Category { values }],
            sources: vec![0, 1],
        };
        let trained = Trained { baseline: vec![1.0 / 3.0], iterations: vec![vec![tree]], ..Trained::default() };
        boosted(Objective::Huber(0.7), None, 2, features, trained, false, Instant::now())
    }

    #[test]
    fn a_state_comes_back_bit_by_bit() {
        let before = state();
        let after = read(&before.write().unwrap()).unwrap();
        let after = after.as_any().downcast_ref::<Boosted>().unwrap();
        assert_eq!((&after.trained, &after.objective), (&before.trained, &before.objective));
        assert_eq!((&after.gains, after.seconds.to_bits()), (&before.gains, before.seconds.to_bits()));
    }

    #[test]
    fn a_state_that_would_lead_astray_is_refused() {
        let fine: Value = serde_json::from_slice(&state().write().unwrap()).unwrap();
        assert!(read(fine.to_string().as_bytes()).is_ok());
        for (place, value) in [
            ("/width", json!(3)),
            ("/width", json!(0)),
            ("/features/sources", json!([1, 0])),
            ("/features/sources", json!([0])),
            ("/features/bins/0/Number/cuts", json!([2.0, 1.0])),
            ("/features/bins/1/Category/values/Texts", json!(["b", "a"])),
            ("/trained/baseline", json!([])),
            ("/trained/weights", json!([1.0, 2.0])),
            ("/trained/iterations/0", json!([])),
            ("/trained/members", json!([{"rounds": 2, "learning_rate": 0.1, "baseline": [0.0]}])),
            ("/trained/members", json!([{"rounds": 1, "learning_rate": 0.1, "baseline": []}])),
            ("/trained/iterations/0/0/rows", json!([1])),
            ("/trained/iterations/0/0/nodes/0/Split/left", json!(0)),
            ("/trained/iterations/0/0/nodes/0/Split/right", json!(3)),
            ("/trained/iterations/0/0/nodes/0/Split/split/feature", json!(1)),
            ("/trained/iterations/0/0/nodes/0/Split/split/feature", json!(7)),
            ("/trained/iterations/0/0/nodes/0/Split/split/left", json!({"UpTo": 3})),
            ("/trained/iterations/0/0/models", json!([null])),
            ("/objective", json!({"Outside": 0})),
            ("/objective", json!({"Expression": "y +"})),
            ("/labels", json!({"int": [1, 2, 3]})),
        ] {
            let mut bad = fine.clone();
            *bad.pointer_mut(place).unwrap() = value;
            let outcome = read(bad.to_string().as_bytes());
            assert!(matches!(outcome, Err(Error::Format(_))), "{place}");
        }
        assert!(read(b"[]").is_err());
    }
}
