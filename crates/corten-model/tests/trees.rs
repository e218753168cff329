//! Ensembles of all shapes against a plain walk over raw values, on every road.

use corten_core::random::Stream;
use corten_core::{Column, Data, Kind, Table};
use corten_model::ops::*;
use corten_model::*;

const LEVELS: u32 = 70;
const SPECIALS: [f64; 14] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    1e-36,
    -1e-35,
    1.0,
    -1.0,
    0.1,
    1e300,
    16_777_217.0,
];

/// How a random ensemble is made.
#[derive(Clone, Copy, Debug)]
struct Shape {
    trees: usize,
    inner: usize,
    features: u32,
    outputs: u32,
    vectors: bool,
    categories: bool,
    zeros: bool,
    linear: bool,
    strict: bool,
    narrow: bool,
    average: bool,
    /// Whether leaves have few values in common.
    few: bool,
}

const PLAIN: Shape = Shape {
    trees: 20,
    inner: 30,
    features: 7,
    outputs: 1,
    vectors: false,
    categories: false,
    zeros: false,
    linear: false,
    strict: false,
    narrow: false,
    average: false,
    few: false,
};

fn threshold(random: &mut Stream) -> f64 {
    loop {
        let t = match random.below(4) {
            0 => SPECIALS[random.below(14) as usize],
            1 => f64::from(random.uniform() as f32 - 0.5),
            _ => (random.uniform() - 0.5) * 8.0,
        };
        if !t.is_nan() {
            return t;
        }
    }
}

/// A tree grown by splitting random leaves: short and long paths.
fn tree(shape: &Shape, index: usize, random: &mut Stream) -> Tree {
    let mut out = Tree::new((!shape.vectors).then_some(index as u32 % shape.outputs));
    out.weight = if random.below(2) == 0 { 1.0 } else { 0.3 };
    let mut open = vec![0usize];
    out.nodes.push(TreeNode::Leaf { value: 0 });
    for _ in 0..random.below(shape.inner as u64 + 1) {
        let at = open.swap_remove(random.below(open.len() as u64) as usize);
        let (left, right) = (out.nodes.len() as u32, out.nodes.len() as u32 + 1);
        open.extend([left as usize, right as usize]);
        out.nodes.extend([TreeNode::Leaf { value: 0 }; 2]);
        let mut half = || random.below(2) == 0;
        let (missing_left, unseen_left, zero) = (half(), half(), half());
        out.nodes[at] = if shape.categories && random.below(3) == 0 {
            let first = out.codes.len() as u32;
            out.codes.extend((0..LEVELS).filter(|_| random.below(2) == 0));
            let count = out.codes.len() as u32 - first;
            TreeNode::Category { feature: 0, first, count, levels: LEVELS, missing_left, unseen_left, left, right }
        } else {
            let feature = u32::from(shape.categories) + random.below(u64::from(shape.features - 1)) as u32;
            let threshold = threshold(random);
            TreeNode::Number { feature, threshold, missing_left, zero_missing: shape.zeros && zero, left, right }
        };
    }
    let width = if shape.vectors { shape.outputs as usize } else { 1 };
    for at in open {
        out.nodes[at] = TreeNode::Leaf { value: out.values.len() as u32 };
        let value = |_| if shape.few { 0.3 * random.below(3) as f64 } else { random.uniform() - 0.5 };
        out.values.extend((0..width).map(value));
        if shape.linear && random.below(2) == 0 {
            let terms = (0..random.below(3) as u32).map(|f| (f, random.uniform() - 0.5)).collect();
            out.models.push(LeafModel { node: at as u32, intercept: random.uniform(), terms });
        }
    }
    out
}

fn ensemble(shape: &Shape, random: &mut Stream) -> TreesSpec {
    TreesSpec {
        base: (0..shape.outputs).map(|_| random.uniform()).collect(),
        average: shape.average,
        strict: shape.strict,
        input: if shape.narrow { Precision::F32 } else { Precision::F64 },
        sum: if shape.narrow { Precision::F32 } else { Precision::F64 },
        zero_threshold: if shape.zeros { f64::from(1e-35f32) } else { 0.0 },
        trees: (0..shape.trees).map(|i| tree(shape, i, random)).collect(),
        ..TreesSpec::new(shape.features, shape.outputs)
    }
}

