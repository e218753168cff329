//! Graphs built by hand: both roads give the same bits, files come back as they were, damage is refused.

use corten_core::random::Stream;
use corten_core::{Column, Data, Error, Kind, Table, Text};
use corten_model::ops::*;
use corten_model::*;

fn schema() -> Schema {
    let input = |name: &str, kind| Input { name: name.into(), kind, dtype: "f64".into() };
    Schema { named: true, inputs: vec![input("a", Kind::Number), input("city", Kind::Text), input("b", Kind::Number)] }
}

/// Impute and scale two numbers, one-hot a text, linear, sigmoid, decide.
fn linear_model() -> Model {
    let mut b = Builder::new(schema());
    let inputs = b.inputs();
    let filled = b.add(Impute { missing: f64::NAN, fill: vec![0.5, -1.0] }, &[inputs[0], inputs[2]]).unwrap();
    let scaled = b
        .add(Scale { subtract: Some(vec![0.1, 0.2]), divide: Some(vec![1.5, 3.0]), ..Scale::default() }, &filled)
        .unwrap();
    let category = Category::new(vec![CategoryColumn {
        name: "city".into(),
        values: CategoryValues::Texts(vec!["Bergen", "Oslo", "Trondheim"].into()),
        codes: None,
        missing: Rule::Code(f64::NAN),
        unknown: Rule::Error,
    }]);
    let codes = b.add(category, &[inputs[1]]).unwrap();
    let hot = b.add(OneHot { widths: vec![3] }, &codes).unwrap();
    let all: Vec<Slot> = scaled.iter().chain(&hot).copied().collect();
    let linear = Linear { outputs: 1, weights: vec![0.7, -0.3, 0.1, 0.2, -0.9], intercept: vec![0.05] };
    let score = b.add(linear, &all).unwrap();
    let probabilities = b.add(Link { kind: LinkKind::Sigmoid }, &score).unwrap();
    let class = b.add(Decide { kind: DecideKind::Threshold(0.0) }, &score).unwrap();
    let labels = Labels::Text(vec!["no".into(), "yes".into()]);
    b.finish(vec![
        Output::of_class(class[0], labels.clone()),
        Output::of_probabilities(probabilities, labels),
        Output::new(Method::DecisionFunction, score, vec!["score".into()]),
        Output::new(Method::Transform, vec![inputs[1], all[0]], vec!["city".into(), "a".into()]),
    ])
    .unwrap()
}

fn trees_model() -> Model {
    let mut b = Builder::new(schema());
    let inputs = b.inputs();
    let category = Category::new(vec![CategoryColumn {
        name: "city".into(),
        values: CategoryValues::Texts((0..40).map(|i| format!("c{i}")).collect()),
        codes: None,
        missing: Rule::Code(f64::NAN),
        unknown: Rule::Code(-1.0),
    }]);
    let code = b.add(category, &[inputs[1]]).unwrap();
    let mut random = Stream::new(1, 0);
    let mut trees = Vec::new();
    for _ in 0..21 {
        let mut tree = Tree::new(Some(0));
        // A full tree of three levels: node i has children 2i + 1 and 2i + 2.
        for i in 0..7u32 {
            let (left, right) = (2 * i + 1, 2 * i + 2);
            let node = if random.below(3) == 0 {
                let first = tree.codes.len() as u32;
                tree.codes.extend((0..40).filter(|_| random.below(2) == 0));
                TreeNode::Category {
                    feature: 2,
                    first,
                    count: tree.codes.len() as u32 - first,
                    levels: 40,
                    missing_left: random.below(2) == 0,
                    unseen_left: random.below(2) == 0,
                    left,
                    right,
                }
            } else {
                TreeNode::Number {
                    feature: random.below(2) as u32,
                    threshold: (random.uniform() * 8.0).round() / 4.0 - 1.0,
                    missing_left: random.below(2) == 0,
                    zero_missing: false,
                    left,
                    right,
                }
            };
            tree.nodes.push(node);
        }
        for _ in 0..8 {
            tree.push_leaf(&[random.uniform() - 0.5]);
        }
        trees.push(tree);
    }
    let spec = TreesSpec { base: vec![0.25], trees, ..TreesSpec::new(3, 1) };
    let score = b.add(Trees::build(spec).unwrap(), &[inputs[0], inputs[2], code[0]]).unwrap();
    let mut model = b.finish(vec![Output::new(Method::Predict, score, vec!["y".into()])]).unwrap();
    model.metadata_mut().insert("note".into(), "kept".into());
    model
}

