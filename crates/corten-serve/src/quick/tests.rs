//! The quick way against the other one and against other parsers of numbers.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

fn served(name: &str) -> Served {
    let path = format!("{}/../../fixtures/models/1/{name}.corten", env!("CARGO_MANIFEST_DIR"));
    Served::load(name, 3, Path::new(&path), Default::default(), Duration::from_secs(60)).unwrap()
}

fn number(text: &str) -> Option<f64> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    scan.number().filter(|_| scan.at == text.len())
}

/// xorshift: the same numbers each time.
fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn numbers_have_the_bits_that_the_other_parsers_give() {
    let mut next = random();
    let check = |text: &str| {
        let wanted: f64 = text.parse().unwrap();
        let json: f64 = serde_json::from_str(text).unwrap();
        let got = number(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((got.to_bits(), got.to_bits()), (wanted.to_bits(), json.to_bits()), "{text}");
    };
    for _ in 0..200_000 {
        let x = f64::from_bits(next());
        if x.is_finite() {
            check(&format!("{x:e}"));
            check(&format!("{x}"));
        }
        let narrow = f32::from_bits(next() as u32);
        if narrow.is_finite() {
            check(&format!("{narrow:e}"));
        }
        // What rows hold: some digits before the point and behind it.
        let (digits, behind) = (next() % 20, (next() % 25) as usize);
        let whole = if digits == 0 { 0 } else { next() % 10u64.pow(digits as u32) };
        check(&format!("{whole}"));
        check(&format!("-{whole}.{:0behind$}", next() % 1_000_000));
        check(&format!("{whole}E-{}", next() % 40));
        check(&format!("0.{whole}e+{}", next() % 40));
        // Halfway between two doubles, and beside that.
        let half = (1u64 << 53) + 2 * (next() >> 12) + 1;
        check(&format!("{half}.0000000000000000000000000000000{}", next() % 2));
    }
    for text in [
        "0",
        "-0",
        "-0.0",
        "0e9999",
        "1e-400",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1.7976931348623157e308",
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "1e22",
        "1e23",
        "8.5e22",
        "0.000001e28",
    ] {
        check(text);
    }
    for text in [
        "", "-", "01", "-01", "00", "1.", ".5", "1.e5", "1e", "1e+", "1e-", "+1", "1e400", "-1e400", "1e99999", "0x1",
        "1_0", "--1", "1.5.5", "1e5.5", "Infinity", "1f",
    ] {
        assert_eq!(number(text).map(f64::to_bits), None, "{text}");
    }
}

/// Requests for models of a matrix and of columns, right ones and wrong ones.
const BODIES: [(&str, &str); 35] = [
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,-2]}]}"#),
    (
        "linear_regression",
        r#" { "id" : "a b" , "inputs" : [ { "data" : [ [ 1e3 , 2 ] , [ 3 , 4 ] ] , "name" : "input" , "shape" : [ 2 , 2 ] , "datatype" : "FP64" } ] } "#,
    ),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[0.1,16777217]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"INT8","data":[-128,127]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"INT8","data":[-128,128]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"BOOL","data":[true,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"UINT64","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"BYTES","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP16","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[2,1],"datatype":"FP64","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[2],"datatype":"FP64","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2,1],"datatype":"FP64","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[0,2],"datatype":"FP64","data":[]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1.5,0]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1e999]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"data":[1.5,1]}]}"#),
    (
        "linear_regression",
        r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1],"data":[1,1]}]}"#,
    ),
    (
        "linear_regression",
        r#"{"id":"1","id":"2","inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}]}"#,
    ),
    (
        "linear_regression",
        r#"{"id":"\u0041","inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}]}"#,
    ),
    ("linear_regression", r#"{"id":"é","inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}]}"#),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}]} x"#),
    (
        "linear_regression",
        r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}],"outputs":[{"name":"predict"}]}"#,
    ),
    (
        "linear_regression",
        r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1.5,1]}],"parameters":{"timeout":100000000}}"#,
    ),
    ("linear_regression", r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[[[[[1.5]]]],1]}]}"#),
    (
        "ridge",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[1.5]},{"name":"count","shape":[1],"datatype":"INT64","data":[2]}]}"#,
    ),
    (
        "ridge",
        r#"{"inputs":[{"name":"count","shape":[1],"datatype":"FP64","data":[1.5]},{"name":"width","shape":[1],"datatype":"INT64","data":[2]}]}"#,
    ),
    (
        "ridge",
        r#"{"inputs":[{"name":"width","shape":[3],"datatype":"FP64","data":[1.5,2,3]},{"name":"count","shape":[3,1],"datatype":"INT64","data":[2,3,4]}]}"#,
    ),
    (
        "ridge",
        r#"{"inputs":[{"name":"width","shape":[2],"datatype":"FP64","data":[1.5,2]},{"name":"count","shape":[1],"datatype":"INT64","data":[2]}]}"#,
    ),
    (
        "ridge",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[null]},{"name":"count","shape":[1],"datatype":"INT64","data":[NaN]}]}"#,
    ),
    (
        "tree_of_classes",
        r#"{"inputs":[{"name":"width","shape":[2],"datatype":"FP64","data":[1,NaN]},{"name":"height","shape":[2],"datatype":"FP32","data":[0.1,null]},{"name":"count","shape":[2],"datatype":"FP64","data":[null,3]}]}"#,
    ),
    (
        "standard_scaler",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[1]},{"name":"height","shape":[1],"datatype":"FP32","data":[0.1]},{"name":"count","shape":[1],"datatype":"INT8","data":[3]}]}"#,
    ),
    (
        "tree_of_two_numbers",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[1]},{"name":"height","shape":[1],"datatype":"FP32","data":[0.1]},{"name":"count","shape":[1],"datatype":"INT8","data":[3]}]}"#,
    ),
    (
        "forest",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[1]},{"name":"height","shape":[1],"datatype":"FP32","data":[0.1]},{"name":"count","shape":[1],"datatype":"INT8","data":[3]},{"name":"city","shape":[1],"datatype":"BYTES","data":["Oslo"]}]}"#,
    ),
    (
        "logistic_three",
        r#"{"inputs":[{"name":"width","shape":[2],"datatype":"FP64","data":[1,2]},{"name":"count","shape":[2],"datatype":"FP64","data":[4,3]}]}"#,
    ),
    (
        "extra_trees_of_classes",
        r#"{"inputs":[{"name":"width","shape":[1],"datatype":"FP64","data":[1]},{"name":"height","shape":[1],"datatype":"FP32","data":[0.1]},{"name":"count","shape":[1],"datatype":"INT8","data":[3]}]}"#,
    ),
];