/// The obvious way.
fn reference(spec: &TreesSpec, row: &[f64]) -> Vec<f64> {
    let narrow = spec.sum == Precision::F32;
    let mut sums = spec.base.clone();
    for tree in &spec.trees {
        let mut at = 0;
        let value = loop {
            let left = match tree.nodes[at] {
                TreeNode::Leaf { value } => break value as usize,
                TreeNode::Number { feature, threshold, missing_left, zero_missing, .. } => {
                    let raw = row[feature as usize];
                    let x = if spec.input == Precision::F32 { f64::from(raw as f32) } else { raw };
                    let x = if x.abs() <= spec.zero_threshold { 0.0 } else { x };
                    match x.is_nan() || (zero_missing && x == 0.0) {
                        true => missing_left,
                        false if spec.strict => x < threshold,
                        false => x <= threshold,
                    }
                }
                TreeNode::Category { feature, first, count, missing_left, unseen_left, levels, .. } => {
                    let x = row[feature as usize];
                    let codes = &tree.codes[first as usize..][..count as usize];
                    match x.trunc() {
                        x if x.is_nan() => missing_left,
                        x if x >= 0.0 && x < f64::from(levels) => codes.contains(&(x as u32)),
                        _ => unseen_left,
                    }
                }
            };
            let (TreeNode::Number { left: l, right: r, .. } | TreeNode::Category { left: l, right: r, .. }) =
                tree.nodes[at]
            else {
                unreachable!("a leaf ends the loop")
            };
            at = if left { l } else { r } as usize;
        };
        let model = tree.models.iter().find(|m| m.node as usize == at && !m.terms.is_empty());
        let outputs = tree.output.map_or(0..spec.outputs as usize, |o| o as usize..o as usize + 1);
        for (i, o) in outputs.enumerate() {
            let weight = |v: f64| if narrow { f64::from(v as f32 * tree.weight as f32) } else { v * tree.weight };
            let mut leaf = weight(tree.values[value + i]);
            if let Some(model) = model
                && model.terms.iter().all(|t| !row[t.0 as usize].is_nan())
            {
                let terms = model.terms.iter();
                leaf = terms.fold(model.intercept * tree.weight, |s, t| s + t.1 * tree.weight * row[t.0 as usize]);
            }
            sums[o] = if narrow { f64::from((sums[o] + leaf) as f32) } else { sums[o] + leaf };
        }
    }
    if spec.average && !spec.trees.is_empty() {
        for (k, sum) in sums.iter_mut().enumerate() {
            let adds = |t: &&Tree| t.output.is_none_or(|o| o as usize == k);
            *sum /= spec.trees.iter().filter(adds).count() as f64;
        }
    }
    sums
}

/// Values at thresholds, beside them, and odd ones.
fn rows(spec: &TreesSpec, count: usize, random: &mut Stream) -> Vec<Vec<f64>> {
    let nodes = || spec.trees.iter().flat_map(|t| &t.nodes);
    let thresholds: Vec<f64> = nodes()
        .filter_map(|n| if let TreeNode::Number { threshold, .. } = n { Some(*threshold) } else { None })
        .collect();
    let categories = nodes().any(|n| matches!(n, TreeNode::Category { .. }));
    let mut value = |f: u32| {
        if categories && f == 0 && random.below(4) > 0 {
            return random.uniform() * 80.0 - 3.0;
        }
        match random.below(6) {
            0 => SPECIALS[random.below(14) as usize],
            1..4 if !thresholds.is_empty() => {
                let t = thresholds[random.below(thresholds.len() as u64) as usize];
                [t, t.next_up(), t.next_down()][random.below(3) as usize]
            }
            _ => (random.uniform() - 0.5) * 9.0,
        }
    };
    (0..count).map(|_| (0..spec.features).map(&mut value).collect()).collect()
}

fn model(spec: TreesSpec) -> Model {
    let input = |i: u32| Input { name: format!("x{i}"), kind: Kind::Number, dtype: "f64".into() };
    let outputs = spec.outputs;
    let mut b = Builder::new(Schema { named: false, inputs: (0..spec.features).map(input).collect() });
    let inputs = b.inputs();
    let y = b.add(Trees::build(spec).unwrap(), &inputs).unwrap();
    b.finish(vec![Output::new(Method::Predict, y, (0..outputs).map(|i| format!("y{i}")).collect())]).unwrap()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The model of the trees that a model gives back.
fn restored(built: &Model) -> Model {
    let Some(Op::Trees(trees)) = built.graph().nodes().first().map(|n| &n.op) else { panic!("no trees") };
    model(trees.spec())
}

/// One row, blocks of several sizes, threads, a loaded file and restored trees all give the bits of the obvious way.
fn check(shape: Shape, count: usize, seed: u64) {
    let mut random = Stream::new(seed, 77);
    let spec = ensemble(&shape, &mut random);
    let rows = rows(&spec, count, &mut random);
    let want: Vec<f64> = rows.iter().flat_map(|row| reference(&spec, row)).collect();
    let built = model(spec);
    let loaded = Model::from_bytes(&built.to_bytes().unwrap()).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), built.to_bytes().unwrap());
    let restored = restored(&built);
    for model in [built, loaded, restored] {
        let mut session = model.session();
        let mut single = Vec::new();
        for row in &rows {
            session.numbers_mut().copy_from_slice(row);
            single.extend_from_slice(model.run_row(Method::Predict, &mut session, &[]).unwrap());
        }
        assert_eq!(bits(&single), bits(&want), "single rows, {shape:?}");
        for (size, threads) in [(count, 1), (count, 3), (100, 1), (9, 1), (3, 1)] {
            let mut got = Vec::new();
            for part in rows.chunks(size) {
                let column = |f: usize| part.iter().map(|r| r[f]).collect::<Vec<f64>>();
                let columns = (0..shape.features as usize).map(|f| Column::f64(format!("x{f}"), column(f))).collect();
                let data = Data::Table(Table::matrix(columns).unwrap());
                got.extend(model.run(Method::Predict, &data, &Run { threads, ..Run::default() }).unwrap().numbers);
            }
            assert_eq!(bits(&got), bits(&want), "blocks of {size} on {threads} threads, {shape:?}");
        }
        let columns = (0..shape.features).map(|f| Column::f64(format!("x{f}"), Vec::new())).collect();
        let none = model.run(Method::Predict, &Data::Table(Table::matrix(columns).unwrap()), &Run::default()).unwrap();
        assert!(none.numbers.is_empty());
    }
}

