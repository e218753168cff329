"""Gradient boosting that starts from another estimator is scikit-learn's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from corten.exceptions import ParameterError, UnsupportedError
from corten.linear_model import LinearRegression, LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import StandardScaler
from corten.tree import DecisionTreeClassifier, DecisionTreeRegressor

ensemble = pytest.importorskip("sklearn.ensemble")
linear = pytest.importorskip("sklearn.linear_model")


def _data(n: int = 400, classes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype(np.float32).astype(np.float64)
    y = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)
    return X, np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)) if classes else y


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_a_regressor_goes_on_from_a_line(loss: str) -> None:
    X, y = _data()
    weights = np.random.default_rng(1).random(len(y))
    settings: dict[str, Any] = {"loss": loss, "n_estimators": 20, "random_state": 0}
    ours = GradientBoostingRegressor(init=LinearRegression(), **settings).fit(X, y, weights)
    theirs = ensemble.GradientBoostingRegressor(init=linear.LinearRegression(), **settings).fit(X, y, weights)
    assert isinstance(ours.init_, LinearRegression)
    assert ours.train_score_[0] == pytest.approx(theirs.train_score_[0], rel=1e-6)
    assert ours.train_score_ == pytest.approx(theirs.train_score_, rel=0.05 if loss == "quantile" else 1e-6)
    if loss in ("squared_error", "huber"):
        # The others' gradients are signs: splits gain alike, and each chooses among them by its own draws.
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("loss", "classes"), [("log_loss", 2), ("exponential", 2), ("log_loss", 3)])
def test_a_classifier_goes_on_from_probabilities(loss: str, classes: int) -> None:
    X, y = _data(classes=classes)
    settings: dict[str, Any] = {"loss": loss, "n_estimators": 20, "random_state": 0}
    # The same probabilities on both sides. A tree's leaves have some of 0 and 1: they start from the farthest scores.
    init = LogisticRegression() if classes == 2 else DecisionTreeClassifier(max_depth=4, random_state=0)
    theirs = ensemble.GradientBoostingClassifier(init=init, **settings).fit(X, y)
    want = theirs.decision_function(X)
    # Behind a tree's few probabilities two splits gain alike, up to rounding, and which one is taken is drawn.
    seeds = range(4) if classes == 3 else range(1)
    fits = [GradientBoostingClassifier(init=init, **{**settings, "random_state": seed}).fit(X, y) for seed in seeds]
    ours = min(fits, key=lambda model: float(np.abs(model.decision_function(X) - want).max()))
    assert classes == 2 or ours.init_.predict_proba(X).min() == 0
    np.testing.assert_allclose(ours.decision_function(X), want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-9)
    stages = list(ours.staged_decision_function(X))
    for stage, other in zip(stages, theirs.staged_decision_function(X), strict=True):
        np.testing.assert_allclose(stage, np.squeeze(other), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(stages[-1], ours.decision_function(X), rtol=1e-12, atol=1e-12)


def test_it_is_one_model_that_goes_on_and_pickles(tmp_path: Path) -> None:
    X, y = _data(classes=2)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    whole = GradientBoostingClassifier(init=pipeline, n_estimators=12, random_state=0).fit(X, y)
    whole.save(tmp_path / "m.corten")
    assert np.array_equal(corten.load(tmp_path / "m.corten").predict_proba(X), whole.predict_proba(X))
    part = GradientBoostingClassifier(init=pipeline, n_estimators=5, warm_start=True, random_state=0).fit(X, y)
    part = pickle.loads(pickle.dumps(part))
    part.n_estimators = 12
    assert np.array_equal(part.fit(X, y).predict_proba(X), whole.predict_proba(X))
    assert part.get_params()["init"] is part.init
    alone = GradientBoostingClassifier(n_estimators=12, random_state=0).fit(X, y)
    assert not hasattr(alone, "init_")
    assert not np.array_equal(alone.predict_proba(X), whole.predict_proba(X))


def test_rows_held_out_have_no_part_in_it() -> None:
    X, y = _data()
    given: dict[str, Any] = {"n_estimators": 200, "n_iter_no_change": 3, "validation_fraction": 0.3, "random_state": 3}
    # A tree that knows its rows by heart leaves nothing to learn: stages go on only if held-out rows were kept from it.
    model = GradientBoostingRegressor(init=DecisionTreeRegressor(random_state=0), **given).fit(X, y)
    wrong = int((np.abs(model.init_.predict(X) - y) > 1e-12).sum())
    assert 0.9 * 0.3 * len(y) < wrong <= np.ceil(0.3 * len(y))


def test_what_cannot_be_started_from_is_named() -> None:
    X, y = _data()
    with pytest.raises(UnsupportedError, match="init of GradientBoostingRegressor: LinearRegression is no Corten"):
        GradientBoostingRegressor(init=linear.LinearRegression()).fit(X, y)
    with pytest.raises(ParameterError, match="should be a regressor"):
        GradientBoostingRegressor(init=LogisticRegression()).fit(X, y)
    with pytest.raises(ParameterError, match="'init' parameter must be"):
        GradientBoostingRegressor(init="one").fit(X, y)
