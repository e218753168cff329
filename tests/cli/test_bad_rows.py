"""Bad input on the roads beside Python: the command line, the server and the executable say what Python says."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten._cli import main
from corten._serve import binary
from corten.compose import make_column_transformer
from corten.exceptions import UnsupportedError
from corten.impute import SimpleImputer
from corten.linear_model import LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder

pl = pytest.importorskip("polars")
GOOD = {"a": 1.5, "city": "Oslo"}
#: Rows that a model refuses, and what the sentence names.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown category": ({"a": 1.5, "city": "Bonn"}, ["'city'", "'Bonn'"]),
    "missing column": ({"city": "Oslo"}, ["'a'", "missing"]),
    "missing value": ({"a": None, "city": "Oslo"}, ["'a'", "NaN"]),
    "missing category": ({"a": 1.5, "city": None}, ["'city'", "missing"]),
    "text in a number column": ({"a": "wide", "city": "Oslo"}, ["'a'"]),
    "number in a text column": ({"a": 1.5, "city": 7}, ["'city'"]),
    "infinite value": ({"a": 1e999, "city": "Oslo"}, ["'a'", "infin"]),
}


def _built(name: str) -> bool:
    try:
        return bool(binary(name))
    except UnsupportedError:
        return False


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.normal(size=60), "city": rng.choice(["Oslo", "Rome"], 60)})
    prepare = make_column_transformer((OneHotEncoder(), ["city"]), ("passthrough", ["a"]))
    path = tmp_path_factory.mktemp("bad") / "m.corten"
    make_pipeline(prepare, LogisticRegression()).fit(frame, (frame["a"] > 0).to_numpy()).save(path)
    return path


def _line(row: dict[str, Any]) -> str:
    """A row as JSON; a number that is too large is written as one that is."""
    return json.dumps(row).replace("Infinity", "1e999")


def _one_sentence(text: str, words: list[str]) -> None:
    assert len(text.strip().splitlines()) == 1, text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("name", BAD)
def test_one_row_in_python(model: Path, name: str) -> None:
    row, words = BAD[name]
    loaded = corten.load(model)
    with pytest.raises(ValueError) as caught:
        loaded.predict_one(row)
    _one_sentence(str(caught.value), words)
    assert loaded.predict_one(GOOD) in (True, False)


@pytest.mark.parametrize("name", BAD)
def test_the_command_line_writes_nothing(
    model: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, words = BAD[name]
    suffix = "parquet" if name == "infinite value" else "jsonl"
    source = tmp_path / f"in.{suffix}"
    if suffix == "parquet":
        pl.DataFrame([GOOD, row]).write_parquet(source)
    else:
        source.write_text("\n".join([_line(row if name == "missing column" else GOOD), _line(row)]))
    if name == "missing column":
        # In JSON lines a member that one row leaves out is a missing value; one that all leave out is a missing column.
        source.write_text(_line(row))
    assert main(["predict", str(model), str(source), "-o", str(tmp_path / "out.csv")]) == 1
    _one_sentence(capsys.readouterr().err, ["corten: ", *words])
    assert list(tmp_path.iterdir()) == [source]


def test_a_column_of_missing_values_alone_is_read(tmp_path: Path) -> None:
    path, source = tmp_path / "m.corten", tmp_path / "in.jsonl"
    frame = pl.DataFrame({"gust": [1.0, None, 3.0, 4.0]})
    make_pipeline(SimpleImputer(), LogisticRegression()).fit(frame, [False, True, False, True]).save(path)
    source.write_text('{"gust": null, "late": true}\n{"gust": null, "late": false}\n')
    assert main(["evaluate", str(path), str(source), "--target", "late"]) == 0
    assert main(["predict", str(path), str(source), "-o", str(tmp_path / "out.csv")]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_an_empty_table(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.parquet"
    pl.DataFrame({"a": [], "city": []}, schema={"a": pl.Float64, "city": pl.String}).write_parquet(empty)
    assert main(["train", str(empty), "--target", "city", "-o", str(tmp_path / "x.corten")]) == 1
    _one_sentence(capsys.readouterr().err, ["corten: ", "0 sample"])
    for name in ("in.csv", "in.jsonl"):
        (tmp_path / name).write_text("")
        assert main(["predict", str(model), str(tmp_path / name), "-o", str(tmp_path / "out.csv")]) in (0, 1)
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "x.corten").exists()


def test_a_newer_format_is_refused_by_every_command(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = model.read_bytes()
    newer = tmp_path / "newer.corten"
    # The number stands in a JSON text within the JSON header.
    changed = data.replace(b'\\"format\\":1,', b'\\"format\\":9,')
    assert changed != data
    newer.write_bytes(changed)
    rows = tmp_path / "in.jsonl"
    rows.write_text(_line(GOOD))
    words = ["format version 9", "reads versions up to 1"]
    for command in (
        ["inspect", newer],
        ["predict", newer, rows, "-o", tmp_path / "o.csv"],
        ["bundle", newer, "-o", tmp_path / "app"],
    ):
        assert main([str(part) for part in command]) == 1
        _one_sentence(capsys.readouterr().err, ["corten: ", *words])
    if _built("corten-serve"):
        result = subprocess.run([binary("corten-serve"), newer], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        _one_sentence(result.stderr, ["corten-serve: ", *words])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "newer.corten"]


def _full_after(size: int) -> Any:
    """Makes every file of a process end at a size, as on a disk that fills."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "arrow", "parquet"])
