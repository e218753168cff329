//! What estimators refuse, and what they promise beyond scikit-learn's numbers.

use corten_core::{CancelToken, Csr, Data, Error};
use corten_learn::registry::estimators;
use corten_model::estimator::{Context, Extras, FitInput, Target};
use serde_json::{Value, json};

use crate::support::{With, attribute, classes, error, fit, fit_with, floats, line, model, run, table, texts};

const A: &[f64] = &[1.0, 2.0, 3.0, 4.0];
const B: &[f64] = &[0.5, -1.0, 2.0, 0.0];

#[test]
fn defaults_of_every_estimator_can_be_read_back() {
    let x = table(&[("a", A), ("b", B)]);
    for entry in estimators() {
        let y = match entry.name {
            "linear_model.LogisticRegression" => classes(&[0, 1, 0, 1]),
            name if name.starts_with("linear_model") => line(B),
            _ => Target::None,
        };
        let context = Context::default();
        let input = FitInput {
            x: &x,
            y,
            sample_weight: None,
            previous: None,
            partial: false,
            extras: &Extras::default(),
            context: &context,
        };
        let fitted = (entry.fit)(&(entry.defaults)(), &input).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        assert!(!model(&*fitted, &x).methods().is_empty(), "{}", entry.name);
    }
}

#[test]
fn unknown_and_misspelt_parameters_are_refused_by_name() {
    let x = table(&[("a", A)]);
    let text = error(fit("linear_model.Ridge", json!({"alfa": 1.0}), &x, line(B)));
    assert!(text.contains("alfa"), "{text}");
    let text = error(fit("linear_model.Ridge", json!({"alpha": -1.0}), &x, line(B)));
    assert_eq!(text, "The 'alpha' parameter must be a float in the range [0.0, inf) or an array-like. Got -1 instead.");
    let text = error(fit("linear_model.Ridge", json!({"alpha": "much"}), &x, line(B)));
    assert!(text.starts_with("The 'alpha' parameter must be a float in the range [0.0, inf)"), "{text}");
    let text = error(fit("linear_model.LogisticRegression", json!({"C": 0}), &x, classes(&[0, 1, 0, 1])));
    assert_eq!(text, "The 'C' parameter must be a float in the range (0.0, inf]. Got 0.0 instead.");
    let text = error(fit("linear_model.LogisticRegression", json!({"solver": "magic"}), &x, classes(&[0, 1, 0, 1])));
    assert!(text.contains("'solver'") && text.contains("'lbfgs'"), "{text}");
    let text = error(fit("preprocessing.OneHotEncoder", json!({"min_frequency": 1.5}), &x, Target::None));
    assert!(text.starts_with("The 'min_frequency' parameter must be an int in the range [1, inf)"), "{text}");
}

#[test]
fn missing_and_infinite_values_are_refused_by_column() {
    let nan = table(&[("a", A), ("b", &[1.0, f64::NAN, 0.0, 0.0])]);
    let inf = table(&[("a", A), ("b", &[1.0, f64::INFINITY, 0.0, 0.0])]);
    let fine = table(&[("a", A), ("b", B)]);
    let y = || line(B);
    for name in ["linear_model.LinearRegression", "linear_model.Ridge"] {
        assert_eq!(error(fit(name, json!({}), &nan, y())), "Column 'b': Input X contains NaN.");
        assert_eq!(
            error(fit(name, json!({}), &inf, y())),
            "Column 'b': Input X contains infinity or a value too large for dtype('float64')."
        );
        let fitted = model(&*fit(name, json!({}), &fine, y()).unwrap(), &fine);
        assert!(error(run(&fitted, "predict", &nan)).starts_with("Column 'b': Input X contains NaN"));
    }
    for name in ["StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"] {
        let name = format!("preprocessing.{name}");
        assert!(error(fit(&name, json!({}), &inf, Target::None)).contains("infinity"));
        let fitted = model(&*fit(&name, json!({}), &nan, Target::None).unwrap(), &fine);
        assert!(run(&fitted, "transform", &nan).unwrap().numbers[3].is_nan());
        assert!(error(run(&fitted, "transform", &inf)).contains("infinity"));
    }
}

