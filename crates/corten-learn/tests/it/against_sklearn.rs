//! Attributes and predictions against scikit-learn's.

use corten_core::Data;
use corten_model::estimator::{Attribute, Fitted, Target};
use corten_model::{Labels, Method};
use serde_json::Value;

use crate::support::{With, data, fit_with, model, number, numbers, run};

fn expected() -> Value {
    serde_json::from_str(include_str!("../expected.json")).unwrap()
}

/// Numbers agree to `tol` of the largest of them.
fn close(what: &str, got: &[f64], want: &[f64], tol: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    let scale = want.iter().filter(|v| v.is_finite()).fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tol * scale;
        assert!(same, "{what}[{i}]: {g}, scikit-learn has {w}");
    }
}

fn shape(value: &Value) -> Vec<usize> {
    match value.as_array() {
        None => vec![],
        Some(list) => std::iter::once(list.len()).chain(list.first().map_or(vec![], shape)).collect(),
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        None => vec![number(value)],
        Some(list) => list.iter().flat_map(flat).collect(),
    }
}

fn compare(what: &str, got: &Attribute, want: &Value, tol: f64) {
    match (got, want) {
        (Attribute::None, Value::Null) => {}
        (Attribute::Int(g), want) => assert_eq!(*g as f64, number(want), "{what}"),
        (Attribute::Float(g), want) => close(what, &[*g], &[number(want)], tol),
        (Attribute::Bool(g), want) => assert_eq!(*g, want.as_bool().unwrap(), "{what}"),
        // scikit-learn leaves a text column without a value at NaN.
        (Attribute::Text(g), want) => assert_eq!(Some(g.as_str()), want.as_str(), "{what}"),
        (Attribute::None, Value::String(s)) if s == "NaN" => {}
        (Attribute::Floats { shape: s, values }, want) => {
            assert_eq!(*s, shape(want), "{what}: shape");
            close(what, values, &flat(want), tol);
        }
        (Attribute::Ints { shape: s, values }, want) => {
            assert_eq!(*s, shape(want), "{what}: shape");
            let values: Vec<f64> = values.iter().map(|&v| v as f64).collect();
            close(what, &values, &flat(want), tol);
        }
        (Attribute::List(got), Value::Array(want)) => {
            assert_eq!(got.len(), want.len(), "{what}: length");
            for (got, want) in got.iter().zip(want) {
                compare(what, got, want, tol);
            }
        }
        (got, want) => panic!("{what}: {got:?}, scikit-learn has {want}"),
    }
}

fn target(values: &Value, classes: bool) -> Target<'static> {
    if classes {
        let codes: Vec<u32> = numbers(values).iter().map(|&v| v as u32).collect();
        let count = i64::from(*codes.iter().max().unwrap()) + 1;
        return Target::Classes { codes: codes.into(), labels: Labels::Int((0..count).collect()) };
    }
    let rows = values.as_array().unwrap();
    match rows[0].as_array() {
        None => Target::Numbers { values: numbers(values).into(), outputs: 1, flat: true },
        Some(first) => {
            let columns = (0..first.len()).flat_map(|j| rows.iter().map(move |r| number(&r[j])));
            Target::Numbers { values: columns.collect::<Vec<_>>().into(), outputs: first.len(), flat: false }
        }
    }
}

fn fit_case(all: &Value, case: &Value, x: &Data<'_>, threads: usize) -> Box<dyn Fitted> {
    let entry = case["entry"].as_str().unwrap();
    let y = || match case["y"].as_str() {
        None => Target::None,
        Some(name) => target(&all["targets"][name], entry.ends_with("LogisticRegression")),
    };
    let weights = case["weight"].as_str().map(|name| numbers(&all["weights"][name]));
    let with = || With { weights: weights.as_deref(), threads, ..With::default() };
    let first = fit_with(entry, case["params"].clone(), x, y(), with()).unwrap();
    let Some(later) = case["later"].as_str() else { return first };
    let more = With { previous: Some(&*first), partial: true, ..with() };
    fit_with(entry, case["params"].clone(), &data(&all["data"][later]), y(), more).unwrap()
}

fn check(family: &str) {
    let all = expected();
    let mut seen = 0;
    for case in all["cases"].as_array().unwrap() {
        let entry = case["entry"].as_str().unwrap();
        if !entry.ends_with(family) {
            continue;
        }
        seen += 1;
        let label = format!("{entry} {} on {} y={} weight={}", case["params"], case["data"], case["y"], case["weight"]);
        let tol = case["tol"].as_f64().unwrap();
        let x = data(&all["data"][case["data"].as_str().unwrap()]);
        let fitted = fit_case(&all, case, &x, 1);
        let attributes = fitted.attributes();
        for (name, want) in case["attributes"].as_object().unwrap() {
            let got = attributes.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{label}: no {name}"));
            compare(&format!("{label}: {name}"), &got.1, want, tol);
        }
        // As text, so that NaN equals NaN; every bit of the other floats shows.
        let two = fit_case(&all, case, &x, 2).attributes();
        assert_eq!(format!("{attributes:?}"), format!("{two:?}"), "{label}: with 2 threads");
        let model = model(&*fitted, &x);
        for (method, want) in case["results"].as_object().unwrap() {
            let batch = run(&model, method, &x).unwrap();
            if batch.texts.is_empty() {
                close(&format!("{label}: {method}"), &batch.numbers, &flat(want), tol);
            } else {
                for (j, column) in batch.texts.iter().enumerate() {
                    for (got, row) in column.iter().zip(want.as_array().unwrap()) {
                        assert_eq!(got.as_deref(), row[j].as_str(), "{label}: {method}");
                    }
                }
            }
        }
        if let Some(names) = case.get("names") {
            let names: Vec<&str> = names.as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
            assert_eq!(model.output(Method::Transform).unwrap().names, names, "{label}");
        }
    }
    assert!(seen > 0, "no case of {family}");
}

macro_rules! families {
    ($($test:ident: $family:literal,)*) => {
        $(#[test]
        fn $test() {
            check($family);
        })*
    };
}

families! {
    standard_scaler_matches_sklearn: "StandardScaler",
    min_max_scaler_matches_sklearn: "MinMaxScaler",
    max_abs_scaler_matches_sklearn: "MaxAbsScaler",
    robust_scaler_matches_sklearn: "RobustScaler",
    one_hot_encoder_matches_sklearn: "OneHotEncoder",
    ordinal_encoder_matches_sklearn: "OrdinalEncoder",
    simple_imputer_matches_sklearn: "SimpleImputer",
    linear_regression_matches_sklearn: "LinearRegression",
    ridge_matches_sklearn: "Ridge",
    logistic_regression_matches_sklearn: "LogisticRegression",
}
