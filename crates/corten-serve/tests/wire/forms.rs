//! Inference requests whose JSON is no request, or asks for what isn't here.

use serde_json::{Value, json};

use crate::grpc::{numbers, request};
use crate::grpc_server::messages::inference::infer_parameter::ParameterChoice;
use crate::grpc_server::messages::inference::model_infer_request::InferRequestedOutputTensor;
use crate::grpc_server::messages::inference::{self as m, InferParameter};
use crate::grpc_server::{method, start};
use crate::server::Server;

const PATH: &str = "/v2/models/linear_regression/infer";

fn input() -> Value {
    json!({ "name": "input", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4] })
}

/// The refusal of a request with this member, or with this member of its only input.
fn refused(server: &Server, of_input: bool, name: &str, value: &str, status: u16) -> String {
    let (mut whole, mut inner) = (json!({ "inputs": [input()] }), input());
    if of_input {
        inner[name] = json!("#");
        whole["inputs"] = json!([inner]);
    } else {
        whole[name] = json!("#");
    }
    server.post(PATH, &whole.to_string().replace("\"#\"", value)).error(status)
}

#[test]
fn a_request_and_an_input_are_objects() {
    let server = Server::start(&["linear_regression"], &[]);
    let list = json!(["a", null, [input()], null]).to_string();
    assert!(server.post(PATH, &list).error(400).contains("an object with 'inputs'"));
    let listed = json!({ "inputs": [["input", [1, 2], "FP64", null, [1, 2]]] }).to_string();
    assert!(server.post(PATH, &listed).error(400).contains("an input as an object"));
    assert!(server.post(PATH, r#"{"inputs": [], "inputs": []}"#).error(400).contains("'inputs' comes twice"));
    assert!(refused(&server, false, "id", "7", 400).contains("'id' must be a text"));
    assert!(refused(&server, false, "parameters", "[1]", 400).contains("must be an object"));
    assert!(refused(&server, true, "parameters", "1", 400).contains("must be an object"));
    assert!(refused(&server, false, "parameters", r#"{"binary_data_output": 1}"#, 400).contains("true or false"));
    // An id that isn't there is none.
    let none = server.post(PATH, &json!({ "id": null, "inputs": [input()] }).to_string());
    assert!(none.status == 200 && none.json().get("id").is_none());
}

#[test]
fn data_is_flat_or_nested_as_its_shape() {
    let server = Server::start(&["linear_regression"], &[]);
    let ask = |data: &str, extra: &str| {
        let body = r#"{"inputs":[{"name":"input","shape":[2,2],"datatype":"FP64","data":#}]@}"#;
        server.post(PATH, &body.replace('#', data).replace('@', extra))
    };
    // With an empty object of parameters, and without, there are two ways to the same answer.
    let extra = r#","parameters":{}"#;
    let wanted = ask("[1,2,3,4]", "").text();
    assert!(wanted.contains("\"shape\":[2,2]"), "{wanted}");
    for extra in ["", extra] {
        assert_eq!(ask("[[1,2],[3,4]]", extra).text(), wanted);
        for data in
            ["[[1],[2],[3],[4]]", "[[1,2,3,4]]", "[[1,2,3],[4]]", "[[[1,2],[3,4]]]", "[1,[2,3],4]", "[[1,2],3,4]"]
        {
            assert!(ask(data, extra).error(400).contains("'shape' [2, 2]"), "{data}");
        }
        assert!(ask("[[1,2],[3,4],[]]", extra).error(400).contains("'shape'"));
        assert!(ask("1", extra).error(400).contains("must be a list"));
    }
}

#[test]
fn nesting_has_a_limit_that_is_named_wherever_it_is() {
    let server = Server::start(&["linear_regression"], &[]);
    let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep = nest(33);
    for (of_input, name, value) in [
        (false, "unknown", deep.clone()),
        (false, "unknown", nest(100_000)),
        (false, "parameters", format!("{{\"a\":{}}}", nest(32))),
        (false, "parameters", format!("{{\"a\":{}}}", nest(1000))),
        (false, "outputs", nest(1000)),
        (false, "id", deep.clone()),
        (true, "unknown", nest(100_000)),
        (true, "parameters", format!("{{\"a\":{}}}", nest(200))),
        (true, "shape", nest(1000)),
        (true, "name", deep),
    ] {
        let error = refused(&server, of_input, name, &value, 400);
        assert!(error.contains("nested more than 32 deep"), "{name}: {error}");
    }
    let body = json!({ "inputs": [input()] }).to_string();
    let allowed = body.replacen('{', &format!("{{\"unknown\":{},", nest(32)), 1);
    assert_eq!(server.post(PATH, &allowed).status, 200);
}

#[test]
fn outputs_are_asked_for_only_as_what_they_can_be() {
    let (server, client) = start(&["linear_regression"], &[]);
    let ask = |parameters: Value| {
        let outputs = json!([{ "name": "predict", "parameters": parameters }]);
        server.post(PATH, &json!({ "inputs": [input()], "outputs": outputs }).to_string())
    };
    assert_eq!(ask(json!({ "classification": 0, "binary_data": false })).status, 200);
    assert!(
        ask(json!({ "shared_memory_region": "r", "shared_memory_byte_size": 8 })).error(400).contains("shared memory")
    );
    assert!(ask(json!({ "classification": 2 })).error(501).contains("classification"));
    assert!(ask(json!({ "binary_data": "yes" })).error(400).contains("'binary_data' must be true or false"));
    assert!(ask(json!([1])).error(400).contains("must be an object"));
    // The same over gRPC.
    let call = |key: &str, choice: ParameterChoice| {
        let mut asked = request("linear_regression", vec![numbers("input", &[1, 2], vec![1.0, 2.0])]);
        let parameters = [(key.to_owned(), InferParameter { parameter_choice: Some(choice) })].into();
        asked.outputs = vec![InferRequestedOutputTensor { name: "predict".into(), parameters }];
        client.call(&method("ModelInfer"), &asked)
    };
    call("classification", ParameterChoice::Int64Param(0)).ok::<m::ModelInferResponse>();
    assert!(call("classification", ParameterChoice::Int64Param(2)).error(12).contains("classification"));
    assert!(call("shared_memory_region", ParameterChoice::StringParam("r".into())).error(3).contains("shared memory"));
}
