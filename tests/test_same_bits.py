"""The plain, AVX2 and AVX-512 paths fit the same model and give the same predictions, to the last bit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from corten._serve import binary
from corten.ensemble import RandomForestRegressor
from corten.exceptions import UnsupportedError

CODE = """
import hashlib, json, sys
import numpy as np
from corten.compose import make_column_transformer
from corten.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestRegressor
from corten.impute import SimpleImputer
from corten.linear_model import LogisticRegression, Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, StandardScaler
import polars as pl

rng = np.random.default_rng(0)
n = 10_000
frame = pl.DataFrame({
    "a": rng.normal(size=n), "b": rng.gamma(2.0, 9.0, n), "c": rng.integers(0, 9, n).astype(float),
    "city": rng.choice(["Oslo", "Rome", "Bonn"], n),
}).with_columns(pl.when(pl.col("b") > 40).then(None).otherwise(pl.col("b")).alias("b"))
score = frame["a"].to_numpy() ** 2 + (frame["city"] == "Rome").to_numpy() + frame["c"].to_numpy() / 9
y = score + rng.normal(size=n) > 1.5
numbers = ["a", "b", "c"]
flat = lambda *last: make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (OneHotEncoder(), ["city"])
    ), *last)
models = {
    "linear": flat(LogisticRegression()).fit(frame, y),
    "ridge": flat(Ridge()).fit(frame, score),
    "boosting": HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(
        frame.with_columns(pl.col("city").cast(pl.Categorical)), y),
    "forest": RandomForestRegressor(n_estimators=5, random_state=0).fit(frame.select(numbers), score),
    "extra": ExtraTreesClassifier(n_estimators=5, random_state=0).fit(frame.select(numbers), y),
}
out = {}
for name, model in models.items():
    rows = frame.select(numbers) if name in ("forest", "extra") else frame
    answer = model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)
    out[name] = hashlib.sha256(np.ascontiguousarray(answer).tobytes()).hexdigest()
    model.save(sys.argv[1])
    out[name + " file"] = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()
print(json.dumps(out))
"""


def _run(level: str, path: Path) -> dict[str, str]:
    environment = {**os.environ, "CORTEN_CPU": level, "SOURCE_DATE_EPOCH": "0"}
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def test_every_cpu_path_fits_and_predicts_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    plain = _run("plain", tmp_path / "m.corten")
    assert len(plain) == 10 and hashlib.sha256(b"").hexdigest() not in plain.values()
    # A level that this CPU lacks falls back to the highest one it has, so these always run.
    assert _run("avx2", tmp_path / "m.corten") == plain
    assert _run("avx512", tmp_path / "m.corten") == plain


@pytest.mark.parametrize("command", [["-c", "import corten.linear_model"], ["-m", "corten", "inspect", "m.corten"]])
def test_an_unknown_cpu_path_is_refused_in_one_sentence(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "CORTEN_CPU": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    levels = "{'plain', 'neon', 'avx2', 'avx512'}"
    message = f"The environment variable CORTEN_CPU must be one of {levels}. Got 'sse9' instead."
    assert result.stderr.strip().splitlines()[-1].partition(": ")[2] == message
    assert command[0] == "-c" or len(result.stderr.strip().splitlines()) == 1


@pytest.mark.binaries
@pytest.mark.parametrize("name", ["corten-run", "corten-serve"])
def test_the_binaries_refuse_an_unknown_cpu_path(name: str) -> None:
    try:
        path = binary(name)
    except UnsupportedError:
        pytest.skip(f"{name} is not built")
    result = subprocess.run(
        [path, "m.corten"], env={**os.environ, "CORTEN_CPU": "sse9"}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"{name}: The environment variable CORTEN_CPU must be one of")
    assert len(result.stderr.splitlines()) == 1


def test_blocks_of_any_length_and_threads_give_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 6))
    y = x[:, 0] * x[:, 1] + rng.normal(size=len(x))
    # Large enough for long blocks: 12 bytes a node and 8 a leaf.
    model = RandomForestRegressor(n_estimators=20, random_state=0).fit(x[:10_000], y[:10_000])._model
    whole = model.run("predict", x, threads=1)
    assert np.array_equal(model.run("predict", x, threads=2), whole)
    for rows in (1, 7, 1_000):
        parts = [model.run("predict", x[at : at + rows]) for at in range(0, 40 * rows, rows)]
        assert np.array_equal(np.concatenate(parts), whole[: 40 * rows])
