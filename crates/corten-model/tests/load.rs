//! Loading takes little more memory than the model, and refuses what is damaged wherever that lies.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corten_core::random::Stream;
use corten_core::{Error, Kind, Result};
use corten_model::ops::{Category, CategoryColumn, CategoryValues, Rule, Tree, TreeNode, Trees, TreesSpec};
use corten_model::{Builder, Input, Method, Model, Output, Schema};

#[path = "golden/counting.rs"]
mod counting;

use counting::{HELD, PEAK};

/// Measures nothing beside another test.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `make` gives, and the most memory that it took meanwhile.
fn peak_of<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let made = make();
    (made, PEAK.load(Ordering::Relaxed) - before)
}

/// A model file that goes with its value.
struct File(PathBuf);

impl File {
    fn of(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("corten-load-{}-{name}.corten", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn load(&self) -> Result<Model> {
        Model::load(&self.0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn schema(columns: usize, kind: Kind) -> Schema {
    let input = |i| Input { name: format!("x{i}"), kind, dtype: "f64".into() };
    Schema { named: false, inputs: (0..columns).map(input).collect() }
}

/// Full trees whose thresholds and leaves are drawn, with counts of rows.
fn forest(trees: usize, depth: u32) -> Model {
    const FEATURES: u64 = 10;
    let mut random = Stream::new(3, 0);
    let mut spec = TreesSpec::new(FEATURES as u32, 1);
    spec.average = true;
    for _ in 0..trees {
        let mut tree = Tree::new(Some(0));
        let inner = (1u32 << depth) - 1;
        for at in 0..2 * inner + 1 {
            tree.cover.push(f64::from(1u32 << (depth - (at + 1).ilog2())));
            if at >= inner {
                tree.push_leaf(&[random.below(1 << 40) as f64]);
                continue;
            }
            tree.nodes.push(TreeNode::Number {
                feature: random.below(FEATURES) as u32,
                threshold: random.below(30_000) as f64 / 64.0,
                missing_left: true,
                zero_missing: false,
                left: 2 * at + 1,
                right: 2 * at + 2,
            });
        }
        spec.trees.push(tree);
    }
    let mut builder = Builder::new(schema(FEATURES as usize, Kind::Number));
    let inputs = builder.inputs();
    let y = builder.add(Trees::build(spec).unwrap(), &inputs).unwrap();
    builder.finish(vec![Output::new(Method::Predict, y, vec!["prediction".into()])]).unwrap()
}

fn encoder(texts: usize) -> Model {
    let values = (0..texts).map(|i| format!("user{:06}", i * 7 % 1_000_003)).collect();
    let column = CategoryColumn {
        name: "user".into(),
        values: CategoryValues::Texts(values),
        codes: None,
        missing: Rule::Error,
        unknown: Rule::Code(-1.0),
    };
    let mut builder = Builder::new(schema(1, Kind::Text));
    let inputs = builder.inputs();
    let codes = builder.add(Category::new(vec![column]), &inputs).unwrap();
    builder.finish(vec![Output::new(Method::Transform, codes, vec!["code".into()])]).unwrap()
}

/// Loads from a file and from memory, and answers a row: neither may take more than `most` for each byte of the file.
fn takes_at_most(most: f64, name: &str, make: impl FnOnce() -> Model, answer: fn(&Model) -> f64) {
    let _alone = alone();
    let model = make();
    let wanted = answer(&model);
    let bytes = model.to_bytes().unwrap();
    drop(model);
    let file = File::of(name, &bytes);
    for way in ["a file", "memory"] {
        let read = || if way == "memory" { Model::from_bytes(&bytes) } else { file.load() };
        let ((model, given), peak) = peak_of(|| {
            let model = read().unwrap();
            let given = answer(&model);
            (model, given)
        });
        assert_eq!(given.to_bits(), wanted.to_bits());
        let ratio = peak as f64 / bytes.len() as f64;
        assert!(ratio <= most, "{name} of {} bytes from {way}: {peak} bytes, {ratio:.3} of it", bytes.len());
        assert!(model.to_bytes().unwrap() == bytes, "the same bytes again");
    }
}

fn predict(model: &Model) -> f64 {
    let mut session = model.session();
    session.numbers_mut().iter_mut().zip(0..).for_each(|(x, i)| *x = f64::from(i * 40));
    model.run_row(Method::Predict, &mut session, &[]).unwrap()[0]
}

#[test]
fn trees_take_a_tenth_more_than_their_file_while_they_are_loaded() {
    takes_at_most(1.1, "small", || forest(500, 6), predict);
    takes_at_most(1.1, "large", || forest(20, 14), predict);
}

#[test]
fn texts_take_half_more_than_their_file_while_they_are_loaded() {
    let last = |model: &Model| {
        let text = format!("user{:06}", 299_999 * 7 % 1_000_003);
        model.run_row(Method::Transform, &mut model.session(), &[Some(text.as_bytes())]).unwrap()[0]
    };
    takes_at_most(1.5, "texts", || encoder(300_000), last);
}

/// The header of a file as JSON, its graph as JSON, and its tensors.
fn parts(bytes: &[u8]) -> (serde_json::Value, serde_json::Value, &[u8]) {
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let graph = serde_json::from_str(header["__metadata__"]["corten"].as_str().unwrap()).unwrap();
    (header, graph, &bytes[start..])
}

#[test]
fn a_byte_that_differs_is_found_wherever_it_lies() {
    let _alone = alone();
    let bytes = forest(100, 10).to_bytes().unwrap();
    let start = bytes.len() - parts(&bytes).2.len();
    // A tensor that no operator asks for, at the end.
    let (mut header, mut graph, tensors) = parts(&bytes);
    let (at, more) = (tensors.len(), 300_000);
    let longer = [tensors, &vec![5; more]].concat();
    header["9.unused"] = serde_json::json!({ "dtype": "U8", "shape": [more], "data_offsets": [at, at + more] });
    graph["digest"] = blake3::hash(&longer).to_hex().as_str().into();
    header["__metadata__"]["corten"] = graph.to_string().into();
    let text = header.to_string();
    let longer = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &longer].concat();
    assert!(File::of("longer", &longer).load().is_ok() && Model::from_bytes(&longer).is_ok());
    let mut random = Stream::new(8, 0);
    let mut places = vec![(&bytes, start), (&bytes, bytes.len() - 1), (&longer, longer.len() - 1)];
    places.push((&longer, longer.len() - more));
    places.extend((0..20).map(|_| (&bytes, start + random.below((bytes.len() - start) as u64) as usize)));
    for (bytes, at) in places {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        let file = File::of("damaged", &damaged);
        let problem = "its numbers don't match their digest; the file is damaged".to_string();
        assert_eq!(Model::from_bytes(&damaged).unwrap_err(), Error::Format(problem.clone()), "byte {at}");
        assert_eq!(file.load().unwrap_err(), Error::Format(format!("{}: {problem}", file.0.display())), "byte {at}");
    }
}

#[test]
fn a_file_and_its_bytes_are_refused_for_the_same_reason() {
    let _alone = alone();
    for model in [forest(3, 4), forest(100, 10)] {
        let bytes = model.to_bytes().unwrap();
        let start = bytes.len() - parts(&bytes).2.len();
        let with_length = |length: u64| [&length.to_le_bytes(), &bytes[8..]].concat();
        let cases = [
            vec![],
            bytes[..7].to_vec(),
            bytes[..8].to_vec(),
            bytes[..start - 1].to_vec(),
            bytes[..start].to_vec(),
            bytes[..bytes.len() - 1].to_vec(),
            [&bytes[..], &[0]].concat(),
            with_length(u64::MAX),
            with_length(100_000_001),
            with_length(0),
            with_length(bytes.len() as u64 - 8),
            with_length(bytes.len() as u64 - 7),
        ];
        for (nth, case) in cases.iter().enumerate() {
            let file = File::of("refused", case);
            let Error::Format(problem) = Model::from_bytes(case).unwrap_err() else { panic!("case {nth}") };
            let Error::Format(of_file) = file.load().unwrap_err() else { panic!("case {nth} as a file") };
            assert_eq!(of_file, format!("{}: {problem}", file.0.display()));
        }
    }
}