/// Rows with missing values, values on thresholds and categories that no model knows (beyond `known`).
fn table(rows: usize, known: usize, prefix: &str) -> (Vec<f64>, Vec<f64>, Vec<Option<String>>) {
    let mut random = Stream::new(9, 3);
    let number = |r: &mut Stream| match r.below(8) {
        0 => f64::NAN,
        1 => (r.uniform() * 8.0).round() / 4.0 - 1.0,
        _ => r.uniform() * 4.0 - 2.0,
    };
    let a = (0..rows).map(|_| number(&mut random)).collect();
    let b = (0..rows).map(|_| number(&mut random)).collect();
    let names = ["Bergen", "Oslo", "Trondheim"];
    let city = (0..rows)
        .map(|_| match random.below(known as u64 + 1) as usize {
            i if i == known => None,
            i if prefix.is_empty() => Some(names[i].to_string()),
            i => Some(format!("{prefix}{i}")),
        })
        .collect();
    (a, b, city)
}

fn check_roads(model: &Model, method: Method, rows: &(Vec<f64>, Vec<f64>, Vec<Option<String>>)) {
    let (a, b, city) = rows;
    // Columns in another order than the model's.
    let data = Data::Table(
        Table::named(vec![
            Column::text("city", Text::from_options(city.iter().map(Option::as_deref))),
            Column::f64("b", b.clone()),
            Column::f64("a", a.clone()),
        ])
        .unwrap(),
    );
    let whole = model.run(method, &data, &Run::default()).unwrap();
    let threaded = model.run(method, &data, &Run { threads: 3, ..Run::default() }).unwrap();
    assert_eq!(bits(&whole.numbers), bits(&threaded.numbers));
    let mut session = model.session();
    for r in 0..a.len() {
        session.numbers_mut().copy_from_slice(&[a[r], b[r]]);
        let out = model.run_row(method, &mut session, &[city[r].as_deref().map(str::as_bytes)]).unwrap();
        assert_eq!(bits(out), bits(&whole.numbers[r * whole.width..][..whole.width]), "row {r}");
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn rows_blocks_and_threads_give_the_same_bits() {
    for method in [Method::PredictProba, Method::DecisionFunction, Method::Predict] {
        check_roads(&linear_model(), method, &table(1500, 3, ""));
    }
    check_roads(&trees_model(), Method::Predict, &table(1500, 43, "c"));
}

#[test]
fn coded_trees_equal_a_plain_walk_over_raw_values() {
    let mut random = Stream::new(5, 5);
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, f64::MIN_POSITIVE, 1e300];
    let thresholds = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f64::MIN_POSITIVE, f64::INFINITY];
    for _ in 0..200 {
        let mut nodes: Vec<TreeNode> = (0..3u32)
            .map(|i| TreeNode::Number {
                feature: random.below(2) as u32,
                threshold: thresholds[random.below(7) as usize],
                missing_left: random.below(2) == 0,
                zero_missing: false,
                left: 2 * i + 1,
                right: 2 * i + 2,
            })
            .collect();
        nodes.extend((0..4).map(|value| TreeNode::Leaf { value }));
        let tree = Tree { nodes: nodes.clone(), values: vec![0.0, 1.0, 2.0, 3.0], ..Tree::new(Some(0)) };
        let spec = TreesSpec { trees: vec![tree], ..TreesSpec::new(2, 1) };
        let input = |name: &str| Input { name: name.into(), kind: Kind::Number, dtype: "f64".into() };
        let mut b = Builder::new(Schema { named: false, inputs: vec![input("x0"), input("x1")] });
        let inputs = b.inputs();
        let y = b.add(Trees::build(spec).unwrap(), &inputs).unwrap();
        let model = b.finish(vec![Output::new(Method::Predict, y, vec!["y".into()])]).unwrap();
        let mut session = model.session();
        for _ in 0..40 {
            let x = [specials[random.below(8) as usize], specials[random.below(8) as usize]];
            let mut at = 0usize;
            let want = loop {
                match &nodes[at] {
                    TreeNode::Number { feature, threshold, missing_left, left, right, .. } => {
                        let v = x[*feature as usize];
                        let goes_left = if v.is_nan() { *missing_left } else { v <= *threshold };
                        at = if goes_left { *left } else { *right } as usize;
                    }
                    TreeNode::Leaf { value } => break f64::from(*value),
                    TreeNode::Category { .. } => unreachable!("none was made"),
                }
            };
            session.numbers_mut().copy_from_slice(&x);
            assert_eq!(model.run_row(Method::Predict, &mut session, &[]).unwrap(), [want], "{x:?} {nodes:?}");
        }
    }
}

