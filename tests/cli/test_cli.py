"""The command line from end to end, in processes of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten import _core
from corten._cli import main
from corten._serve import binary
from corten.exceptions import UnsupportedError

pl = pytest.importorskip("polars")


def _has(name: str) -> bool:
    try:
        return bool(binary(name))
    except UnsupportedError:
        return False


def _run(*arguments: Any, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "corten", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def files(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("cli")
    table.write_parquet(where / "all.parquet")
    table.drop("late").write_parquet(where / "rows.parquet")
    table.drop("late").write_csv(where / "rows.csv")
    table.drop("late").write_ndjson(where / "rows.jsonl")
    result = _run(
        "train", where / "all.parquet", "--target", "late", "-o", where / "m.corten", "--param", "max_iter=20"
    )
    assert result.returncode == 0, result.stderr
    assert "roc_auc" in result.stdout and "saved" in result.stdout
    return where


def test_predict_gives_the_numbers_of_python(files: Path) -> None:
    result = _run("predict", files / "m.corten", files / "rows.parquet", "-o", files / "out.parquet", "--proba")
    assert result.returncode == 0, result.stderr
    out = pl.read_parquet(files / "out.parquet")
    model = corten.load(files / "m.corten")
    rows = pl.read_parquet(files / "rows.parquet")
    assert out.columns == ["prediction", "probability_false", "probability_true"] or len(out.columns) == 3
    assert np.array_equal(out.select(out.columns[1:]).to_numpy(), model.predict_proba(rows))
    assert np.array_equal(out["prediction"].to_numpy(), model.predict(rows))


@pytest.mark.parametrize("source", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.arrow"])
def test_predict_from_and_to_every_format(files: Path, source: str, target: str) -> None:
    result = _run("predict", files / "m.corten", files / source, "-o", files / target, "--proba")
    assert result.returncode == 0, result.stderr
    out = pl.DataFrame(_core.read_table(str(files / target)))
    want = corten.load(files / "m.corten").predict_proba(pl.read_parquet(files / "rows.parquet"))
    assert np.array_equal(out.select(out.columns[1:]).to_numpy(), want)


def test_predict_through_standard_streams(files: Path) -> None:
    text = (files / "rows.jsonl").read_text()
    result = _run("predict", files / "m.corten", "-", "-o", "-", "--format", "jsonl", stdin=text)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    want = corten.load(files / "m.corten").predict(pl.read_parquet(files / "rows.parquet"))
    assert [line["prediction"] for line in lines] == want.tolist()


def test_predict_into_a_device_leaves_it_there(files: Path) -> None:
    result = _run("predict", files / "m.corten", files / "rows.parquet", "-o", "/dev/null", "--format", "csv")
    assert result.returncode == 0, result.stderr
    assert Path("/dev/null").is_char_device()


def test_bundle_never_takes_the_place_of_a_device(files: Path, tmp_path: Path) -> None:
    for place in ("/dev/null", tmp_path):
        result = _run("bundle", files / "m.corten", "-o", place)
        assert result.returncode == 1 and "no regular file" in result.stderr
    assert Path("/dev/null").is_char_device() and list(tmp_path.iterdir()) == []


def test_evaluate_and_inspect(files: Path) -> None:
    result = _run("evaluate", files / "m.corten", files / "all.parquet", "--target", "late", "--json")
    assert result.returncode == 0, result.stderr
    measures = json.loads(result.stdout)
    assert measures["accuracy"] > 0.7 and measures["roc_auc"] > 0.8
    shown = _run("inspect", files / "m.corten").stdout
    for text in ("distance", "city", "predict_proba", "HistGradientBoostingClassifier"):
        assert text in shown
    facts = json.loads(_run("inspect", files / "m.corten", "--json").stdout)
    assert facts["classes"] == [False, True] and facts["metadata"]["target"] == "late"


@pytest.mark.parametrize("estimator", ["logistic_regression", "random_forest", "ridge", "linear_regression"])
def test_train_builds_the_preprocessing(files: Path, estimator: str) -> None:
    target = "late" if estimator in ("logistic_regression", "random_forest") else "hour"
    extra = ["--param", "n_estimators=5"] if estimator == "random_forest" else []
    extra += ["--task", "regression"] if target == "hour" else []
    path = files / f"{estimator}.corten"
    result = _run("train", files / "all.parquet", "--target", target, "--estimator", estimator, "-o", path, *extra)
    assert result.returncode == 0, result.stderr
    rows = pl.read_parquet(files / "all.parquet").drop(target)
    assert corten.load(path).predict(rows).shape == (600,)


def test_errors_are_one_sentence_and_exit_1(files: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.corten").write_bytes(b"junk" * 100)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    pl.DataFrame({"late": [True, True], "a": [1, 2]}).write_parquet(tmp_path / "one.parquet")
    out = tmp_path / "out.parquet"
    for arguments, word in (
        (("predict", tmp_path / "junk.corten", files / "rows.parquet", "-o", out), "Not a valid Corten model"),
        (("predict", tmp_path / "none.corten", files / "rows.parquet", "-o", out), "none.corten"),
        (("predict", files / "m.corten", tmp_path / "none.parquet", "-o", out), "none.parquet"),
        (("predict", files / "m.corten", tmp_path / "other.parquet", "-o", out), "distance"),
        (
            ("train", files / "all.parquet", "--target", "speed", "-o", tmp_path / "x.corten"),
            "Column 'speed' is missing",
        ),
        (("train", tmp_path / "one.parquet", "--target", "late", "-o", tmp_path / "x.corten"), "only one class"),
        (
            ("train", files / "all.parquet", "--target", "city", "--estimator", "ridge", "-o", tmp_path / "x.corten"),
            "ridge",
        ),
        (("inspect", tmp_path / "junk.corten"), f"Not a valid Corten model: {tmp_path / 'junk.corten'}: "),
        (("bundle", tmp_path / "junk.corten", "-o", tmp_path / "app"), "Not a valid Corten model"),
        (("serve", tmp_path / "none.corten"), ""),
    ):
        result = _run(*arguments)
        assert result.returncode == 1, arguments
        assert result.stderr.startswith("corten: ") and word in result.stderr, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1 and "Traceback" not in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["junk.corten", "one.parquet", "other.parquet"]


def test_usage_errors_exit_2() -> None:
    assert _run("predict").returncode == 2
    assert _run("nonsense").returncode == 2
    assert _run().returncode == 2


def test_help_teaches_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ((), ("train",), ("predict",), ("evaluate",), ("inspect",), ("serve",), ("bundle",)):
        with pytest.raises(SystemExit) as exit:
            main([*command, "--help"])
        assert exit.value.code == 0
        assert "examples:" in capsys.readouterr().out
    assert main(["--version"]) == 0


@pytest.mark.binaries
@pytest.mark.skipif(not _has("corten-run"), reason="corten-run is not built")
def test_bundle_gives_the_numbers_of_python(files: Path) -> None:
    app = files / "app"
    result = _run("bundle", files / "m.corten", "-o", app)
    assert result.returncode == 0, result.stderr
    assert os.access(app, os.X_OK)
    rows = pl.read_parquet(files / "rows.parquet")
    text = "\n".join(json.dumps(r) for r in rows.to_dicts())
    out = subprocess.run([app], input=text, capture_output=True, text=True, check=True).stdout
    got = [list(json.loads(line)["probability"].values()) for line in out.splitlines()]
    assert np.array_equal(np.array(got), corten.load(files / "m.corten").predict_proba(rows))


@pytest.mark.binaries
@pytest.mark.skipif(not _has("corten-run"), reason="corten-run is not built")
def test_bundle_answers_a_row_before_the_next_one_is_whole(files: Path) -> None:
    app = files / "interactive"
    assert _run("bundle", files / "m.corten", "-o", app).returncode == 0
    row = json.dumps(pl.read_parquet(files / "rows.parquet").row(0, named=True))
    process = subprocess.Popen([app], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    killer = threading.Timer(20, process.kill)
    killer.start()
    try:
        for sent in (f"{row}\n\n", f"{row}\n{row[:10]}"):
            process.stdin.write(sent)
            process.stdin.flush()
            assert "prediction" in json.loads(process.stdout.readline() or "{}")
    finally:
        killer.cancel()
        process.kill()
        process.wait()


@pytest.mark.binaries
@pytest.mark.skipif(not _has("corten-serve"), reason="corten-serve is not built")
def test_serve_gives_the_numbers_of_python_and_refuses_a_port_in_use(files: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = corten.serve(files / "m.corten", port=port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        rows = pl.read_parquet(files / "rows.parquet")
        body = json.dumps({"rows": rows.to_dicts()}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", data=body, headers={"Content-Type": "application/json"}
        )
        for _ in range(200):
            try:
                answer = json.loads(urllib.request.urlopen(request, timeout=10).read())
                break
            except OSError:
                time.sleep(0.05)
        got = [list(r["probability"].values()) for r in answer["predictions"]]
        assert np.array_equal(np.array(got), corten.load(files / "m.corten").predict_proba(rows))
        second = _run("serve", files / "m.corten", "--port", port)
        assert second.returncode != 0 and str(port) in second.stderr
    finally:
        process.terminate()
        assert process.wait(10) is not None
