//! The golden files: models of every kind, rows for them, and their answers. `tools/make_golden.py` makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corten_core::{Column, Data, Kind, Table, Text};
use corten_model::{Method, Model};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    Number,
    Text,
}

#[derive(Deserialize)]
struct Input {
    kind: Of,
    values: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct Case {
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<Method, Vec<Vec<Option<String>>>>,
    #[serde(default)]
    updates: Option<Vec<Vec<Option<String>>>>,
}

/// One golden file.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The columns by name, numbers as they are.
    numbers: BTreeMap<String, Vec<f64>>,
    texts: BTreeMap<String, Vec<Option<String>>>,
    /// What each method answers, row after row, as text.
    pub(crate) outputs: BTreeMap<Method, Vec<Vec<Option<String>>>>,
    /// What a model with state answers as it takes the rows in.
    pub(crate) updates: Option<Vec<Vec<Option<String>>>>,
}

fn number(text: &Option<String>) -> f64 {
    text.as_deref().map_or(f64::NAN, |t| t.parse().expect("a number"))
}

/// All golden files of all format versions.
pub(crate) fn all() -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models");
    let folder = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("the golden files are there");
        let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let files = folder(&root).into_iter().filter(|p| p.is_dir()).flat_map(|version| folder(&version));
    files.filter(|p| p.extension().is_some_and(|e| e == "corten")).map(|path| read(&path)).collect()
}

fn read(path: &Path) -> Golden {
    let case = std::fs::read(path.with_extension("json")).expect("a case beside every model");
    let case: Case = serde_json::from_slice(&case).expect("a case");
    let (mut numbers, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for (name, input) in case.inputs {
        match input.kind {
            Of::Number => drop(numbers.insert(name, input.values.iter().map(number).collect())),
            Of::Text => drop(texts.insert(name, input.values)),
        }
    }
    Golden {
        name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
        bytes: std::fs::read(path).expect("a model"),
        numbers,
        texts,
        outputs: case.outputs,
        updates: case.updates,
    }
}

impl Golden {
    pub(crate) fn rows(&self) -> usize {
        let numbers = self.numbers.values().map(Vec::len);
        numbers.chain(self.texts.values().map(Vec::len)).next().unwrap_or(0)
    }

    /// The rows as a table, its columns in the order of their names.
    pub(crate) fn table(&self) -> Data<'_> {
        let numbers = self.numbers.iter().map(|(name, v)| Column::f64(name, v.as_slice()));
        let texts =
            self.texts.iter().map(|(name, v)| Column::text(name, Text::from_options(v.iter().map(Option::as_deref))));
        Data::Table(Table::named(numbers.chain(texts).collect()).expect("columns of one length"))
    }

    /// A row's numbers and texts, each in the order in which the model reads them.
    pub(crate) fn row(&self, model: &Model, at: usize) -> (Vec<f64>, Vec<Option<&[u8]>>) {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for input in &model.schema().inputs {
            match input.kind {
                Kind::Number => numbers.push(self.numbers[&input.name][at]),
                Kind::Text => texts.push(self.texts[&input.name][at].as_deref().map(str::as_bytes)),
            }
        }
        (numbers, texts)
    }
}