#[test]
fn a_file_comes_back_as_it_was_and_is_the_same_each_time() {
    for model in [linear_model(), trees_model()] {
        let bytes = model.to_bytes().unwrap();
        let again = Model::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes);
        assert_eq!(again.metadata(), model.metadata());
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!((header + 8) % 64, 0, "tensors start on a cache line");
    }
    let again = Model::from_bytes(&trees_model().to_bytes().unwrap()).unwrap();
    check_roads(&again, Method::Predict, &table(300, 43, "c"));
}

#[test]
fn an_unknown_category_and_a_missing_column_are_named() {
    let model = linear_model();
    let mut session = model.session();
    let error = model.run_row(Method::Predict, &mut session, &[Some(b"Rome")]).unwrap_err().to_string();
    assert!(error.contains("'city'") && error.contains("'Rome'") && error.contains("'Oslo'"), "{error}");
    let data = Data::Table(Table::named(vec![Column::f64("a", vec![1.0]), Column::f64("b", vec![1.0])]).unwrap());
    let error = model.run(Method::Predict, &data, &Run::default()).unwrap_err();
    assert!(matches!(&error, Error::MissingColumn { column, .. } if column == "city"), "{error}");
    let wrong = Table::named(vec![
        Column::f64("a", vec![1.0]),
        Column::text("b", Text::from_options([Some("x")])),
        Column::text("city", Text::from_options([Some("Oslo")])),
    ]);
    let error = model.run(Method::Predict, &Data::Table(wrong.unwrap()), &Run::default()).unwrap_err().to_string();
    assert!(error.contains("'b'") && error.contains("text"), "{error}");
}

#[test]
fn a_text_output_passes_through() {
    let data = Data::Table(
        Table::named(vec![
            Column::f64("a", vec![1.0, 2.0]),
            Column::f64("b", vec![1.0, 2.0]),
            Column::text("city", Text::from_options([Some("Oslo"), None])),
        ])
        .unwrap(),
    );
    let batch = linear_model().run(Method::Transform, &data, &Run::default()).unwrap();
    assert_eq!(batch.texts, [vec![Some("Oslo".to_string()), None]]);
    assert_eq!((batch.width, batch.numbers.len()), (1, 2));
}

#[test]
fn a_graph_on_top_of_another_runs_both() {
    let input = |name: &str| Input { name: name.into(), kind: Kind::Number, dtype: "f64".into() };
    let mut first = Builder::new(Schema { named: true, inputs: vec![input("a")] });
    let inputs = first.inputs();
    let y = first.add(Scale { add: Some(vec![1.0]), ..Scale::default() }, &inputs).unwrap();
    let first = first.finish(vec![Output::new(Method::Transform, y, vec!["a".into()])]).unwrap();
    let mut chain = Builder::new(first.schema().clone());
    let mut slots = chain.inputs();
    for _ in 0..3 {
        let outputs = chain.inline(first.graph(), &slots).unwrap();
        slots.clone_from(&outputs[0].columns);
    }
    let model = chain.finish(vec![Output::new(Method::Transform, slots, vec!["a".into()])]).unwrap();
    let mut session = model.session();
    session.numbers_mut()[0] = 1.0;
    assert_eq!(model.run_row(Method::Transform, &mut session, &[]).unwrap(), [4.0]);
}

