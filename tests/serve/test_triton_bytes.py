"""The server answers Triton's own HTTP client, in JSON and in bytes; skipped where that client isn't installed."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten._serve import binary

client = pytest.importorskip("tritonclient.http")
FOLDER = Path(__file__).parents[2] / "fixtures" / "models" / "1"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A client of a server with two models."""
    try:
        program = binary("corten-serve")
    except corten.exceptions.UnsupportedError:
        pytest.skip("corten-serve is not built")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = [str(FOLDER / f"{name}.corten") for name in ("logistic_two", "linear_regression")]
    process = subprocess.Popen([program, *models, "--port", str(port), "--admin"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        with client.InferenceServerClient(f"127.0.0.1:{port}") as connected:
            yield connected
    finally:
        process.terminate()
        process.wait(10)


def _case(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    case = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    texts = [v["values"] for v in case["inputs"].values() if v["kind"] != "number"]
    # Bytes have no form for a missing text.
    whole = [
        i for i in range(len(next(iter(case["inputs"].values()))["values"])) if all(t[i] is not None for t in texts)
    ]
    columns = {}
    for column, given in case["inputs"].items():
        values = [given["values"][i] for i in whole]
        if given["kind"] == "number":
            columns[column] = np.array([float(v) for v in values])
        else:
            columns[column] = np.array(values, dtype=object)
    return columns, {method: [rows[i] for i in whole] for method, rows in case["outputs"].items()}


def _input(name: str, values: np.ndarray, in_bytes: bool) -> Any:
    datatype = "BYTES" if values.dtype == object else "FP64"
    tensor = client.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=in_bytes)
    return tensor


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize("out_bytes", [True, False])
def test_tables_are_answered_to_the_last_bit(server: Any, in_bytes: bool, out_bytes: bool) -> None:
    columns, expected = _case("logistic_two")
    inputs = [_input(name, values, in_bytes) for name, values in columns.items()]
    outputs = [client.InferRequestedOutput(name, binary_data=out_bytes) for name in ("predict", "predict_proba")]
    answer = server.infer("logistic_two", inputs, outputs=outputs, request_id="r1", timeout=60_000_000)
    got = answer.as_numpy("predict_proba")
    wanted = np.array([[float(x) for x in row] for row in expected["predict_proba"]])
    assert np.array_equal(got.view(np.int64), wanted.view(np.int64))
    labels = [v.decode() if isinstance(v, bytes) else str(v) for v in answer.as_numpy("predict").tolist()]
    assert labels == [row[0] for row in expected["predict"]]
    assert answer.get_response()["id"] == "r1"


def test_arrays_are_answered_without_names_of_outputs(server: Any) -> None:
    columns, expected = _case("linear_regression")
    matrix = np.column_stack(list(columns.values()))
    got = server.infer("linear_regression", [_input("input", matrix, True)], model_version="1").as_numpy("predict")
    wanted = np.array([[float(x) for x in row] for row in expected["predict"]])
    assert np.array_equal(got.view(np.int64), wanted.view(np.int64).reshape(got.shape))


def test_what_the_client_asks_about_the_server_is_answered(server: Any) -> None:
    assert server.is_server_live() and server.is_server_ready() and server.is_model_ready("logistic_two")
    assert not server.is_model_ready("gone")
    assert "binary_tensor_data" in server.get_server_metadata()["extensions"]
    assert [i["name"] for i in server.get_model_metadata("logistic_two")["inputs"]] == [*_case("logistic_two")[0]]
    assert server.get_model_config("linear_regression")["input"][0]["data_type"] == "TYPE_FP64"
    assert server.get_inference_statistics("linear_regression")["model_stats"][0]["version"] == "1"
    server.unload_model("linear_regression")
    states = {m["name"]: m["state"] for m in server.get_model_repository_index()}
    assert states == {"logistic_two": "READY", "linear_regression": "UNAVAILABLE"}
    server.load_model("linear_regression")
    assert server.is_model_ready("linear_regression")


def test_errors_reach_the_user_as_sentences(server: Any) -> None:
    with pytest.raises(client.InferenceServerException, match=r"\[400\].*height") as caught:
        server.infer("logistic_two", [_input("width", np.zeros(2), True)])
    assert "width" in str(caught.value)
