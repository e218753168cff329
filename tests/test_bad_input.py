"""Bad input gives one clear sentence, the right class, and leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import corten
from corten.ensemble import HistGradientBoostingClassifier
from corten.exceptions import ColumnError, FormatError, MissingColumnError, ParameterError, VersionError
from corten.linear_model import LinearRegression, LogisticRegression, Ridge
from corten.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from corten.streaming import RunningMoments

pl = pytest.importorskip("polars")
X = np.arange(12.0).reshape(6, 2)


def test_unknown_category() -> None:
    encoder = OneHotEncoder().fit(pl.DataFrame({"city": ["Oslo", "Rome"]}))
    with pytest.raises(ColumnError, match="Column 'city'.*'Bonn'"):
        encoder.transform(pl.DataFrame({"city": ["Bonn"]}))


def test_missing_column(raw: Any, flat: Any, tmp_path: Path) -> None:
    rows, y = raw
    model = clone(flat).fit(rows, y)
    with pytest.raises(ValueError, match="distance"):
        model.predict(rows.drop("distance"))
    model.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")
    with pytest.raises(MissingColumnError, match="Column 'distance' is missing from the input; it has: 'hour', 'city'"):
        loaded.predict(rows.drop("distance"))
    with pytest.raises(KeyError):
        loaded.predict(rows.drop("distance"))


def test_wrong_dtype() -> None:
    model = Ridge().fit(pl.DataFrame({"a": [1.0, 2.0]}), [1.0, 2.0])
    with pytest.raises(ValueError, match="Column 'a'.*text"):
        model.predict(pl.DataFrame({"a": ["x"]}))
    with pytest.raises(ValueError, match="Column 'when'.*type"):
        Ridge().fit(pl.DataFrame({"when": pl.Series([1, 2]).cast(pl.Date)}), [1.0, 2.0])


def test_nan_in_a_column_that_had_none() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 0.0]})
    model = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'b'.*NaN"):
        model.predict(pl.DataFrame({"a": [1.0], "b": [float("nan")]}))
    with pytest.raises(ValueError, match="'b'"):
        model.predict(pl.DataFrame({"a": [1.0], "b": [None]}, schema={"a": pl.Float64, "b": pl.Float64}))
    with pytest.raises(ValueError, match="NaN"):
        LinearRegression().fit([[np.nan], [1.0]], [1.0, 2.0])


def test_empty_table() -> None:
    with pytest.raises(ValueError, match="0 sample"):
        Ridge().fit(np.empty((0, 3)), [])
    with pytest.raises(ValueError, match="0 feature"):
        Ridge().fit(np.empty((3, 0)), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="0 sample"):
        StandardScaler().fit(pl.DataFrame({"a": pl.Series([], dtype=pl.Float64)}))


@pytest.mark.parametrize("cls", [LogisticRegression, HistGradientBoostingClassifier])
def test_one_class_target(cls: type) -> None:
    with pytest.raises(ValueError, match="needs samples of at least 2 classes.*only one class: 'a'"):
        cls().fit(X, ["a"] * 6)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values(value: float) -> None:
    bad = X.copy()
    bad[2, 1] = value
    with pytest.raises(ValueError, match="infinity"):
        Ridge().fit(bad, X[:, 0])
    with pytest.raises(ValueError, match="infinity|infinite"):
        Ridge().fit(X, X[:, 0]).predict(bad)


def test_text_in_a_number_column() -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        Ridge().fit([["1"], ["x"]], [1.0, 2.0])
    with pytest.raises(ValueError, match="Column 'a'.*text"):
        Ridge().fit(pl.DataFrame({"a": ["1", "x"]}), [1.0, 2.0])


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.corten"
    path.write_bytes(b"not a model, but a few bytes of text")
    with pytest.raises(FormatError, match="Not a valid Corten model"):
        corten.load(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError):
        corten.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere.corten"):
        corten.load(tmp_path / "nowhere.corten")
    with pytest.raises(OSError):
        corten.load(tmp_path)


def test_a_model_of_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "m.corten"
    Ridge().fit(X, X[:, 0]).save(path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    inner = json.loads(header["__metadata__"]["corten"])
    inner["format"] = 999
    header["__metadata__"]["corten"] = json.dumps(inner)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(VersionError, match="format version 999; this version of Corten reads versions up to 1"):
        corten.load(path)


def test_a_folder_that_is_not_there_or_not_writable(tmp_path: Path) -> None:
    model = Ridge().fit(X, X[:, 0])
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "nowhere" / "m.corten")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    import resource
    import subprocess
    import sys

    path = tmp_path / "m.corten"
    Ridge().fit(X, X[:, 0]).save(path)
    before = path.read_bytes()
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from corten.linear_model import Ridge\n"
        "m = Ridge().fit(np.random.default_rng(0).normal(size=(4, 20000)), [1.0, 2, 3, 4])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try: m.save(sys.argv[1])\n"
        "except OSError as e: print(type(e).__name__, e)\n"
    )
    assert resource is not None
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "Error" in result.stdout and "m.corten" in result.stdout, result.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.corten"]
    assert errno.EFBIG and os.name == "posix"


def test_integers_that_no_number_tells_apart_are_no_categories() -> None:
    frame = pl.DataFrame({"k": [2**53, 2**53 + 1], "v": [1.0, 5.0]})
    for estimator in (OneHotEncoder(), OrdinalEncoder()):
        with pytest.raises(ColumnError, match=r"'k'.*2\^53"):
            estimator.fit(frame.select("k"))
    with pytest.raises(ColumnError, match=r"'k'.*2\^53"):
        RunningMoments(key="k", values=["v"]).fit(frame)
    assert OrdinalEncoder().fit_transform(frame.select(pl.col("k") - 3)).tolist() == [[0.0], [1.0]]


def test_devices_are_written_to_and_stay() -> None:
    model = Ridge().fit(X, X[:, 0])
    model.save("/dev/null")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="/dev/full"):
        model.save("/dev/full")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Ridge(alpha=-1.0), "The 'alpha' parameter must be"),
        (LogisticRegression(C=0.0), "The 'C' parameter must be"),
        (LogisticRegression(solver="magic"), "The 'solver' parameter must be"),
        (HistGradientBoostingClassifier(learning_rate=-1.0), "The 'learning_rate' parameter must be"),
        (HistGradientBoostingClassifier(max_bins=100_000), "The 'max_bins' parameter must be"),
        (HistGradientBoostingClassifier(max_iter="many"), "The 'max_iter' parameter must be"),
        (HistGradientBoostingClassifier(random_state="x"), "The 'random_state' parameter must be"),
    ],
)
def test_parameters_out_of_range_are_named(estimator: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        estimator.fit(X, [0, 1, 0, 1, 0, 1])  # type: ignore[attr-defined]


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[6, 5\]"):
        Ridge().fit(X, np.zeros(5))
    with pytest.raises(ValueError, match="sample_weight.shape"):
        Ridge().fit(X, np.zeros(6), sample_weight=np.ones(5))


def test_targets_with_gaps_and_numbers_for_a_classifier() -> None:
    with pytest.raises(ValueError, match="Input y contains NaN"):
        Ridge().fit(X, [1, 2, 3, 4, 5, np.nan])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        LogisticRegression().fit(X, ["a", "b", None, "a", "b", "a"])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        LogisticRegression().fit(X, X[:, 0] / 7)


def test_a_method_that_the_model_lacks() -> None:
    model = corten.Model(StandardScaler().fit(X)._model)
    assert not hasattr(model, "predict")
    with pytest.raises(ValueError, match="Column 'x1' is missing|x1"):
        model.transform_one({"x0": 1.0})


def test_nothing_is_fitted_after_a_failed_fit() -> None:
    model = Ridge()
    with pytest.raises(ValueError):
        model.fit([[np.nan]], [1.0])
    with pytest.raises(ValueError, match="not fitted yet"):
        model.predict(X)
