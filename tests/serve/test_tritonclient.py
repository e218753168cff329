"""The server spoken to by NVIDIA's client of the Open Inference Protocol, over HTTP."""

from __future__ import annotations

import contextlib
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
from corten.ensemble import HistGradientBoostingClassifier
from corten.exceptions import UnsupportedError
from corten.linear_model import LinearRegression

triton = pytest.importorskip("tritonclient.http")
pytest.importorskip("polars")
GOLDEN = Path(__file__).parents[2] / "fixtures" / "models" / "1"


def _has_server() -> bool:
    try:
        return bool(binary("corten-serve"))
    except UnsupportedError:
        return False


pytestmark = [
    pytest.mark.binaries,
    pytest.mark.skipif(not _has_server(), reason="corten-serve is not built"),
]


@pytest.fixture(scope="module")
def folder(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models")
    x = np.random.default_rng(0).normal(size=(50, 3))
    LinearRegression().fit(x, x @ [1.0, -2.0, 0.5]).save(where / "line.corten")
    late = HistGradientBoostingClassifier(max_iter=5, categorical_features=["city"])
    late.fit(table.drop("late"), table["late"]).save(where / "late.corten")
    return where


@contextlib.contextmanager
def _connected(models: list[Path]) -> Iterator[Any]:
    """A client of a server with these models."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    arguments = [*(str(m) for m in models[1:]), "--admin"]
    process = corten.serve(models[0], port=port, arguments=arguments, stderr=subprocess.DEVNULL)
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        for _ in range(400):
            try:
                if client.is_server_ready():
                    break
            except OSError:
                time.sleep(0.02)
        yield client
    finally:
        client.close()
        process.terminate()
        assert process.wait(15) == 0


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    """A client of a server with a folder of fitted models."""
    with _connected([folder]) as connected:
        yield connected


@pytest.fixture(scope="module")
def golden() -> Iterator[Any]:
    """A client of a server with golden files."""
    with _connected([GOLDEN / "logistic_two.corten", GOLDEN / "linear_regression.corten"]) as connected:
        yield connected


def test_state_metadata_and_errors(client: Any) -> None:
    assert client.is_server_live() and client.is_model_ready("line") and not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "corten"
    assert client.get_model_metadata("line")["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}]
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.get_model_metadata("none")


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_a_matrix(client: Any, folder: Path, binary_in: bool, binary_out: bool) -> None:
    x = np.random.default_rng(1).normal(size=(20, 3))
    tensor = triton.InferInput("input", x.shape, "FP64")
    tensor.set_data_from_numpy(x, binary_data=binary_in)
    outputs = [triton.InferRequestedOutput("predict", binary_data=binary_out)]
    result = client.infer("line", [tensor], outputs=outputs, request_id="7")
    assert np.array_equal(result.as_numpy("predict"), corten.load(folder / "line.corten").predict(x))
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("is_binary", [False, True])
def test_a_table_with_text(client: Any, folder: Path, table: Any, is_binary: bool) -> None:
    rows = table.drop("late").drop_nulls()
    tensors = []
    for name, datatype in (("distance", "FP64"), ("hour", "INT64"), ("city", "BYTES")):
        values = rows[name].to_numpy() if datatype != "BYTES" else np.array(rows[name].to_list(), dtype=object)
        tensor = triton.InferInput(name, values.shape, datatype)
        tensor.set_data_from_numpy(values, binary_data=is_binary)
        tensors.append(tensor)
    # No outputs named: the client asks for all of them in binary.
    result = client.infer("late", tensors)
    model = corten.load(folder / "late.corten")
    assert np.array_equal(result.as_numpy("predict_proba"), model.predict_proba(rows))
    assert np.array_equal(result.as_numpy("predict"), model.predict(rows))
    with pytest.raises(triton.InferenceServerException, match="'city' is missing"):
        client.infer("late", tensors[:2])


def test_repository(client: Any) -> None:
    assert [m["name"] for m in client.get_model_repository_index()] == ["late", "line"]
    client.unload_model("line")
    assert not client.is_model_ready("line")
    client.load_model("line")
    assert client.is_model_ready("line")
    with pytest.raises(triton.InferenceServerException, match="none"):
        client.load_model("none")


def _case(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    case = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
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
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=in_bytes)
    return tensor


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize("out_bytes", [True, False])
def test_tables_are_answered_to_the_last_bit(golden: Any, in_bytes: bool, out_bytes: bool) -> None:
    columns, expected = _case("logistic_two")
    inputs = [_input(name, values, in_bytes) for name, values in columns.items()]
    outputs = [triton.InferRequestedOutput(name, binary_data=out_bytes) for name in ("predict", "predict_proba")]
    answer = golden.infer("logistic_two", inputs, outputs=outputs, request_id="r1", timeout=60_000_000)
    got = answer.as_numpy("predict_proba")
    wanted = np.array([[float(x) for x in row] for row in expected["predict_proba"]])
    assert np.array_equal(got.view(np.int64), wanted.view(np.int64))
    labels = [v.decode() if isinstance(v, bytes) else str(v) for v in answer.as_numpy("predict").tolist()]
    assert labels == [row[0] for row in expected["predict"]]
    assert answer.get_response()["id"] == "r1"


def test_arrays_are_answered_without_names_of_outputs(golden: Any) -> None:
    columns, expected = _case("linear_regression")
    matrix = np.column_stack(list(columns.values()))
    got = golden.infer("linear_regression", [_input("input", matrix, True)], model_version="1").as_numpy("predict")
    wanted = np.array([[float(x) for x in row] for row in expected["predict"]])
    assert np.array_equal(got.view(np.int64), wanted.view(np.int64).reshape(got.shape))


def test_what_the_client_asks_about_the_server_is_answered(golden: Any) -> None:
    assert golden.is_server_live() and golden.is_server_ready() and golden.is_model_ready("logistic_two")
    assert not golden.is_model_ready("gone")
    assert "binary_tensor_data" in golden.get_server_metadata()["extensions"]
    assert [i["name"] for i in golden.get_model_metadata("logistic_two")["inputs"]] == [*_case("logistic_two")[0]]
    assert golden.get_model_config("linear_regression")["input"][0]["data_type"] == "TYPE_FP64"
    assert golden.get_inference_statistics("linear_regression")["model_stats"][0]["version"] == "1"
    golden.unload_model("linear_regression")
    states = {m["name"]: m["state"] for m in golden.get_model_repository_index()}
    assert states == {"logistic_two": "READY", "linear_regression": "UNAVAILABLE"}
    golden.load_model("linear_regression")
    assert golden.is_model_ready("linear_regression")


def test_errors_reach_the_user_as_sentences(golden: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"\[400\].*height") as caught:
        golden.infer("logistic_two", [_input("width", np.zeros(2), True)])
    assert "width" in str(caught.value)
