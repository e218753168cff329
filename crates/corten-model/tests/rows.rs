//! Rows of JSON and CSV: exact numbers, escapes, and what is refused.

use corten_core::Kind;
use corten_model::ops::Scale;
use corten_model::rows::{AnswerWriter, CsvReader, RowReader, Scanner};
use corten_model::*;

fn model() -> Model {
    let input = |name: &str, kind| Input { name: name.into(), kind, dtype: "f64".into() };
    let mut b =
        Builder::new(Schema { named: true, inputs: vec![input("a", Kind::Number), input("ci\"ty", Kind::Text)] });
    let inputs = b.inputs();
    let y = b.add(Scale::default(), &inputs[..1]).unwrap();
    b.finish(vec![Output::new(Method::Transform, vec![y[0], inputs[1]], vec!["a".into(), "city".into()])]).unwrap()
}

fn read(text: &str) -> Result<String, String> {
    let model = model();
    let (mut rows, mut session, mut out) = (RowReader::new(&model), model.session(), Vec::new());
    let mut scanner = Scanner::new(text.as_bytes());
    rows.read(&mut scanner, &mut session).and_then(|()| scanner.end()).map_err(|e| e.to_string())?;
    let texts = rows.texts();
    AnswerWriter::new(&model).answer(&model, &mut session, &texts, &mut out).map_err(|e| e.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn numbers_come_back_to_the_last_bit() {
    for x in ["0.1", "2.2250738585072011e-308", "9007199254740993", "1e-320", "-0.0", "1.7976931348623157e308"] {
        let answer = read(&format!("{{\"a\": {x}, \"ci\\\"ty\": null}}")).unwrap();
        let back: f64 = answer.split(['{', ':', ',']).nth(4).unwrap().parse().unwrap();
        assert_eq!(back.to_bits(), x.parse::<f64>().unwrap().to_bits(), "{x} {answer}");
    }
}

#[test]
fn escapes_missing_values_and_unknown_members_are_read() {
    let text = r#" {"other": [1, {"b": "\n"}], "ci\"ty": "\u00e9\ud83d\ude00\"", "a": NaN} "#;
    assert_eq!(read(text).unwrap(), "{\"transform\":{\"a\":null,\"city\":\"é😀\\\"\"}}");
    assert_eq!(read(r#"[true, "x"]"#).unwrap(), "{\"transform\":{\"a\":1.0,\"city\":\"x\"}}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    for (text, wanted) in [
        (r#"{"a": 1}"#, "ci\"ty"),
        (r#"{"a": "1", "ci\"ty": "x"}"#, "'a'"),
        (r#"{"a": 1, "ci\"ty": 2}"#, "ci\"ty"),
        (r#"{"a": 1, "a": 2, "ci\"ty": "x"}"#, "twice"),
        (r#"{"a": [1], "ci\"ty": "x"}"#, "'a'"),
        (r#"{"a": 01, "ci\"ty": "x"}"#, "value"),
        (r#"{"a": 1., "ci\"ty": "x"}"#, "value"),
        (r#"{"a": inf, "ci\"ty": "x"}"#, "value"),
        (r#"{"a": 1, "ci\"ty": "\ud800"}"#, "surrogate"),
        (r#"{"a": 1, "ci\"ty": "x"} 1"#, "follow"),
        (r#"{"a": 1, "ci\"ty": "x"#, "end"),
        ("", "expected"),
        (&"[".repeat(100_000), "list"),
        (&format!("{{\"z\": {}", "[".repeat(100_000)), "deep"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wanted), "{}: {error}", &text[..text.len().min(60)]);
    }
}

#[test]
fn lists_are_passed_over_up_to_the_depth_that_is_told() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Scanner::new(nested(32).as_bytes()).skip().is_ok());
    let error = Scanner::new(nested(33).as_bytes()).skip().unwrap_err().to_string();
    assert!(error.contains("nested more than 32 deep"), "{error}");
}

/// Whether the scanner and `serde_json`, which no one here wrote, agree that these bytes are JSON.
fn agree(bytes: &[u8]) -> bool {
    let mut scanner = Scanner::new(bytes);
    let ours = scanner.skip().and_then(|()| scanner.end()).is_ok();
    // The tokens that Python writes for what JSON can't say are taken on purpose.
    let python = [&b"NaN"[..], b"Infinity"].iter().any(|t| bytes.windows(t.len()).any(|w| w == *t));
    python || ours == serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

#[test]
fn the_grammar_is_that_of_serde_json() {
    let corpus = [
        "0",
        "-0",
        "-0.0e-0",
        "1.5E+10",
        "1e5",
        "1.e5",
        "1.",
        ".5",
        "-",
        "-a",
        "+1",
        "01",
        "-01",
        "1e",
        "1e+",
        "1e1.5",
        "0x10",
        "1e400",
        "-1e400",
        "1e-400",
        "nul",
        "null",
        "nan",
        "inf",
        "tru",
        "true",
        "false",
        "TRUE",
        "None",
        "",
        " ",
        "[]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1,2]",
        "{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":{\"b\":[1,{\"c\":null}]}}",
        "'a'",
        "\"\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\u{7f}\"",
        "\"é😀\"",
        "\"a",
        "1 2",
        "[1]]",
        "\u{feff}1",
        "\u{a0}1",
        "\u{c}1",
        "1\0",
        "[1e5, -2.5, \"x\\n\", true, null, {\"k\": [\"\\u00e9\"]}]",
    ];
    let alphabet = b"{}[]\":,\\ -+.0159eEuntrfals\n\t\0\x7f\xc3\xff/";
    let mut differ = Vec::new();
    for text in corpus {
        let bytes = text.as_bytes();
        let mut changed = vec![bytes.to_vec()];
        for at in 0..=bytes.len() {
            changed.push(bytes[..at].to_vec());
            for &byte in alphabet {
                changed.push([&bytes[..at], &[byte], &bytes[at..]].concat());
                if at < bytes.len() {
                    changed.push([&bytes[..at], &[byte], &bytes[at + 1..]].concat());
                }
            }
        }
        differ.extend(changed.into_iter().filter(|b| !agree(b)).map(|b| String::from_utf8_lossy(&b).into_owned()));
    }
    assert!(differ.is_empty(), "{} differ, such as {:?}", differ.len(), &differ[..differ.len().min(10)]);
}

#[test]
fn csv_finds_columns_by_name_and_reads_quotes() {
    let model = model();
    let (mut rows, mut session) = (RowReader::new(&model), model.session());
    let text = "x,\"ci\"\"ty\",a\r\n1,\"a, \"\"b\"\"\nc\",2.5\n\n1,,\n";
    let mut csv = CsvReader::new(&model, text.as_bytes()).unwrap();
    assert!(csv.read(&mut rows, &mut session).unwrap());
    assert_eq!((session.numbers_mut()[0], rows.texts()), (2.5, vec![Some(&b"a, \"b\"\nc"[..])]));
    assert!(csv.read(&mut rows, &mut session).unwrap());
    assert!(session.numbers_mut()[0].is_nan() && rows.texts() == [None]);
    assert!(!csv.read(&mut rows, &mut session).unwrap());
    let missing = CsvReader::new(&model, "a\n1\n".as_bytes()).err().unwrap().to_string();
    assert!(missing.contains("ci\"ty"), "{missing}");
}

#[test]
fn csv_rows_that_are_broken_are_told_and_the_next_ones_read() {
    let model = model();
    let (mut rows, mut session) = (RowReader::new(&model), model.session());
    let text = "\u{feff}a,\"ci\"\"ty\"\r\n1,x\n2\n3,y,z\n\nlong,q\n4,\"two\nlines\"\n5,w\n6,\"open\n";
    let mut csv = CsvReader::new(&model, text.as_bytes()).unwrap();
    let mut seen = Vec::new();
    for _ in 0..8 {
        let outcome = csv.read(&mut rows, &mut session).map(|more| more.then(|| session.numbers_mut()[0]));
        seen.push((csv.line(), outcome.map_err(|e| e.to_string())));
    }
    let fault = |text: &str| Err(text.to_owned());
    assert_eq!(seen[0], (2, Ok(Some(1.0))));
    assert_eq!(seen[1], (3, fault("the record has 1 fields where the header has 2")));
    assert_eq!(seen[2], (4, fault("the record has 3 fields where the header has 2")));
    assert!(seen[3].0 == 6 && seen[3].1.as_ref().is_err_and(|e| e.contains("'a'")), "{:?}", seen[3]);
    assert_eq!(seen[4], (7, Ok(Some(4.0))));
    assert_eq!(seen[5], (9, Ok(Some(5.0))));
    assert_eq!(seen[6], (10, fault("the CSV input ends within quotes")));
    assert_eq!(seen[7].1, Ok(None));
    let twice = CsvReader::new(&model, "a,\"ci\"\"ty\",a\n".as_bytes()).err().unwrap().to_string();
    assert!(twice.contains("'a'") && twice.contains("twice"), "{twice}");
}

/// Bytes without end and without a line's end.
struct Endless;

impl std::io::Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        out.fill(b'1');
        Ok(out.len())
    }
}

#[test]
fn a_record_without_end_is_refused() {
    let model = model();
    let input = std::io::BufReader::new(std::io::Read::chain("a,\"ci\"\"ty\"\n".as_bytes(), Endless));
    let mut csv = CsvReader::new(&model, input).unwrap();
    let (mut rows, mut session) = (RowReader::new(&model), model.session());
    let error = csv.read(&mut rows, &mut session).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("16 MiB"), "{error}");
}

#[test]
fn a_quote_without_an_end_is_refused_and_costs_one_look_at_each_line() {
    let model = model();
    let (mut rows, mut session) = (RowReader::new(&model), model.session());
    // Quadratic in its lines this would take hours.
    let text = format!("a,\"ci\"\"ty\"\n1,\"{}", "\n".repeat(8 << 20));
    let mut csv = CsvReader::new(&model, text.as_bytes()).unwrap();
    let error = csv.read(&mut rows, &mut session).unwrap_err().to_string();
    assert!(error.contains("within quotes"), "{error}");
}
