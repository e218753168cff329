//! Intervals and sets over HTTP.

use corten_model::Model;
use corten_model::compose::Member;
use corten_model::conformal::{Conformal, conformal};
use corten_model::ops::{PredictionSet, SetScore};
use serde_json::json;

use crate::server::{Server, case, golden};

/// A golden model under a conformal rule, in a file.
fn saved(name: &str, rule: &Conformal) -> std::path::PathBuf {
    let model = Model::load(&golden(name)).unwrap();
    let columns = (0..model.schema().inputs.len()).collect();
    let member = Member { model: &model, columns, classes: None, weight: 1.0 };
    let folder = std::env::temp_dir().join(format!("corten-conformal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.corten"));
    conformal(model.schema(), &[member], rule).unwrap().save(&path).unwrap();
    path
}

fn rows(name: &str) -> serde_json::Value {
    let case = case(name);
    let inputs = case["inputs"].as_object().unwrap();
    let value = |v: &serde_json::Value| v.as_str().and_then(|t| t.parse::<f64>().ok()).map_or(v.clone(), |x| json!(x));
    let count = inputs.values().next().unwrap()["values"].as_array().unwrap().len();
    (0..count.min(5))
        .map(|at| inputs.iter().map(|(n, c)| (n.clone(), value(&c["values"][at]))).collect::<serde_json::Value>())
        .collect()
}

#[test]
fn intervals_and_sets_stand_beside_the_prediction() {
    let set = Conformal::Set(PredictionSet { score: SetScore::Lac, threshold: 0.7 });
    let paths = [saved("boosting_number", &Conformal::Around(0.5)), saved("logistic_three", &set)];
    let server = Server::of(&[&paths[0], &paths[1]], &[]);
    let ask = |name: &str| {
        let answer = server.post(&format!("/predict/{name}"), &json!({ "rows": rows(name) }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["predictions"].as_array().unwrap().clone()
    };
    for prediction in ask("boosting_number") {
        let middle = prediction["prediction"].as_f64().unwrap();
        assert_eq!(prediction["interval"], json!([middle - 0.5, middle + 0.5]));
    }
    for prediction in ask("logistic_three") {
        let inside: Vec<String> =
            prediction["set"].as_array().unwrap().iter().map(|c| c.to_string().replace('"', "")).collect();
        for (class, p) in prediction["probability"].as_object().unwrap() {
            assert_eq!(inside.contains(class), 1.0 - p.as_f64().unwrap() <= 0.7, "{prediction}");
        }
    }
}

#[test]
fn refuses_members_and_numbers_that_do_not_fit() {
    let model = Model::load(&golden("linear_regression")).unwrap();
    let columns: Vec<usize> = (0..model.schema().inputs.len()).collect();
    let member = || Member { model: &model, columns: columns.clone(), classes: None, weight: 1.0 };
    let set = Conformal::Set(PredictionSet { score: SetScore::Aps, threshold: 0.9 });
    for (count, rule) in
        [(1, Conformal::Between(1.0)), (2, Conformal::Around(1.0)), (1, Conformal::Around(f64::NAN)), (1, set)]
    {
        let members: Vec<Member<'_>> = (0..count).map(|_| member()).collect();
        assert!(conformal(model.schema(), &members, &rule).is_err(), "{rule:?}");
    }
}
