//! Microseconds of one row inside Rust, the executor alone: `cargo bench -p corten-model --bench one_row`.
//!
//! Without arguments the golden files and the rows of their cases run; with them, a model and a file of JSON lines:
//! `cargo bench -p corten-model --bench one_row -- m.corten rows.jsonl`. `benches/one_row.py` calls it with the flights.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use corten_core::Kind;
use corten_model::rows::{RowReader, Scanner};
use corten_model::{Method, Model};
use serde_json::{Map, Value};

/// Calls that a median is of.
const CALLS: usize = 20_000;
/// Calls between two looks at the clock: one look takes about as long as a small row.
const TOGETHER: usize = 10;

/// A row in the order in which the model reads it.
struct Row {
    numbers: Vec<f64>,
    texts: Vec<Option<Vec<u8>>>,
}

/// The rows of JSON lines.
fn rows_of(model: &Model, lines: &str) -> Vec<Row> {
    let (mut reader, mut session) = (RowReader::new(model), model.session());
    let mut row = |line: &str| {
        reader.read(&mut Scanner::new(line.as_bytes()), &mut session).expect("a row that the model reads");
        let texts = reader.texts().iter().map(|t| t.map(<[u8]>::to_vec)).collect();
        Row { numbers: session.numbers_mut().to_vec(), texts }
    };
    lines.lines().filter(|l| !l.is_empty()).map(&mut row).collect()
}

/// The rows of a golden file's case as JSON lines.
fn case(model: &Model, path: &Path) -> String {
    let text = std::fs::read_to_string(path.with_extension("json")).expect("a case beside every model");
    let case: Value = serde_json::from_str(&text).expect("a case");
    let inputs = &model.schema().inputs;
    let count = case["inputs"][&inputs[0].name]["values"].as_array().map_or(0, Vec::len);
    let line = |at: usize| {
        let member = |input: &corten_model::Input| {
            let value = &case["inputs"][&input.name]["values"][at];
            let number = || value.as_str().and_then(|t| t.parse::<f64>().ok()).map_or(Value::Null, Value::from);
            (input.name.clone(), if input.kind == Kind::Number { number() } else { value.clone() })
        };
        Value::Object(inputs.iter().map(member).collect::<Map<_, _>>()).to_string()
    };
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

/// Median microseconds of a call, going round the rows; what the model refuses is left out.
fn median(model: &Model, method: Method, rows: &[Row]) -> f64 {
    let mut session = model.session();
    let mut texts: Vec<Vec<Option<&[u8]>>> = Vec::new();
    let mut kept = Vec::new();
    for row in rows {
        let borrowed: Vec<Option<&[u8]>> = row.texts.iter().map(Option::as_deref).collect();
        session.numbers_mut().copy_from_slice(&row.numbers);
        if model.run_row(method, &mut session, &borrowed).is_ok() {
            kept.push(row);
            texts.push(borrowed);
        }
    }
    assert!(!kept.is_empty(), "the model refuses every row");
    let mut times: Vec<f64> = (0..CALLS / TOGETHER)
        .map(|block| {
            let start = Instant::now();
            for i in 0..TOGETHER {
                let at = (block * TOGETHER + i) % kept.len();
                session.numbers_mut().copy_from_slice(&kept[at].numbers);
                black_box(model.run_row(method, &mut session, &texts[at]).map(<[f64]>::len).unwrap_or(0));
            }
            start.elapsed().as_secs_f64() * 1e6 / TOGETHER as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let given: Vec<PathBuf> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let read = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Model::from_bytes(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let cases: Vec<(PathBuf, Option<PathBuf>)> = if let [model, rows] = &given[..] {
        vec![(model.clone(), Some(rows.clone()))]
    } else {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/1");
        let entries = std::fs::read_dir(folder).expect("the golden files are there");
        let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "corten"));
        paths.sort();
        paths.into_iter().map(|p| (p, None)).collect()
    };
    println!("{:<24} {:<18} {:>12}", "one row inside Rust", "method", "median, us");
    for (path, rows) in cases {
        let model = read(&path);
        let lines = rows.map_or_else(|| case(&model, &path), |p| std::fs::read_to_string(p).expect("rows"));
        let rows = rows_of(&model, &lines);
        for method in model.methods() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            println!("{name:<24} {:<18} {:>12.3}", format!("{method:?}"), median(&model, method, &rows));
        }
    }
}