#[test]
fn empty_data_and_ragged_targets_are_refused() {
    let x = table(&[("a", A)]);
    for entry in estimators() {
        let context = Context::default();
        for x in [table(&[("a", &[])]), table(&[])] {
            let y = || if entry.name.ends_with("LogisticRegression") { classes(&[]) } else { line(&[]) };
            let input = FitInput {
                x: &x,
                y: y(),
                sample_weight: None,
                previous: None,
                partial: false,
                extras: &Extras::default(),
                context: &context,
            };
            let text = error((entry.fit)(&json!({}), &input));
            assert!(text.starts_with("Found array with 0"), "{}: {text}", entry.name);
        }
    }
    let text = error(fit("linear_model.Ridge", json!({}), &x, line(&[1.0])));
    assert_eq!(text, "Found input variables with inconsistent numbers of samples: [4, 1]");
    let text = error(fit("linear_model.Ridge", json!({}), &x, line(&[1.0, f64::NAN, 0.0, 0.0])));
    assert_eq!(text, "Input y contains NaN.");
    let text = error(fit("linear_model.LogisticRegression", json!({}), &x, classes(&[0, 0, 0, 0])));
    assert_eq!(
        text,
        "This solver needs samples of at least 2 classes in the data, but the data contains only one class: 0"
    );
    let with = With { weights: Some(&[1.0]), ..With::default() };
    let text = error(fit_with("linear_model.Ridge", json!({}), &x, line(B), with));
    assert_eq!(text, "sample_weight.shape == (1,), expected (4,)!");
    let with = With { weights: Some(&[1.0, 1.0, -1.0, 1.0]), ..With::default() };
    assert!(error(fit_with("linear_model.LinearRegression", json!({}), &x, line(B), with)).contains("Negative"));
}

#[test]
fn text_is_refused_where_numbers_are_needed() {
    let x = texts(&[("t", &[Some("a"), Some("b"), None, Some("a")])]);
    for name in ["preprocessing.StandardScaler", "linear_model.Ridge"] {
        assert_eq!(error(fit(name, json!({}), &x, line(B))), "Column 't': holds text where numbers are needed");
    }
    let text = error(fit("impute.SimpleImputer", json!({}), &x, Target::None));
    assert!(text.starts_with("Cannot use mean strategy with non-numeric data"), "{text}");
}

#[test]
fn sparse_data_are_refused_where_they_would_be_centred() {
    let x = Data::Csr(Csr::new(2, 2, vec![0, 1, 2], vec![0, 1], vec![1.0, 2.0]).unwrap());
    let text = error(fit("preprocessing.StandardScaler", json!({}), &x, Target::None));
    assert!(text.starts_with("Cannot center sparse matrices: pass `with_mean=False`"), "{text}");
    assert!(error(fit("preprocessing.MinMaxScaler", json!({}), &x, Target::None)).contains("MaxAbsScaler"));
    assert!(matches!(fit("preprocessing.OneHotEncoder", json!({}), &x, Target::None).err(), Some(Error::Type(_))));
}

