"""Conformal predictors: their coverage on held-out rows, and the same answers on every road."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import corten
from corten.conformal import ConformalizedQuantileRegressor, SplitConformalClassifier, SplitConformalRegressor
from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from corten.exceptions import NotFittedError, ParameterError, UnsupportedError
from corten.linear_model import LogisticRegression, Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import StandardScaler


def numbers(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A target whose spread grows with the first column."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(rows, 3))
    return X, X[:, 1] + rng.normal(size=rows) * np.exp(X[:, 0])


def classes(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 2))
    scores = np.c_[X[:, 0], X[:, 1], -X.sum(axis=1)] * 1.5 + rng.gumbel(size=(rows, 3))
    return X, np.array(["ant", "bee", "cat"])[scores.argmax(axis=1)]


def within(share: float, level: float, conformal_rows: int, rows: int) -> bool:
    """Whether a share fits the coverage: four standard errors of both samples."""
    error = np.sqrt(level * (1 - level) * (1 / conformal_rows + 1 / rows))
    return bool(level - 4 * error <= share <= level + 4 * error + 1 / (conformal_rows + 1))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["ridge", "pipeline", "quantiles"])
def test_intervals_hold_the_share_of_targets_that_they_promise(level: float, kind: str) -> None:
    (X, y), (Xc, yc), (Xt, yt) = numbers(1, 1000), numbers(2, 2000), numbers(3, 4000)
    if kind == "quantiles":
        model: Any = ConformalizedQuantileRegressor(
            HistGradientBoostingRegressor(max_iter=30), confidence_level=level
        ).fit(X, y)
    else:
        inner = Ridge() if kind == "ridge" else make_pipeline(StandardScaler(), Ridge())
        model = SplitConformalRegressor(inner, confidence_level=level, prefit=False).fit(X, y)
    predictions, intervals = model.conformalize(Xc, yc).predict_interval(Xt)
    assert predictions.shape == (4000,) and intervals.shape == (4000, 2, 1)
    share = float(((intervals[:, 0, 0] <= yt) & (yt <= intervals[:, 1, 0])).mean())
    assert within(share, level, 2000, 4000), share
    if kind == "quantiles":
        width = intervals[:, 1, 0] - intervals[:, 0, 0]
        assert width[Xt[:, 0] > 0.5].mean() > 1.5 * width[Xt[:, 0] < -0.5].mean()
    else:
        assert np.array_equal(predictions, model.estimator_.predict(Xt))
        np.testing.assert_allclose(intervals.mean(axis=1)[:, 0], predictions, rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", [0.6, 0.9])
@pytest.mark.parametrize("score", ["lac", "aps"])
def test_sets_hold_the_share_of_classes_that_they_promise(level: float, score: str) -> None:
    (X, y), (Xc, yc), (Xt, yt) = classes(1, 1000), classes(2, 2000), classes(3, 4000)
    inner = HistGradientBoostingClassifier(max_iter=20).fit(X, y)
    model = SplitConformalClassifier(inner, confidence_level=level, conformity_score=score).conformalize(Xc, yc)
    predictions, sets = model.predict_set(Xt)
    assert sets.shape == (4000, 3, 1) and np.array_equal(predictions, inner.predict(Xt))
    inside = sets[:, :, 0]
    share = float(inside[np.arange(4000), np.searchsorted(model.classes_, yt)].mean())
    p = inner.predict_proba(Xt)
    if score == "lac":
        assert within(share, level, 2000, 4000), share
        assert np.array_equal(inside, 1 - p <= model.quantile_)
    else:
        # The most probable class is always in, so the share may be greater.
        assert share >= level - 4 * np.sqrt(level * (1 - level) * (1 / 2000 + 1 / 4000))
        assert inside.any(axis=1).all()
        order = np.argsort(-p, axis=1, kind="stable")
        sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
        want = np.zeros_like(inside)
        np.put_along_axis(want, order, (sums <= model.quantile_) | (np.arange(3) == 0), axis=1)
        assert np.array_equal(inside, want)


def test_the_quantile_is_that_of_the_definition() -> None:
    X = np.zeros((9, 1))
    fitted = Ridge().fit(np.zeros((2, 1)), [0.0, 0.0])
    model = SplitConformalRegressor(fitted, confidence_level=0.8).conformalize(X, np.arange(9.0))
    # The 8th of 9 errors: ceil(10 * 0.8).
    assert model.quantile_ == 7.0
    with pytest.raises(ValueError, match="0.95 needs at least 19 rows to conformalize on, but there are 9"):
        SplitConformalRegressor(fitted, confidence_level=0.95).conformalize(X, np.arange(9.0))


def test_a_saved_model_answers_the_same_everywhere(tmp_path: pathlib.Path) -> None:
    pl = pytest.importorskip("polars")
    X, y = numbers(4, 400)
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    boosting = HistGradientBoostingRegressor(max_iter=10)
    model = ConformalizedQuantileRegressor(boosting).fit(frame[:200], y[:200]).conformalize(frame[200:], y[200:])
    predictions, intervals = model.predict_interval(frame)
    path = tmp_path / "m.corten"
    model.save(path)
    loaded = corten.load(path)
    again, ends = loaded.predict_interval(frame)
    assert again.tobytes() == predictions.tobytes() and ends.tobytes() == intervals.tobytes()
    row = frame.row(7, named=True)
    assert loaded.predict_interval_one(row) == {"lower": intervals[7, 0, 0], "upper": intervals[7, 1, 0]}
    frame.write_csv(tmp_path / "rows.csv")
    command = [sys.executable, "-m", "corten", "predict", path, tmp_path / "rows.csv", "-o", tmp_path / "out.parquet"]
    subprocess.run(command, check=True, capture_output=True)
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out.columns == ["prediction", "lower", "upper"]
    assert out.select("lower", "upper").to_numpy().tobytes() == intervals[:, :, 0].tobytes()


def test_a_saved_set_answers_by_class(tmp_path: pathlib.Path) -> None:
    X, y = classes(5, 300)
    fitted = RandomForestClassifier(n_estimators=5, random_state=0).fit(X[:150], y[:150])
    model = SplitConformalClassifier(fitted, conformity_score="aps").conformalize(X[150:], y[150:])
    model.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")
    assert loaded.predict_set(X)[1].tobytes() == model.predict_set(X)[1].tobytes()
    one = loaded.predict_set_one({"x0": X[0, 0], "x1": X[0, 1]})
    assert [bool(one[c]) for c in ("ant", "bee", "cat")] == model.predict_set(X[:1])[1][0, :, 0].tolist()


def test_what_is_wrong_is_said() -> None:
    X, y = numbers(6, 60)
    with pytest.raises(ParameterError, match="'confidence_level' parameter must be a float between 0 and 1. Got 90"):
        SplitConformalRegressor(Ridge().fit(X, y), confidence_level=90).conformalize(X, y)
    with pytest.raises((NotFittedError, ValueError), match="not fitted"):
        SplitConformalRegressor(Ridge()).conformalize(X, y)
    with pytest.raises((NotFittedError, ValueError), match="not fitted"):
        SplitConformalRegressor(Ridge(), prefit=False).conformalize(X, y)
    with pytest.raises((NotFittedError, ValueError), match="not fitted"):
        SplitConformalRegressor(Ridge().fit(X, y)).predict_interval(X)
    with pytest.raises(ParameterError, match="'prefit' parameter must be False"):
        SplitConformalRegressor(Ridge()).fit(X, y)
    with pytest.raises(ParameterError, match="with the parameters 'loss' and 'quantile'"):
        ConformalizedQuantileRegressor(Ridge()).fit(X, y)
    with pytest.raises(ParameterError, match="a list of three fitted regressors"):
        ConformalizedQuantileRegressor(Ridge(), prefit=True).conformalize(X, y)
    labels = np.where(y > 0, "a", "b")
    fitted = LogisticRegression().fit(X, labels)
    with pytest.raises(ParameterError, match="'conformity_score' parameter"):
        SplitConformalClassifier(fitted, conformity_score="top").conformalize(X, labels)
    with pytest.raises(ValueError, match="classes that the classifier wasn't fitted on: c"):
        SplitConformalClassifier(fitted).conformalize(X, np.full(60, "c"))
    sklearn = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(UnsupportedError, match="no Corten estimator"):
        SplitConformalRegressor(sklearn.Ridge().fit(X, y)).conformalize(X, y)
