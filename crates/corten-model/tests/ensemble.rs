//! Several models as one: means, votes, stacks, and what doesn't fit together.

use corten_core::{Data, Kind};
use corten_model::compose::{Member, Rule, ensemble};
use corten_model::ops::{Decide, DecideKind, Linear, Op, PredictionSet, SetScore, WeightedMedian};
use corten_model::{Builder, Input, Labels, Method, Model, Output, Run, Schema};

fn schema(columns: usize) -> Schema {
    let input = |i| Input { name: format!("x{i}"), kind: Kind::Number, dtype: "f64".into() };
    Schema { named: false, inputs: (0..columns).map(input).collect() }
}

/// `slope * x`.
fn line(slope: f64) -> Model {
    let mut builder = Builder::new(schema(1));
    let inputs = builder.inputs();
    let y = builder.add(Linear { outputs: 1, weights: vec![slope], intercept: vec![0.0] }, &inputs).unwrap();
    builder.finish(vec![Output::new(Method::Predict, y, vec!["prediction".into()])]).unwrap()
}

/// The second class above a threshold.
fn step(threshold: f64) -> Model {
    let mut builder = Builder::new(schema(1));
    let inputs = builder.inputs();
    let class = builder.add(Decide { kind: DecideKind::Threshold(threshold) }, &inputs).unwrap();
    builder.finish(vec![Output::of_class(class[0], Labels::Int(vec![0, 1]))]).unwrap()
}

fn member(model: &Model, weight: f64) -> Member<'_> {
    Member { model, columns: vec![0], classes: None, weight }
}

fn run(model: &Model, method: Method, x: &[f64]) -> Vec<f64> {
    let again = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let rows: Vec<f64> = x
        .iter()
        .flat_map(|&x| {
            let mut session = again.session();
            session.numbers_mut()[0] = x;
            again.run_row(method, &mut session, &[]).unwrap().to_vec()
        })
        .collect();
    let column = corten_core::Column::f64("x0", x);
    let table = corten_core::Table::matrix(vec![column]).unwrap();
    let batch = model.run(method, &Data::Table(table), &Run::default()).unwrap();
    assert_eq!(batch.numbers, rows);
    rows
}

#[test]
fn means_are_weighted() {
    let (a, b) = (line(1.0), line(5.0));
    let model = ensemble(&schema(1), &[member(&a, 3.0), member(&b, 1.0)], &Rule::Mean, false).unwrap();
    assert_eq!(run(&model, Method::Predict, &[1.0, -2.0]), [2.0, -4.0]);
}

#[test]
fn the_first_class_of_most_votes_is_predicted() {
    let (a, b, c) = (step(0.0), step(1.0), step(2.0));
    let rule = Rule::Hard(Labels::Int(vec![7, 8]));
    let members = [member(&a, 1.0), member(&b, 1.0), member(&c, 1.0)];
    let model = ensemble(&schema(1), &members, &rule, false).unwrap();
    assert_eq!(run(&model, Method::Predict, &[0.5, 1.5, 2.5]), [0.0, 1.0, 1.0]);
    let tie = ensemble(&schema(1), &members[..2], &rule, false).unwrap();
    assert_eq!(run(&tie, Method::Predict, &[0.5, 1.5]), [0.0, 1.0]);
}

#[test]
fn classes_of_members_find_their_places() {
    let a = step(0.0);
    let rule = Rule::Hard(Labels::Int(vec![5, 6, 7]));
    let of = |classes| Member { classes, ..member(&a, 1.0) };
    let model = ensemble(&schema(1), &[of(Some(vec![2, 1]))], &rule, false).unwrap();
    assert_eq!(run(&model, Method::Predict, &[-1.0, 1.0]), [2.0, 1.0]);
    for classes in [None, Some(vec![0]), Some(vec![0, 3])] {
        assert!(ensemble(&schema(1), &[of(classes)], &rule, false).is_err());
    }
}

#[test]
fn stacks_hand_on_answers_and_columns() {
    let (a, b) = (line(2.0), line(3.0));
    let rule = Rule::Stack(vec![(Method::Predict, false), (Method::Predict, false)]);
    let model = ensemble(&schema(1), &[member(&a, 1.0), member(&b, 1.0)], &rule, true).unwrap();
    assert_eq!(run(&model, Method::Transform, &[1.0]), [2.0, 3.0, 1.0]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (a, b) = (line(1.0), step(0.0));
    let mean = |members: &[Member<'_>]| ensemble(&schema(1), members, &Rule::Mean, false).is_err();
    assert!(mean(&[]));
    assert!(mean(&[member(&a, 0.0)]));
    assert!(mean(&[member(&a, -1.0), member(&a, 2.0)]));
    assert!(mean(&[member(&a, 1.0), member(&b, 1.0)]));
    assert!(mean(&[Member { columns: vec![1], ..member(&a, 1.0) }]));
    assert!(ensemble(&schema(1), &[member(&a, 1.0)], &Rule::Soft(Labels::Int(vec![0, 1])), false).is_err());
}

#[test]
fn not_a_number_is_above_all_numbers_whatever_its_sign() {
    let answers = |op: Op, x: [f64; 3]| {
        let mut builder = Builder::new(schema(3));
        let inputs = builder.inputs();
        let y = builder.add(op, &inputs).unwrap();
        let names = (0..y.len()).map(|i| format!("y{i}")).collect();
        let model = builder.finish(vec![Output::new(Method::Transform, y, names)]).unwrap();
        let mut session = model.session();
        session.numbers_mut().copy_from_slice(&x);
        model.run_row(Method::Transform, &mut session, &[]).unwrap().to_vec()
    };
    let set = PredictionSet { score: SetScore::Aps, threshold: 0.9 };
    for nan in [f64::NAN, -f64::NAN] {
        for (weights, median) in [([1.0, 1.0, 1.0], 7.0), ([5.0, 1.0, 1.0], f64::NAN)] {
            let found = answers(WeightedMedian { weights: weights.to_vec() }.into(), [nan, -3.0, 7.0])[0];
            assert!(found == median || found.is_nan() && median.is_nan());
        }
        assert_eq!(answers(set.clone().into(), [0.3, nan, 0.7]), [0.0, 1.0, 0.0]);
    }
}
