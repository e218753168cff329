//! Explanations of trees of extreme shape, and refusals.

use corten_core::{Column, Data, Error, Kind, Table};
use corten_model::ops::{LeafModel, Tree, TreeNode, Trees, TreesSpec};
use corten_model::{Builder, Input, Method, Model, Output, Run, Schema};

/// A model of trees over columns `x0`, `x1`, ...
fn model(spec: TreesSpec) -> Model {
    let inputs = (0..spec.features).map(|i| Input { name: format!("x{i}"), kind: Kind::Number, dtype: "f64".into() });
    let mut builder = Builder::new(Schema { named: false, inputs: inputs.collect() });
    let (slots, outputs) = (builder.inputs(), spec.outputs);
    let scores = builder.add(Trees::build(spec).unwrap(), &slots).unwrap();
    let names = (0..outputs).map(|i| format!("prediction_{i}")).collect();
    builder.finish(vec![Output::new(Method::Predict, scores, names)]).unwrap()
}

/// Each node asks for the next column and sends half of its weight to a leaf.
fn chain(depth: u32, features: u32) -> TreesSpec {
    let mut tree = Tree::new(Some(0));
    for level in 0..depth {
        let left = 2 * level + 1;
        let (feature, missing_left) = (level % features, level % 2 == 0);
        // Questions to one column get stricter from level to level.
        let threshold = 0.5 - f64::from(level / features) * 1e-4;
        let node = TreeNode::Number { feature, threshold, missing_left, zero_missing: false, left, right: left + 1 };
        tree.nodes.push(node);
        tree.push_leaf(&[f64::from(level % 7) - 3.0]);
        // The next node comes where the right child is.
        let at = tree.nodes.len() as u32;
        assert_eq!(at, left + 1);
    }
    tree.push_leaf(&[5.0]);
    let weight = |at: usize| 0.5f64.powi(i32::try_from(at.div_ceil(2)).unwrap().min(60));
    tree.cover = (0..tree.nodes.len()).map(weight).collect();
    TreesSpec { trees: vec![tree], ..TreesSpec::new(features, 1) }
}

fn rows(features: u32, count: usize) -> Vec<Vec<f64>> {
    let value = |f: u32, r: usize| match (f as usize * 7 + r * 13) % 11 {
        0 => f64::NAN,
        x => {
            if x > 2 {
                1.0
            } else {
                0.0
            }
        }
    };
    (0..features).map(|f| (0..count).map(|r| value(f, r)).collect()).collect()
}

fn data(columns: &[Vec<f64>]) -> Data<'_> {
    Data::Table(
        Table::matrix(columns.iter().enumerate().map(|(i, c)| Column::f64(format!("x{i}"), &c[..])).collect()).unwrap(),
    )
}

#[test]
fn long_paths_of_many_features_sum_to_the_score() {
    for (depth, features) in [(1, 1), (9, 9), (40, 40), (300, 37), (400, 400)] {
        let model = model(chain(depth, features));
        let columns = rows(features, 19);
        let data = data(&columns);
        let found = model.explain(&data, false, &Run::default()).unwrap();
        let scores = model.run(Method::Predict, &data, &Run::default()).unwrap().numbers;
        for (r, score) in scores.iter().enumerate() {
            let values = &found.values[r * features as usize..][..features as usize];
            let sum = found.base[0] + values.iter().sum::<f64>();
            assert!((sum - score).abs() < 1e-10, "depth {depth}, {features} features: {sum} and {score}");
        }
        let again = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
        let other = again.explain(&data, false, &Run { threads: 3, ..Run::default() }).unwrap();
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&other.values), bits(&other.base)), (bits(&found.values), bits(&found.base)));
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let columns = rows(2, 3);
    let refused = |spec: TreesSpec| model(spec).explain(&data(&columns), false, &Run::default()).unwrap_err();
    let mut spec = chain(3, 2);
    spec.trees[0].cover.clear();
    assert!(matches!(refused(spec), Error::Unsupported(text) if text.contains("how many training rows")));
    let mut spec = chain(3, 2);
    spec.trees[0].models = vec![LeafModel { node: 1, intercept: 1.0, terms: vec![(0, 2.0)] }];
    assert!(matches!(refused(spec), Error::Unsupported(text) if text.contains("linear models")));
    assert!(matches!(refused(chain(16_385, 2)), Error::Limit(text) if text.contains("16384 levels")));
}

#[test]
fn weights_that_nothing_reached_give_finite_values() {
    let mut spec = chain(6, 2);
    spec.trees[0].cover[2..].fill(0.0);
    let model = model(spec);
    let columns = rows(2, 8);
    let found = model.explain(&data(&columns), true, &Run::default()).unwrap();
    assert!(found.values.iter().chain(&found.interactions.unwrap()).all(|x| x.is_finite()));
}