#[test]
fn an_operator_behind_others_names_the_column_that_came_in() {
    let input = |name: &str, kind| Input { name: name.into(), kind, dtype: "f64".into() };
    let mut last = Builder::new(Schema {
        named: false,
        inputs: vec![input("x0", Kind::Number), input("x1", Kind::Number), input("x2", Kind::Number)],
    });
    let inputs = last.inputs();
    let names = ["x0", "x1", "x2"].map(String::from).to_vec();
    let y = last.add(CheckFinite { allow_nan: false, names: names.clone() }, &inputs).unwrap();
    let last = last.finish(vec![Output::new(Method::Transform, y, names)]).unwrap();

    let mut b = Builder::new(schema());
    let inputs = b.inputs();
    let scaled = b.add(Scale { add: Some(vec![1.0]), ..Scale::default() }, &[inputs[2]]).unwrap();
    let both =
        b.add(Linear { outputs: 1, weights: vec![1.0, 1.0], intercept: vec![0.0] }, &[inputs[0], inputs[2]]).unwrap();
    let outputs = b.inline(last.graph(), &[scaled[0], inputs[0], both[0]]).unwrap();
    let model = b.finish(outputs).unwrap();
    for (row, named) in [([0.0, f64::NAN], "'b'"), ([f64::INFINITY, 0.0], "'a'"), ([1e308, 1e308], "'x2'")] {
        let mut session = model.session();
        session.numbers_mut().copy_from_slice(&row);
        let error = model.run_row(Method::Transform, &mut session, &[None]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("Column {named}: ")), "{error}");
    }
}

#[test]
fn state_advances_row_by_row_and_survives_the_file() {
    let input = |name: &str, kind| Input { name: name.into(), kind, dtype: "f64".into() };
    let mut b = Builder::new(Schema { named: true, inputs: vec![input("k", Kind::Text), input("v", Kind::Number)] });
    let inputs = b.inputs();
    let y = b.add(RunningMoments::new(1), &inputs).unwrap();
    let names = ["count", "mean", "variance"].map(String::from).to_vec();
    let mut model = b.finish(vec![Output::new(Method::Transform, y, names)]).unwrap();
    let data = |keys: &[&str], values: &[f64]| {
        Data::Table(
            Table::named(vec![
                Column::text("k", Text::from_options(keys.iter().map(|k| Some(*k)))),
                Column::f64("v", values.to_vec()),
            ])
            .unwrap(),
        )
    };
    let first = model.update(&data(&["a", "b", "a"], &[1.0, 10.0, 3.0])).unwrap();
    assert_eq!(first.numbers, [1.0, 1.0, 0.0, 1.0, 10.0, 0.0, 2.0, 2.0, 1.0]);
    let mut model = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let next = model.update(&data(&["a"], &[5.0])).unwrap();
    assert_eq!(next.numbers, [3.0, 3.0, 8.0 / 3.0]);
    let seen = model.run(Method::Transform, &data(&["a", "z"], &[0.0, 0.0]), &Run::default()).unwrap();
    assert_eq!(seen.numbers[..3], [3.0, 3.0, 8.0 / 3.0]);
    assert!(seen.numbers[3] == 0.0 && seen.numbers[4].is_nan());
}

#[test]
fn a_newer_format_says_so() {
    let bytes = linear_model().to_bytes().unwrap();
    let text = String::from_utf8_lossy(&bytes).replace("{\\\"format\\\":1,", "{\\\"format\\\":9,");
    let error = Model::from_bytes(&bytes_of(&bytes, &text)).unwrap_err();
    assert_eq!(error, Error::Version { found: 9, newest: 1 });
}

/// The original with the header's text replaced by an equally long one.
fn bytes_of(bytes: &[u8], text: &str) -> Vec<u8> {
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut out = bytes.to_vec();
    let at = text.find("{\\\"format\\\"").unwrap();
    let original = bytes.windows(12).position(|w| w == b"{\\\"format\\\":").unwrap();
    assert!(original < head);
    out[original..original + 13].copy_from_slice(&text.as_bytes()[at..at + 13]);
    out
}

