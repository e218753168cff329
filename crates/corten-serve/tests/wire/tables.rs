//! Tables of Arrow and Parquet as bodies.

use corten_data::{Bounds, Format, Frame, OutputColumn, OutputKind, Writer, read_bytes};
use serde_json::Value;

use crate::server::{Answer, Server, case};

const ARROW: &str = "application/vnd.apache.arrow.stream";
const PARQUET: &str = "application/vnd.apache.parquet";

fn ask(server: &Server, model: &str, kind: &str, body: &[u8]) -> Answer {
    let mut connection = server.connect();
    let length = body.len();
    let head = format!(
        "POST /predict/{model} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.send(&[head.as_bytes(), body].concat());
    connection.answer()
}

fn body(case: &Value, format: Format) -> Vec<u8> {
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (name, column) in case["inputs"].as_object().unwrap() {
        let texts = column["values"].as_array().unwrap().iter().map(|v| v.as_str().map(str::to_owned));
        let values_of = if column["kind"] == "number" {
            OutputColumn::Float(texts.map(|t| t.map_or(f64::NAN, |t| t.parse().unwrap())).collect())
        } else {
            OutputColumn::Text(texts.collect())
        };
        let kind = if column["kind"] == "number" { OutputKind::Float } else { OutputKind::Text };
        columns.push((name.clone(), kind));
        values.push(values_of);
    }
    Writer::to_bytes(format, &columns, &values).unwrap()
}

fn frame(answer: Answer, format: Format) -> Frame {
    assert_eq!(answer.status, 200, "{}", answer.text());
    read_bytes(answer.body.into(), format, Bounds { rows: 1000, bytes: 1 << 20 }).unwrap()
}

#[test]
fn tables_are_answered_in_kind_to_the_last_bit() {
    let server = Server::start(&["logistic_three", "boosting_number"], &[]);
    for (kind, format) in [(ARROW, Format::ArrowIpc), (PARQUET, Format::Parquet)] {
        for name in ["logistic_three", "boosting_number"] {
            let case = case(name);
            let answer = ask(&server, name, kind, &body(&case, format));
            assert_eq!(answer.headers["content-type"], kind, "{}", answer.text());
            let frame = frame(answer, format);
            let table = frame.table().unwrap();
            let method = if name == "boosting_number" { "predict" } else { "predict_proba" };
            let wanted = case["outputs"][method].as_array().unwrap();
            // Behind the predicted class come the probabilities.
            let skip = usize::from(method == "predict_proba");
            assert_eq!((table.rows(), table.width()), (wanted.len(), skip + wanted[0].as_array().unwrap().len()));
            for (at, column) in table.columns().iter().skip(skip).enumerate() {
                assert!(column.name.starts_with(if skip == 1 { "probability_" } else { "prediction" }));
                for (got, row) in column.to_f64().unwrap().iter().zip(wanted) {
                    assert_eq!(got.to_bits(), row[at].as_str().unwrap().parse::<f64>().unwrap().to_bits(), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_table_may_have_twenty_times_the_largest_body_once_it_is_unpacked() {
    let server = Server::start(&["ridge"], &["--max-body", "3000"]);
    let equal = |rows: usize| {
        let columns: Vec<_> = ["width", "count"].map(|n| (n.to_owned(), OutputKind::Float)).into();
        let values = [vec![1.0; rows], vec![2.0; rows]].map(OutputColumn::Float);
        let bytes = Writer::to_bytes(Format::Parquet, &columns, &values).unwrap();
        assert!(bytes.len() <= 3000, "{}", bytes.len());
        ask(&server, "ridge", PARQUET, &bytes)
    };
    assert_eq!(equal(3000).status, 200);
    let told = equal(4000).error(413);
    assert!(told.contains("60000 bytes"), "{told}");
}

#[test]
fn tables_that_do_not_fit_are_refused_in_one_sentence() {
    let server = Server::start(&["ridge"], &["--max-rows", "2", "--max-body", "20000"]);
    let numbers = |names: &[&str], rows: usize, format| {
        let columns: Vec<_> = names.iter().map(|n| ((*n).to_owned(), OutputKind::Float)).collect();
        let values: Vec<_> = names.iter().map(|_| OutputColumn::Float(vec![1.0; rows])).collect();
        Writer::to_bytes(format, &columns, &values).unwrap()
    };
    for (kind, format) in [(ARROW, Format::ArrowIpc), (PARQUET, Format::Parquet)] {
        let good = numbers(&["width", "count"], 2, format);
        assert_eq!(ask(&server, "ridge", kind, &good).status, 200);
        assert!(ask(&server, "ridge", kind, &numbers(&["width"], 1, format)).error(400).contains("count"));
        assert!(ask(&server, "ridge", kind, &numbers(&["width", "count"], 3, format)).error(413).contains("2 rows"));
        assert!(ask(&server, "ridge", kind, b"nothing of this kind").error(400).contains("can't be read"));
        // However the bytes are damaged, there is an answer, and the server goes on.
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x55;
            let status = ask(&server, "ridge", kind, &damaged).status;
            assert!(matches!(status, 200 | 400 | 413), "{kind} byte {at}: {status}");
            if at % 16 == 0 {
                assert_ne!(ask(&server, "ridge", kind, &good[..at]).status, 500);
            }
        }
        assert_eq!(ask(&server, "ridge", kind, &good).status, 200);
    }
    assert!(ask(&server, "ridge", "text/csv", b"a").error(415).contains("parquet"));
}
