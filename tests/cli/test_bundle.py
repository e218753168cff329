"""Bundles: their daemon and their Arrow streams have Python's bits."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten._cli import main
from corten._serve import binary
from corten.compose import make_column_transformer
from corten.exceptions import UnsupportedError
from corten.linear_model import LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, StandardScaler

pl = pytest.importorskip("polars")


def _need(name: str) -> None:
    try:
        binary(name)
    except UnsupportedError as error:
        print(error)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def frame() -> Any:
    rng = np.random.default_rng(8)
    kind = rng.choice(["a", "b", "ø"], 1000)
    return pl.DataFrame({"kind": kind, "x": rng.normal(size=1000), "n": rng.integers(0, 9, 1000)})


@pytest.fixture(scope="module")
def saved(frame: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["kind"]), (StandardScaler(), ["x", "n"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, (frame["x"] > 0).to_numpy())
    path: Path = tmp_path_factory.mktemp("bundle") / "m.corten"
    model.save(path)
    return path


def _bits(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).view(np.int64)


def test_the_daemon_of_a_bundle_answers_a_client_in_python(frame: Any, saved: Path, tmp_path: Path) -> None:
    _need("corten-run")
    app, path = tmp_path / "app", tmp_path / "s"
    assert main(["bundle", str(saved), "-o", str(app)]) == 0
    process = subprocess.Popen([app, "--socket", path], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None and "listening" in process.stderr.readline()
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        numbers = frame.select("x", "n").to_numpy().astype("<f8").tobytes()
        texts = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in frame["kind"])
        body = numbers + texts
        client.sendall(struct.pack("<IBBHI", 8 + len(body), 1, 1, 0, frame.height) + body)
        answer = client.makefile("rb")
        size, status, rows = struct.unpack("<IBxxxI", answer.read(12))
        got = np.frombuffer(answer.read(size - 8)).reshape(rows, -1)
        assert status == 0 and np.array_equal(_bits(got), _bits(corten.load(saved).predict_proba(frame)))
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert not path.exists()


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_a_stream_of_arrow_is_answered_by_one(frame: Any, saved: Path, tmp_path: Path, compression: Any) -> None:
    _need("corten-run-arrow")
    app = tmp_path / "app"
    assert main(["bundle", str(saved), "-o", str(app), "--arrow"]) == 0
    given = io.BytesIO()
    # More columns than the model reads, in another order, and more rows than a block has.
    rows = pl.concat([frame] * 40).select("n", "x", more=pl.lit(1), kind="kind")
    rows.write_ipc_stream(given, compression=compression)
    done = subprocess.run([app, "--arrow"], input=given.getvalue(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    out = pl.read_ipc_stream(io.BytesIO(done.stdout))
    model = corten.load(saved)
    assert out.columns == ["prediction", "probability_false", "probability_true"]
    assert out["prediction"].to_list() == model.predict(rows).tolist()
    assert np.array_equal(_bits(out.drop("prediction").to_numpy()), _bits(model.predict_proba(rows)))


def test_what_is_no_stream_of_arrow_is_one_sentence(saved: Path, tmp_path: Path) -> None:
    _need("corten-run-arrow")
    for given in (b"", b"{}\n", b"\xff\xff\xff\xff\xff\xff\xff\x7f"):
        command = [binary("corten-run-arrow"), saved, "--arrow"]
        done = subprocess.run(command, input=given, capture_output=True, timeout=60, text=False)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_stream_that_was_cut_between_batches_is_an_error(frame: Any, saved: Path, tmp_path: Path) -> None:
    given, ends = io.BytesIO(), []
    pa = pytest.importorskip("pyarrow")
    table = frame.to_arrow()
    with pa.ipc.new_stream(given, table.schema) as writer:
        for _ in range(3):
            writer.write_table(table)
            ends.append(given.tell())
    command = [sys.executable, "-m", "corten", "predict", saved, "-", "-o", tmp_path / "out.csv", "--format", "arrow"]
    commands = [command]
    with contextlib.suppress(UnsupportedError):
        commands.append([binary("corten-run-arrow"), saved, "--arrow"])
    whole = given.getvalue()
    for run in commands:
        done = subprocess.run(run, input=whole, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        for cut in (whole[: ends[1]], whole[: ends[2]], whole[: ends[2] - 100], whole[:-4]):
            (tmp_path / "out.csv").unlink(missing_ok=True)
            done = subprocess.run(run, input=cut, capture_output=True, timeout=60)
            assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
            assert b"standard input" in done.stderr and (b"was cut" in done.stderr or b"ends within" in done.stderr)
            assert not (tmp_path / "out.csv").exists()


def test_a_stream_without_rows_must_have_the_columns_too(frame: Any, saved: Path) -> None:
    _need("corten-run-arrow")
    given = io.BytesIO()
    frame.head(0).drop("x").write_ipc_stream(given)
    done = subprocess.run(
        [binary("corten-run-arrow"), saved, "--arrow"], input=given.getvalue(), capture_output=True, timeout=60
    )
    assert done.returncode == 1 and b"Column 'x' is missing from the input; it has: 'kind', 'n'." in done.stderr


def test_the_small_runner_says_how_arrow_is_read(saved: Path) -> None:
    _need("corten-run")
    done = subprocess.run([binary("corten-run"), saved, "--arrow"], input=b"", capture_output=True, timeout=60)
    assert done.returncode == 1 and b"corten bundle --arrow" in done.stderr


def test_a_batch_is_answered_before_the_next_one_comes(frame: Any, saved: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    _need("corten-run-arrow")
    process = subprocess.Popen(
        [binary("corten-run-arrow"), saved, "--arrow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    table = frame.head(10).to_arrow()
    writer = pa.ipc.new_stream(process.stdin, table.schema)
    answers = None
    start = time.monotonic()
    for _ in range(3):
        writer.write_table(table)
        process.stdin.flush()
        if answers is None:
            # Popen's reader is buffered: an unbuffered pipe gives what lies in it, which may be half a message.
            answers = pa.ipc.open_stream(process.stdout)
        assert answers.read_next_batch().num_rows == 10
    writer.close()
    process.stdin.close()
    assert process.wait(10) == 0 and time.monotonic() - start < 30
