"""Golden models, their rows and answers, and a server of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "fixtures" / "models" / "1"
SERVED = ("logistic_two", "linear_regression", "tree_of_classes")


def server_binary() -> str | None:
    """The server: CORTEN_SERVE, or the one beside this interpreter, in the environment of the tests, or on the path."""
    named = os.environ.get("CORTEN_SERVE")
    places = [named] if named else [Path(sys.executable).with_name("corten-serve"), ROOT / ".venv/bin/corten-serve"]
    found = [str(p) for p in places if Path(p).is_file()]
    return found[0] if found else shutil.which("corten-serve")


@dataclass
class Case:
    """The rows of a golden model as tensors, and the answers as arrays."""

    columns: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]

    @property
    def matrix(self) -> np.ndarray:
        """The columns side by side."""
        return np.column_stack(list(self.columns.values()))


def case(name: str) -> Case:
    """The rows without missing texts, which tensors have no form for."""
    read = json.loads((MODELS / f"{name}.json").read_text(encoding="utf-8"))
    texts = [v["values"] for v in read["inputs"].values() if v["kind"] != "number"]
    count = len(next(iter(read["inputs"].values()))["values"])
    rows = [i for i in range(count) if all(t[i] is not None for t in texts)]
    columns = {}
    for column, given in read["inputs"].items():
        values = [given["values"][i] for i in rows]
        is_number = given["kind"] == "number"
        columns[column] = np.array([float(v) for v in values] if is_number else values, float if is_number else object)
    answers = {}
    for method, given in read["outputs"].items():
        values = [given[i] for i in rows]
        if method != "predict" or name in ("linear_regression",):
            values = [[float(x) for x in row] for row in values]
        array = np.array(values, None if isinstance(values[0][0], float) else object)
        answers[method] = array if array.shape[1] > 1 else array[:, 0]
    return Case(columns, answers)


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two answers are the same, numbers to the last bit."""
    if wanted.dtype == object:
        texts = [x.decode() if isinstance(x, bytes) else str(x) for x in np.ravel(got).tolist()]
        return texts == [str(x) for x in wanted.ravel().tolist()]
    return got.shape == wanted.shape and np.array_equal(
        np.ascontiguousarray(got).view(np.int64), np.ascontiguousarray(wanted).view(np.int64)
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Addresses:
    """Where a server is reached."""

    http: str
    grpc: str


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Addresses]:
    """A server of golden models that ends well."""
    binary = server_binary()
    assert binary is not None
    http, grpc = free_port(), free_port()
    models = [str(MODELS / f"{name}.corten") for name in SERVED]
    arguments = ["--port", str(http), "--grpc-port", str(grpc), "--workers", "1", *options]
    process = subprocess.Popen([binary, *models, *arguments], stderr=subprocess.DEVNULL)
    try:
        for port in (http, grpc):
            for _ in range(500):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
        yield Addresses(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    finally:
        process.terminate()
        assert process.wait(20) == 0
