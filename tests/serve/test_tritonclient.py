"""The server spoken to by NVIDIA's client of the Open Inference Protocol, over HTTP."""

from __future__ import annotations

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
pl = pytest.importorskip("polars")


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


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = corten.serve(folder, port=port, arguments=["--admin"], stderr=subprocess.DEVNULL)
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