#[test]
fn every_kind_of_ensemble_has_the_bits_of_a_plain_walk() {
    let shapes = [
        PLAIN,
        Shape { average: true, strict: true, ..PLAIN },
        Shape { average: true, outputs: 3, trees: 30, ..PLAIN },
        Shape { narrow: true, strict: true, ..PLAIN },
        Shape { zeros: true, ..PLAIN },
        Shape { categories: true, ..PLAIN },
        Shape { categories: true, zeros: true, narrow: true, outputs: 3, ..PLAIN },
        Shape { outputs: 3, trees: 31, ..PLAIN },
        Shape { outputs: 4, vectors: true, average: true, ..PLAIN },
        Shape { linear: true, outputs: 2, ..PLAIN },
        Shape { trees: 0, ..PLAIN },
        Shape { inner: 0, ..PLAIN },
        // Few columns.
        Shape { features: 3, inner: 63, trees: 50, ..PLAIN },
        Shape { features: 2, narrow: true, strict: true, ..PLAIN },
        Shape { features: 3, categories: true, outputs: 3, average: true, ..PLAIN },
        Shape { features: 2, outputs: 2, vectors: true, zeros: true, ..PLAIN },
    ];
    for (shape, seed) in shapes.into_iter().flat_map(|s| (0..3).map(move |seed| (s, seed))) {
        check(shape, 300, seed);
    }
}

#[test]
fn large_trees_many_thresholds_and_many_features_have_the_bits_of_a_plain_walk() {
    let shapes = [
        Shape { inner: 64, trees: 60, ..PLAIN },
        Shape { inner: 300, trees: 30, ..PLAIN },
        Shape { inner: 300, trees: 30, outputs: 2, categories: true, ..PLAIN },
        Shape { inner: 900, trees: 7, features: 90, ..PLAIN },
        Shape { inner: 900, trees: 30, features: 30, ..PLAIN },
        Shape { inner: 6000, trees: 4, features: 3, ..PLAIN },
    ];
    for (seed, shape) in shapes.into_iter().enumerate() {
        check(shape, 200, seed as u64);
    }
}

#[test]
fn leaves_that_have_few_values_in_common_have_the_bits_of_a_plain_walk() {
    let shapes = [
        Shape { inner: 900, trees: 12, few: true, ..PLAIN },
        Shape { inner: 900, trees: 12, outputs: 3, vectors: true, few: true, ..PLAIN },
        // Built on all cores.
        Shape { inner: 8000, trees: 30, few: true, ..PLAIN },
        Shape { inner: 8000, trees: 30, outputs: 3, few: true, ..PLAIN },
        Shape { inner: 8000, trees: 30, outputs: 3, vectors: true, average: true, few: true, ..PLAIN },
        Shape { inner: 8000, trees: 30, outputs: 2, vectors: true, categories: true, ..PLAIN },
    ];
    for (seed, shape) in shapes.into_iter().enumerate() {
        check(shape, 200, seed as u64);
    }
}

#[test]
fn whole_blocks_have_the_bits_of_a_plain_walk() {
    let shapes = [
        Shape { inner: 62, trees: 12, ..PLAIN },
        Shape { inner: 62, trees: 12, outputs: 3, zeros: true, categories: true, ..PLAIN },
        Shape { inner: 250, trees: 6, categories: true, ..PLAIN },
        Shape { inner: 250, trees: 6, outputs: 2, vectors: true, ..PLAIN },
        Shape { inner: 250, trees: 40, features: 12, ..PLAIN },
        // Few columns.
        Shape { inner: 62, features: 3, trees: 167, ..PLAIN },
        Shape { inner: 62, features: 4, trees: 160, outputs: 3, zeros: true, average: true, ..PLAIN },
        Shape { inner: 62, features: 4, trees: 160, categories: true, strict: true, ..PLAIN },
        Shape { inner: 62, features: 3, narrow: true, ..PLAIN },
    ];
    for (seed, shape) in shapes.into_iter().enumerate() {
        check(shape, 1500, seed as u64);
    }
}