#[test]
fn answers_have_the_bytes_of_the_other_way_however_a_request_is_damaged() {
    let mut next = random();
    let alphabet = b"{}[]\",:0123456789.-+eE nulltrfasN\\\xc3";
    let (mut quick, mut tried) = (0, 0);
    for (model, body) in BODIES {
        let served = served(model);
        for turn in 0..3000 {
            let mut damaged = body.as_bytes().to_vec();
            for _ in 0..turn.min(1 + turn % 3) {
                let at = next() as usize % damaged.len();
                match next() % 6 {
                    4.. => {
                        // Another number, mostly.
                        let digits = (0..damaged.len()).filter(|&d| damaged[d].is_ascii_digit()).collect::<Vec<_>>();
                        if let Some(&at) = digits.get(next() as usize % digits.len().max(1)) {
                            damaged.insert(at, b"0123456789.-e"[next() as usize % 13]);
                        }
                    }
                    0 => damaged[at] = alphabet[next() as usize % alphabet.len()],
                    1 => damaged.insert(at, alphabet[next() as usize % alphabet.len()]),
                    2 => drop(damaged.remove(at)),
                    _ => {
                        let end = (at + 1 + next() as usize % 12).min(damaged.len());
                        let copied = damaged[at..end].to_vec();
                        damaged.splice(at..at, copied);
                    }
                }
            }
            tried += 1;
            let mut out = Vec::new();
            let rows = infer(&served, &damaged, 3, &mut out);
            if rows.is_none() {
                assert!(out.is_empty());
                continue;
            }
            quick += 1;
            let slow = infer::any(&served, &damaged, None, 3, Instant::now());
            let text = String::from_utf8_lossy(&damaged);
            let slow = slow.unwrap_or_else(|_| panic!("{model} refuses {text}"));
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&slow.bytes), "{text}");
            assert_eq!((rows, slow.json), (Some(slow.rows), None));
        }
    }
    assert!(quick > 1000 && quick < tried / 2, "{quick} of {tried}");
}