#[test]
fn damaged_files_are_refused_or_scored_and_never_panic() {
    let mut random = Stream::new(11, 0);
    for model in [linear_model(), trees_model()] {
        let bytes = model.to_bytes().unwrap();
        let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (mut refused, rounds) = (0, 3000);
        for _ in 0..rounds {
            let mut damaged = bytes.clone();
            match random.below(5) {
                0 => damaged[8 + random.below(head as u64 - 8) as usize] = random.below(256) as u8,
                1 => damaged[head + random.below((bytes.len() - head) as u64) as usize] ^= 1 << random.below(8),
                2 => damaged.truncate(random.below(bytes.len() as u64) as usize),
                3 => {
                    let digits: Vec<usize> = (8..head).filter(|&i| damaged[i].is_ascii_digit()).collect();
                    damaged[digits[random.below(digits.len() as u64) as usize]] = b'0' + random.below(10) as u8;
                }
                _ => damaged[..8].copy_from_slice(&random.next_bits().to_le_bytes()),
            }
            match Model::from_bytes(&damaged) {
                Err(_) => refused += 1,
                Ok(model) => {
                    for method in model.methods() {
                        let mut session = model.session();
                        let texts = vec![None; model.schema().counts().1];
                        let _ = model.run_row(method, &mut session, &texts);
                    }
                }
            }
        }
        assert!(refused > rounds / 2, "only {refused} of {rounds} were refused");
    }
}

#[test]
fn trees_that_do_not_fit_are_refused() {
    let leaf = || TreeNode::Leaf { value: 0 };
    let node = |left, right| TreeNode::Number {
        feature: 0,
        threshold: 0.0,
        missing_left: true,
        zero_missing: false,
        left,
        right,
    };
    let build = |nodes: Vec<TreeNode>| {
        let tree = Tree { nodes, values: vec![1.0], ..Tree::new(Some(0)) };
        Trees::build(TreesSpec { trees: vec![tree], ..TreesSpec::new(1, 1) })
    };
    assert!(build(vec![node(1, 2), leaf(), leaf()]).is_ok());
    assert!(build(vec![node(0, 2), leaf(), leaf()]).is_err(), "a loop");
    assert!(build(vec![node(1, 3), leaf(), leaf()]).is_err(), "a child beyond the tree");
    assert!(build(vec![node(1, 1), leaf(), leaf()]).is_ok_and(|t| t.len() == 1), "a shared leaf is copied");
    assert!(build(vec![node(2, 3), leaf(), leaf(), leaf()]).is_ok(), "a node that nothing leads to is left out");
    assert!(build(vec![TreeNode::Leaf { value: 1 }]).is_err(), "a leaf without a value");
}

#[test]
fn a_check_behind_other_steps_names_the_columns_of_the_table() {
    let numbers = |names: [&str; 2]| Schema {
        named: true,
        inputs: names.map(|n| Input { name: n.into(), kind: Kind::Number, dtype: "f64".into() }).to_vec(),
    };
    let mut first = Builder::new(numbers(["width", "height"]));
    let inputs = first.inputs();
    // The columns change places, as parts of a table do side by side.
    let swapped =
        first.add(Scale { subtract: Some(vec![1.0, 2.0]), ..Scale::default() }, &[inputs[1], inputs[0]]).unwrap();
    let first = first.finish(vec![Output::new(Method::Transform, swapped, vec!["0".into(), "1".into()])]).unwrap();
    let mut last = Builder::new(numbers(["x0", "x1"]));
    let inputs = last.inputs();
    let check = CheckFinite { allow_nan: false, names: vec!["x0".into(), "x1".into()] };
    let checked = last.add(check, &inputs).unwrap();
    let sum = Linear { outputs: 1, weights: vec![1.0, 1.0], intercept: vec![0.0] };
    let sum = last.add(sum, &checked).unwrap();
    let last = last.finish(vec![Output::new(Method::Predict, sum, vec!["sum".into()])]).unwrap();
    let model = compose::chain(&[&first, &last]).unwrap();
    let mut session = model.session();
    for (row, name) in [([f64::NAN, 1.0], "'width'"), ([1.0, f64::INFINITY], "'height'")] {
        session.numbers_mut().copy_from_slice(&row);
        let error = model.run_row(Method::Predict, &mut session, &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
