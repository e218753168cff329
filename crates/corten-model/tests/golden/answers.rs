//! Files of every format version give the answers that they gave when they were made, on both roads.

use corten_model::{Method, Model, Run};

use crate::files;

/// An answer as the golden files write it: a label, or a number that must have the same bits.
fn check(
    name: &str,
    row: usize,
    expected: &[Option<String>],
    numbers: &[f64],
    texts: &[Option<String>],
    labels: &Labels,
) {
    if expected.len() == texts.len() && numbers.is_empty() {
        assert_eq!(texts, expected, "{name}, row {row}");
        return;
    }
    assert_eq!(numbers.len(), expected.len(), "{name}, row {row}");
    for (number, text) in numbers.iter().zip(expected) {
        let text = text.as_deref().expect("a number is never missing");
        if let Some(labels) = labels {
            assert_eq!(labels[*number as usize], text, "{name}, row {row}");
            continue;
        }
        let wanted: f64 = text.parse().expect("a number");
        let same = wanted.to_bits() == number.to_bits() || (wanted.is_nan() && number.is_nan());
        assert!(same, "{name}, row {row}: {number} instead of {text}");
    }
}

type Labels = Option<Vec<String>>;

#[test]
fn golden_files_give_their_answers_on_both_roads() {
    let files = files::all();
    assert!(files.len() >= 20, "only {} golden files", files.len());
    for golden in &files {
        let name = &golden.name;
        let model = Model::from_bytes(&golden.bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(golden.outputs.len(), model.methods().len(), "{name}");
        for (&method, expected) in &golden.outputs {
            assert_eq!(expected.len(), golden.rows());
            let labels = model.output(method).and_then(|o| o.labels.as_ref()).filter(|_| method == Method::Predict);
            let labels = labels.map(|l| l.names());
            for threads in [1, 3] {
                let batch = model.run(method, &golden.table(), &Run { threads, ..Run::default() }).unwrap();
                for (row, wanted) in expected.iter().enumerate() {
                    let numbers = &batch.numbers[row * batch.width..][..batch.width];
                    let texts: Vec<Option<String>> = batch.texts.iter().map(|t| t[row].clone()).collect();
                    check(name, row, wanted, numbers, &texts, &labels);
                }
            }
            let mut session = model.session();
            for (row, wanted) in expected.iter().enumerate() {
                let (numbers, texts) = golden.row(&model, row);
                session.numbers_mut().copy_from_slice(&numbers);
                let mut answered = Vec::new();
                let keep = |t: Option<&[u8]>| answered.push(t.map(|t| String::from_utf8(t.to_vec()).unwrap()));
                let numbers = model.run_row_with(method, &mut session, &texts, keep).unwrap().to_vec();
                check(name, row, wanted, &numbers, &answered, &labels);
            }
        }
    }
}

#[test]
fn golden_files_are_written_again_as_they_were_read() {
    for golden in files::all() {
        let model = Model::from_bytes(&golden.bytes).unwrap();
        assert_eq!(model.to_bytes().unwrap(), golden.bytes, "{}", golden.name);
    }
}

#[test]
fn golden_files_with_state_advance_as_they_did_by_table_and_by_row() {
    let mut seen = 0;
    for golden in files::all() {
        let Some(expected) = &golden.updates else { continue };
        seen += 1;
        let mut by_table = Model::from_bytes(&golden.bytes).unwrap();
        let mut by_row = by_table.clone();
        let batch = by_table.update(&golden.table()).unwrap();
        let mut session = by_row.session();
        for (row, wanted) in expected.iter().enumerate() {
            check(&golden.name, row, wanted, &batch.numbers[row * batch.width..][..batch.width], &[], &None);
            let (numbers, texts) = golden.row(&by_row, row);
            session.numbers_mut().copy_from_slice(&numbers);
            check(&golden.name, row, wanted, by_row.update_row(&mut session, &texts).unwrap(), &[], &None);
        }
        assert_eq!(by_table.to_bytes().unwrap(), by_row.to_bytes().unwrap());
    }
    assert!(seen > 0, "no golden file has state");
}
