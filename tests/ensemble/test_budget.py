"""A time in place of tuning."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from corten.ensemble._budget import seconds


def test_times_are_read() -> None:
    assert [seconds(t) for t in ("30s", "1min", "2h", "500ms", 3, "1.5 m")] == [30, 60, 7200, 0.5, 3, 90]
    for bad in ("soon", "1", -1, 0, True, "1.2.3s", float("inf")):
        with pytest.raises(ValueError, match="'budget' parameter"):
            seconds(bad)


def test_a_budget_finds_more_than_the_defaults() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6))
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + 0.1 * rng.normal(size=3000)
    train, test = slice(0, 2000), slice(2000, None)
    begin = time.monotonic()
    model = HistGradientBoostingRegressor(budget="2s", random_state=0).fit(X[train], y[train])
    spent = time.monotonic() - begin
    plain = HistGradientBoostingRegressor(random_state=0).fit(X[train], y[train])
    assert model.score(X[test], y[test]) > plain.score(X[test], y[test])
    assert len(model.budget_steps_) > 1 and model.best_params_["max_iter"] == model.n_iter_ or spent >= 2
    assert model.get_params()["max_iter"] == 100
    best = max(model.budget_steps_, key=lambda s: s["score"])
    assert best["learning_rate"] == model.best_params_["learning_rate"]
    classes: Any = HistGradientBoostingClassifier(budget=0.5, random_state=0).fit(X, np.digitize(y, [-1, 1]))
    assert classes.predict_proba(X).shape == (3000, 3)
    with pytest.raises(ValueError, match="budget"):
        HistGradientBoostingRegressor(budget="1s", warm_start=True).fit(X, y)
