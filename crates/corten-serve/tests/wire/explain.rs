//! Shapley values over HTTP.

use std::path::PathBuf;

use corten_core::{Column, Data, Kind, Table};
use corten_model::ops::{Tree, TreeNode, Trees, TreesSpec};
use corten_model::{Builder, Input, Method, Model, Output, Run, Schema};
use serde_json::{Value, json};

use crate::server::Server;

/// Two trees over two numbers, with one or two outputs.
fn model(outputs: u32) -> Model {
    let node = |feature, threshold, left| TreeNode::Number {
        feature,
        threshold,
        missing_left: false,
        zero_missing: false,
        left,
        right: left + 1,
    };
    let leaf = |value| TreeNode::Leaf { value };
    let tree = |output: u32, scale: f64| Tree {
        nodes: vec![node(0, 0.5, 1), leaf(0), node(1, -1.0, 3), leaf(1), leaf(2)],
        values: vec![scale, -2.0 * scale, 0.25 * scale],
        cover: vec![10.0, 4.0, 6.0, 1.0, 5.0],
        ..Tree::new(Some(output))
    };
    let trees = vec![tree(0, 1.0), tree(outputs - 1, 3.0)];
    let inputs = ["a", "b"].map(|name| Input { name: name.into(), kind: Kind::Number, dtype: "f64".into() });
    let mut builder = Builder::new(Schema { named: true, inputs: inputs.to_vec() });
    let slots = builder.inputs();
    let scores = builder.add(Trees::build(TreesSpec { trees, ..TreesSpec::new(2, outputs) }).unwrap(), &slots).unwrap();
    let names = (0..outputs).map(|i| format!("prediction_{i}")).collect();
    builder.finish(vec![Output::new(Method::Predict, scores, names)]).unwrap()
}

fn saved(name: &str, outputs: u32) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("corten-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.corten"));
    model(outputs).save(&path).unwrap();
    path
}

#[test]
fn rows_are_explained_to_the_last_bit() {
    let paths = [saved("one", 1), saved("two", 2)];
    let server = Server::of(&[&paths[0], &paths[1]], &[]);
    let rows = json!([{ "a": 1.0, "b": 2.0 }, { "b": -3.0, "a": 0.0 }, { "a": 7.0, "b": null }]);
    let columns = vec![Column::f64("a", vec![1.0, 0.0, 7.0]), Column::f64("b", vec![2.0, -3.0, f64::NAN])];
    let data = Data::Table(Table::named(columns).unwrap());
    for (path, outputs) in [("/explain", 1), ("/explain/one", 1), ("/explain/two", 2)] {
        let answer = server.post(path, &json!({ "rows": rows }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let want = model(outputs).explain(&data, false, &Run::default()).unwrap();
        let flat = |value: &Value| -> Vec<u64> {
            let mut open = vec![value.clone()];
            let mut out = Vec::new();
            while let Some(next) = open.pop() {
                match next {
                    Value::Array(items) => open.extend(items.into_iter().rev()),
                    number => out.push(number.as_f64().unwrap().to_bits()),
                }
            }
            out
        };
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(flat(&answer["values"]), bits(&want.values));
        assert_eq!(flat(&answer["base_values"]), bits(&want.base));
        assert_eq!(answer["feature_names"], json!(["a", "b"]));
        assert_eq!(answer["values"].as_array().unwrap().len(), 3);
    }
    assert_eq!(
        server.get("/openapi.json").json()["paths"]["/explain/two"]["post"]["responses"]["400"]["description"],
        "what is wrong, by column"
    );
}

#[test]
fn what_cannot_be_explained_is_refused_with_the_reason() {
    let path = saved("limits", 1);
    let linear = crate::server::golden("linear_regression");
    let server = Server::of(&[&path, &linear], &["--max-rows", "2"]);
    for (path, body, status, problem) in [
        ("/explain/linear_regression", json!({ "rows": [] }), 400, "no trees"),
        ("/explain/limits", json!({ "rows": [{ "a": 1.0 }] }), 400, "row 0"),
        ("/explain/limits", json!({ "rows": [{ "a": "x", "b": 1.0 }] }), 400, "row 0"),
        ("/explain/limits", json!({}), 400, "the body must be"),
        ("/explain/limits", json!({ "rows": vec![json!({ "a": 1.0, "b": 1.0 }); 3] }), 413, "more than 2 rows"),
        ("/explain/nobody", json!({ "rows": [] }), 404, "nobody"),
    ] {
        let answer = server.post(path, &body.to_string());
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert!(answer.text().contains(problem), "{}", answer.text());
    }
    assert_eq!(server.post("/explain/limits", "{\"rows\":[]}").json()["values"], json!([]));
}