def test_a_disk_that_fills_while_predictions_are_written(model: Path, suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / f"out.{suffix}"
    rng = np.random.default_rng(0)
    pl.DataFrame({"a": rng.normal(size=40_000), "city": ["Oslo"] * 40_000}).write_parquet(source)
    target.write_text("what was there before")
    result = subprocess.run(
        [sys.executable, "-m", "corten", "predict", model, source, "-o", target, "--proba"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_full_after(20_000),
    )
    assert result.returncode == 1
    _one_sentence(result.stderr, ["corten: ", target.name])
    assert target.read_text() == "what was there before"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, target.name])


@pytest.mark.binaries
@pytest.mark.skipif(not _built("corten-run"), reason="corten-run is not built")
def test_a_disk_that_fills_while_a_bundle_is_written(model: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "corten", "bundle", model, "-o", tmp_path / "app"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_full_after(20_000),
    )
    assert result.returncode == 1
    _one_sentence(result.stderr, ["corten: ", "app"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.binaries
@pytest.mark.skipif(not _built("corten-run"), reason="corten-run is not built")
def test_the_executable_tells_each_row_and_goes_on(model: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    assert main(["bundle", str(model), "-o", str(app)]) == 0
    lines = [_line(row) for row, _ in BAD.values()]
    result = subprocess.run([app], input="\n".join([*lines, _line(GOOD)]), capture_output=True, text=True, check=False)
    assert result.returncode == 1
    told = result.stderr.strip().splitlines()
    for sentence, (name, (_, words)) in zip(told, BAD.items(), strict=False):
        assert all(word in sentence for word in words), (name, sentence)
    assert len(told) >= len(BAD)
    assert "prediction" in json.loads(result.stdout.strip().splitlines()[-1])
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            result = subprocess.run(
                [app], input=_line(GOOD), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert result.returncode == 1
        _one_sentence(result.stderr, [])


@pytest.fixture(scope="module")
def port(model: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    process = corten.serve(model, port=number, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", number), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield number
    process.terminate()
    process.wait(10)


def _ask(port: int, body: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.binaries
@pytest.mark.skipif(not _built("corten-serve"), reason="corten-serve is not built")
@pytest.mark.parametrize("name", BAD)
def test_the_server_refuses_the_request_and_goes_on(port: int, name: str) -> None:
    row, words = BAD[name]
    status, answer = _ask(port, f'{{"rows": [{_line(GOOD)}, {_line(row)}]}}')
    assert status == 400
    _one_sentence(answer["error"], words)
    status, answer = _ask(port, f'{{"rows": [{_line(GOOD)}]}}')
    assert status == 200 and len(answer["predictions"]) == 1


@pytest.mark.binaries
@pytest.mark.skipif(not _built("corten-serve"), reason="corten-serve is not built")
def test_a_port_in_use(port: int, model: Path) -> None:
    for command in ([sys.executable, "-m", "corten", "serve"], [binary("corten-serve")]):
        result = subprocess.run(
            [*command, model, "--port", str(port)], capture_output=True, text=True, check=False, timeout=30
        )
        assert result.returncode == 1
        _one_sentence(result.stderr, ["corten-serve: ", str(port), "in use"])
