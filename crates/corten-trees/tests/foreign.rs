//! Recorded models of other libraries give the recorded answers; damaged ones are refused or give a model that answers.

use std::path::{Path, PathBuf};

use corten_core::Error;
use corten_core::random::Stream;
use corten_model::{Method, Model};
use corten_trees::convert::{Wrapping, convert, to_lightgbm};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/foreign")
}

/// File, rows and answers of each recorded model.
fn recorded() -> Vec<(String, Vec<Vec<f64>>, Vec<Vec<f64>>)> {
    let text = std::fs::read_to_string(folder().join("answers.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap());
    let table = |v: &Value| -> Vec<Vec<f64>> {
        v.as_array().unwrap().iter().map(|row| row.as_array().unwrap().iter().map(number).collect()).collect()
    };
    all.iter().map(|m| (m["file"].as_str().unwrap().to_owned(), table(&m["rows"]), table(&m["answers"]))).collect()
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(folder().join(file)).unwrap()
}

fn answers(model: &Model, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut session = model.session();
    let one = |row: &Vec<f64>| {
        session.numbers_mut().copy_from_slice(row);
        model.run_row(Method::Predict, &mut session, &[]).unwrap().to_vec()
    };
    rows.iter().map(one).collect()
}

#[test]
fn recorded_models_give_the_answers_of_their_libraries() {
    let all = recorded();
    assert_eq!(all.len(), 12);
    for (file, rows, want) in all {
        let model = convert(&read(&file), &Wrapping::default()).unwrap();
        // XGBoost answers in f32.
        let limit = if file.starts_with("xgboost") { 1e-6 } else { 1e-12 };
        for ((got, want), row) in answers(&model, &rows).iter().zip(&want).zip(&rows) {
            assert_eq!(got.len(), want.len(), "{file}");
            for (g, w) in got.iter().zip(want) {
                assert!(
                    (g - w).abs() <= limit * w.abs() || (g.is_nan() && w.is_nan()) || g == w,
                    "{file}: {g} is not {w} for {row:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_written_for_lightgbm_gives_the_same_bits_when_read() {
    for (file, rows, _) in recorded().iter().filter(|m| m.0.starts_with("lightgbm")) {
        let model = convert(&read(file), &Wrapping::default()).unwrap();
        let again = convert(to_lightgbm(&model).unwrap().as_bytes(), &Wrapping::default()).unwrap();
        let bits = |m: &Model| -> Vec<u64> { answers(m, rows).iter().flatten().map(|x| x.to_bits()).collect() };
        assert_eq!(bits(&again), bits(&model), "{file}");
    }
}

#[test]
fn what_adds_up_in_f32_is_not_written_for_lightgbm() {
    let model = convert(&read("xgboost_trees.json"), &Wrapping::default()).unwrap();
    let Err(Error::Unsupported(reason)) = to_lightgbm(&model) else { panic!("it was written") };
    assert!(reason.contains("f32"), "{reason}");
}

#[test]
fn truncated_models_are_refused() {
    for (file, ..) in recorded() {
        let bytes = read(&file);
        // LightGBM's text is whole once its trees have ended.
        let end = bytes.windows(12).position(|w| w == b"end of trees").unwrap_or(bytes.len() - 4);
        for cut in (0..end).step_by(41) {
            let refused = convert(&bytes[..cut], &Wrapping::default());
            assert!(matches!(refused, Err(Error::Foreign(_))), "{file} up to {cut}");
        }
    }
}

#[test]
fn damaged_models_are_refused_or_give_a_model_that_answers() {
    let mut random = Stream::new(11, 7);
    let (mut refused, mut taken) = (0, 0);
    for (file, rows, _) in recorded() {
        let bytes = read(&file);
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(damaged.len() as u64) as usize;
                let byte = if random.below(2) == 0 {
                    b"0123456789-.,[] "[random.below(16) as usize]
                } else {
                    random.below(256) as u8
                };
                match random.below(3) {
                    0 => damaged[at] = byte,
                    1 => damaged.insert(at, byte),
                    _ => drop(damaged.remove(at)),
                }
            }
            match convert(&damaged, &Wrapping::default()) {
                Ok(model) if model.schema().inputs.len() == 4 && model.schema().counts().1 == 0 => {
                    taken += 1;
                    answers(&model, &rows[..4]);
                }
                Ok(_) => taken += 1,
                Err(Error::Internal(text)) => panic!("{file}: {text}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1000 && taken > 100, "{refused} refused, {taken} taken");
}
