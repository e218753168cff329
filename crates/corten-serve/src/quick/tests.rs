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

/// Digits of a number in base ten, before and behind a point that stands at the same place in all.
fn digits(x: f64) -> Vec<u8> {
    let text = format!("{x:0>1500.1100}");
    text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect()
}

#[test]
fn numbers_halfway_between_two_are_rounded_to_the_even_one_however_long_they_are() {
    let mut next = random();
    let check = |digits: &[u8], exponent: i32| {
        let at = digits.len() - 1100;
        let text: String = digits.iter().map(|d| char::from(b'0' + d)).collect();
        let (whole, behind) = text.split_at(at);
        let whole = whole.trim_start_matches('0');
        let text = format!("{}.{behind}e{exponent}", if whole.is_empty() { "0" } else { whole });
        let (wanted, json): (f64, f64) = (text.parse().unwrap(), serde_json::from_str(&text).unwrap());
        let got = number(&text).unwrap();
        assert_eq!((got.to_bits(), got.to_bits()), (wanted.to_bits(), json.to_bits()), "{text}");
        // The first 17 to 19 digits of it, as people's programs write numbers.
        let short: String = text.chars().filter(char::is_ascii_digit).collect();
        let from = short.find(|c| c != '0').unwrap_or(0);
        for length in 15..=19 {
            let digits = &short[from..(from + length).min(short.len())];
            let text = format!("{digits}e{}", exponent - 40);
            assert_eq!(number(&text).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        got
    };
    for turn in 0..3000 {
        // Numbers of all sizes, a third of them denormal, others near one.
        let bits = match turn % 3 {
            0 => next() >> 12,
            1 => next() >> 1,
            _ => (1023 - 60 + next() % 120) << 52 | next() >> 12,
        };
        let (x, above) = (f64::from_bits(bits), f64::from_bits(bits + 1));
        if !above.is_finite() || x > 1e300 {
            continue;
        }
        // Half of their sum; both have an end in base ten, and so has it.
        let (low, high) = (digits(x), digits(above));
        let mut sum = vec![0u8; low.len() + 1];
        let mut carry = 0;
        for at in (0..low.len()).rev() {
            let all = low[at] + high[at] + carry;
            (sum[at + 1], carry) = (all % 10, all / 10);
        }
        sum[0] = carry;
        let mut rest = 0;
        let half: Vec<u8> = sum
            .iter()
            .map(|d| {
                let all = 10 * rest + d;
                rest = all % 2;
                all / 2
            })
            .collect();
        let even = if bits % 2 == 0 { x } else { above };
        assert_eq!(check(&half, 0).to_bits(), even.to_bits());
        let mut more = half.clone();
        let last = more.len() - 1;
        more[last] += 1;
        assert_eq!(check(&more, 0).to_bits(), above.to_bits());
        // Less by one at the last digit that isn't zero.
        let mut less = half;
        let last = less.iter().rposition(|d| *d > 0).unwrap();
        less[last] -= 1;
        less[last + 1..].fill(9);
        assert_eq!(check(&less, 0).to_bits(), x.to_bits());
    }
}

#[test]
fn numbers_are_written_with_the_fewest_digits_that_read_back() {
    let (mut next, served) = (random(), served("linear_regression"));
    let output = &served.model.graph().outputs()[0];
    let significant = |text: &str| {
        let digits: String = text.split(['e', 'E']).next().unwrap().chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').len()
    };
    for turn in 0..300_000u64 {
        let bits = match turn % 4 {
            0 => next() >> 12,
            1 => (next() as u32 as f32 as f64).to_bits(),
            2 => (next() as i32 as f64 / 1000.0).to_bits(),
            _ => next(),
        };
        let x = f64::from_bits(bits);
        let mut out = Vec::new();
        infer::data(output, &[x], &mut out);
        let text = std::str::from_utf8(&out).unwrap().strip_prefix("\"data\":[").unwrap().strip_suffix(']').unwrap();
        if !x.is_finite() {
            assert_eq!(text, "null");
            continue;
        }
        assert_eq!((text, number(text).unwrap().to_bits()), (&*serde_json::to_string(&x).unwrap(), bits));
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        // Two texts of as many digits may be equally near.
        assert_eq!(significant(text), significant(&format!("{x:e}")), "{text}");
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