#[test]
fn unknown_categories_are_refused_or_encoded_as_asked() {
    let x = texts(&[("t", &[Some("b"), Some("a"), Some("b")])]);
    let new = texts(&[("t", &[Some("c"), None, Some("a")])]);
    let strict = model(&*fit("preprocessing.OneHotEncoder", json!({}), &x, Target::None).unwrap(), &x);
    assert_eq!(error(run(&strict, "transform", &new)), "Column 't': unknown category 'c'; known are 'a', 'b'");
    let lax = json!({"handle_unknown": "ignore"});
    let lax = model(&*fit("preprocessing.OneHotEncoder", lax, &x, Target::None).unwrap(), &x);
    assert_eq!(run(&lax, "transform", &new).unwrap().numbers, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let encoded = json!({"handle_unknown": "use_encoded_value", "unknown_value": -5});
    let encoded = model(&*fit("preprocessing.OrdinalEncoder", encoded, &x, Target::None).unwrap(), &x);
    assert_eq!(run(&encoded, "transform", &new).unwrap().numbers, [-5.0, -5.0, 0.0]);
    let nan = json!({"handle_unknown": "use_encoded_value", "unknown_value": "NaN"});
    let nan = model(&*fit("preprocessing.OrdinalEncoder", nan, &x, Target::None).unwrap(), &x);
    assert!(run(&nan, "transform", &new).unwrap().numbers[0].is_nan());
    let taken = json!({"handle_unknown": "use_encoded_value", "unknown_value": 1});
    assert!(error(fit("preprocessing.OrdinalEncoder", taken, &x, Target::None)).contains("unknown_value 1"));
    let text = error(fit("preprocessing.OneHotEncoder", json!({"categories": [["a"]]}), &x, Target::None));
    assert_eq!(text, "Found unknown categories ['b'] in column 0 during fit");
}

#[test]
fn imputer_fills_text_and_numbers_side_by_side() {
    use corten_core::{Column, Table, Text};
    let x = Data::Table(
        Table::named(vec![
            Column::text("t", Text::from_options([None, Some("b"), Some("a"), Some("b")])),
            Column::f64("n", vec![f64::NAN, 2.0, 2.0, 5.0]),
            Column::f64("empty", vec![f64::NAN; 4]),
        ])
        .unwrap(),
    );
    let params = json!({"strategy": "most_frequent", "add_indicator": true});
    let fitted = fit("impute.SimpleImputer", params, &x, Target::None).unwrap();
    let model = model(&*fitted, &x);
    let output = model.output(corten_model::Method::Transform).unwrap();
    let names = ["t", "n", "missingindicator_t", "missingindicator_n", "missingindicator_empty"];
    assert_eq!(output.names, names);
    let batch = run(&model, "transform", &x).unwrap();
    assert_eq!(batch.texts[0][0].as_deref(), Some("b"));
    assert_eq!(batch.numbers[..4], [2.0, 1.0, 1.0, 1.0]);
    assert_eq!(batch.numbers[4..8], [2.0, 0.0, 0.0, 1.0]);
}

#[test]
fn warm_start_goes_on_from_the_earlier_solution() {
    let x =
        table(&[("a", &[0.1, 1.2, 2.1, 3.3, 4.0, 5.2, 6.1, 7.0]), ("b", &[3.0, -1.0, 2.0, 2.5, 0.0, 1.0, 4.0, -2.0])]);
    let y = || classes(&[0, 0, 1, 0, 1, 0, 1, 1]);
    let params = json!({"warm_start": true, "tol": 1e-9});
    let first = fit("linear_model.LogisticRegression", params.clone(), &x, y()).unwrap();
    let with = With { previous: Some(&*first), ..With::default() };
    let again = fit_with("linear_model.LogisticRegression", params, &x, y(), with).unwrap();
    assert_eq!(floats(&*first, "coef_"), floats(&*again, "coef_"));
    assert_eq!(format!("{:?}", attribute(&*again, "n_iter_")), "Ints { shape: [1], values: [0] }");
}

#[test]
fn integer_weights_equal_repeated_rows() {
    let x = table(&[("a", A), ("b", B)]);
    let repeated = table(&[("a", &[1.0, 2.0, 2.0, 4.0, 4.0, 4.0]), ("b", &[0.5, -1.0, -1.0, 0.0, 0.0, 0.0])]);
    let weights = [1.0, 2.0, 0.0, 3.0];
    let with = || With { weights: Some(&weights), ..With::default() };
    for (name, attribute) in [
        ("preprocessing.StandardScaler", "scale_"),
        ("linear_model.Ridge", "coef_"),
        ("linear_model.LogisticRegression", "coef_"),
    ] {
        let logistic = name.ends_with("LogisticRegression");
        let y = || if logistic { classes(&[0, 1, 0, 1]) } else { line(&[1.0, 3.0, 9.0, 2.0]) };
        let y_repeated = || if logistic { classes(&[0, 1, 1, 1, 1, 1]) } else { line(&[1.0, 3.0, 3.0, 2.0, 2.0, 2.0]) };
        let weighted = floats(&*fit_with(name, json!({}), &x, y(), with()).unwrap(), attribute);
        let plain = floats(&*fit(name, json!({}), &repeated, y_repeated()).unwrap(), attribute);
        for (w, p) in weighted.iter().zip(&plain) {
            assert!((w - p).abs() < 1e-9, "{name}: {weighted:?} {plain:?}");
        }
    }
}

#[test]
fn a_raised_token_stops_the_fit() {
    let x = table(&[("a", A), ("b", B)]);
    for entry in estimators().into_iter().filter(|e| e.name.starts_with("linear_model")) {
        let cancel = CancelToken::new();
        cancel.cancel();
        let context = Context { cancel, ..Context::default() };
        let y = if entry.name.ends_with("LogisticRegression") { classes(&[0, 1, 0, 1]) } else { line(B) };
        let input = FitInput {
            x: &x,
            y,
            sample_weight: None,
            previous: None,
            partial: false,
            extras: &Extras::default(),
            context: &context,
        };
        assert_eq!((entry.fit)(&json!({}), &input).err(), Some(Error::Cancelled), "{}", entry.name);
    }
}

#[test]
fn running_moments_fit_and_update_give_the_same_state() {
    let keys: &[f64] = &[1.0, 2.0, 1.0, 1.0];
    let all = table(&[("k", keys), ("v", A)]);
    let whole = model(&*fit("streaming.RunningMoments", json!({}), &all, Target::None).unwrap(), &all);
    let head = table(&[("k", &keys[..2]), ("v", &A[..2])]);
    let tail = table(&[("k", &keys[2..]), ("v", &A[2..])]);
    let mut part = model(&*fit("streaming.RunningMoments", json!({}), &head, Target::None).unwrap(), &head);
    part.update(&tail).unwrap();
    let answer = run(&whole, "transform", &all).unwrap();
    assert_eq!(answer, run(&part, "transform", &all).unwrap());
    // Key 1 has the values 1, 3 and 4.
    let mean = 8.0 / 3.0;
    let variance = [1.0f64, 3.0, 4.0].iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 3.0;
    assert_eq!(answer.numbers[0], 3.0);
    assert!((answer.numbers[1] - mean).abs() < 1e-15 && (answer.numbers[2] - variance).abs() < 1e-15);
}

/// Rows with many zeros, and classes and numbers that depend on them.
fn scattered(rows: usize) -> (Vec<Vec<f64>>, Vec<u32>, Vec<f64>) {
    let mut stream = corten_core::random::Stream::new(1, 2);
    let mut value = |_: usize| (stream.uniform() * 8.0 - 5.0).max(0.0);
    let columns: Vec<Vec<f64>> = (0..4).map(|_| (0..rows).map(&mut value).collect()).collect();
    let score = |r: usize| columns[0][r] - 0.7 * columns[1][r] + 0.4 * value_of(r);
    let classes = (0..rows).map(|r| if score(r) > 1.0 { 2 } else { u32::from(score(r) > -0.2) }).collect();
    let numbers = (0..rows).map(score).collect();
    (columns, classes, numbers)
}

fn value_of(row: usize) -> f64 {
    corten_core::random::bits(7, 0, row as u64) as f64 / u64::MAX as f64
}

const FITS: [(&str, &str, &str); 8] = [
    ("linear_model.LogisticRegression", r#"{"tol": 1e-8, "max_iter": 1000}"#, "coef_"),
    ("linear_model.LogisticRegression", r#"{"solver": "newton-cg", "tol": 1e-9}"#, "coef_"),
    ("linear_model.LogisticRegression", r#"{"solver": "saga", "l1_ratio": 0.5, "C": 0.1}"#, "coef_"),
    ("linear_model.Ridge", "{}", "coef_"),
    ("linear_model.LinearRegression", "{}", "coef_"),
    ("preprocessing.StandardScaler", r#"{"with_mean": false}"#, "scale_"),
    ("preprocessing.MaxAbsScaler", "{}", "scale_"),
    ("preprocessing.RobustScaler", r#"{"with_centering": false}"#, "scale_"),
];

fn fit_one(at: usize, x: &Data<'_>, classes: &[u32], numbers: &[f64], threads: usize) -> Vec<f64> {
    let (name, params, attribute) = FITS[at];
    let params: Value = serde_json::from_str(params).unwrap();
    let y = if name.ends_with("LogisticRegression") { crate::support::classes(classes) } else { line(numbers) };
    floats(&*fit_with(name, params, x, y, With { threads, ..With::default() }).unwrap(), attribute)
}

#[test]
fn sparse_and_dense_rows_give_the_same_fit() {
    let rows = 300;
    let (columns, classes, numbers) = scattered(rows);
    let dense: Vec<(String, &[f64])> = columns.iter().enumerate().map(|(j, c)| (format!("x{j}"), &**c)).collect();
    let dense = table(&dense.iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>());
    let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
    for r in 0..rows {
        for (j, column) in columns.iter().enumerate().filter(|(_, c)| c[r] != 0.0) {
            indices.push(j as i32);
            values.push(column[r]);
        }
        indptr.push(indices.len() as i64);
    }
    let sparse = Data::Csr(Csr::new(rows, columns.len(), indptr, indices, values).unwrap());
    for at in 0..FITS.len() {
        let (d, s) = (fit_one(at, &dense, &classes, &numbers, 1), fit_one(at, &sparse, &classes, &numbers, 1));
        for (d, s) in d.iter().zip(&s) {
            assert!((d - s).abs() <= 1e-7 * d.abs().max(1.0), "{:?}: {d} {s}", FITS[at]);
        }
    }
}

#[test]
fn the_number_of_threads_never_shows() {
    let (columns, classes, numbers) = scattered(5000);
    let named: Vec<(String, &[f64])> = columns.iter().enumerate().map(|(j, c)| (format!("x{j}"), &**c)).collect();
    let x = table(&named.iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>());
    for at in 0..FITS.len() {
        let one = fit_one(at, &x, &classes, &numbers, 1);
        assert_eq!(one, fit_one(at, &x, &classes, &numbers, 3), "{:?}", FITS[at]);
    }
}
