"""A time in place of tuning."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, _budget
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
    with pytest.raises(ValueError, match="'validation_fraction' parameter"):
        HistGradientBoostingRegressor(budget="1s", validation_fraction=None).fit(X, y)


class Learner:
    """Fits in a time of its own: trees of 127 leaves learn four times as much a second as others, until noise is all that is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fastest: float = 1.0, **speeds: float) -> None:
        self.clock = 0.0
        #: What trees of other leaves learn.
        self.speeds = {"127": 1.0, **speeds}
        #: Rates above learn nothing.
        self.fastest = fastest
        monkeypatch.setattr(_budget.time, "monotonic", lambda: self.clock)

    def fit(self, params: dict[str, Any], callbacks: list[Any]) -> Any:
        leaves = params["max_leaf_nodes"]
        speed = self.speeds.get(str(leaves), 0.25)
        noise = 0.01 / speed + 0.01 * params["learning_rate"] if params["learning_rate"] <= self.fastest else 0.999
        scores, left = [-1.0], params["n_iter_no_change"]
        for _ in range(params["max_iter"]):
            self.clock += leaves * 1e-4
            learnt = speed * params["learning_rate"] * leaves * 3e-4
            scores.append(min(scores[-1] * (1 - learnt), -noise))
            left = params["n_iter_no_change"] if scores[-1] > max(scores[:-1]) else left - 1
            if any(callback(None) for callback in callbacks) or left == 0:
                break
        return SimpleNamespace(validation_score_=np.array(scores), params=params)


def _searched(fit: Any, budget: float) -> tuple[Any, bool, list[dict[str, Any]]]:
    """The best step, whether there is time for all rows, and all steps."""
    found = _budget.Found()
    has_time = _budget.search(fit, budget, found)
    return found.best, has_time, found.steps


def test_where_the_time_is_short_the_best_size_of_trees_gets_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(monkeypatch)
    best, has_time, steps = _searched(learner.fit, 10.0)
    *race, last = steps
    # The larger ones are compared at rates at which they arrive.
    assert [s["max_leaf_nodes"] for s in race] == [31, 127, 127, 511] and last["max_leaf_nodes"] == 127
    assert race[2]["learning_rate"] < race[3]["learning_rate"]
    assert all(s["seconds"] < 0.7 for s in race) and last["seconds"] > 7.5
    # No time is left for a fit on all rows, so the step's own model is the last.
    assert not has_time and best.model.params["max_leaf_nodes"] == 127 and best.score == last["score"]
    assert 10 <= learner.clock < 10.1 and last["learning_rate"] == 0.1
    # So few rounds that they must be larger ones.
    _, _, steps = _searched(Learner(monkeypatch).fit, 2.0)
    assert 0.1 < steps[-1]["learning_rate"] <= 0.3
    # Where they are too large, what is left is still used.
    learner = Learner(monkeypatch, fastest=0.1)
    best, _, steps = _searched(learner.fit, 2.0)
    assert [s["learning_rate"] for s in steps[-2:]] == [0.3, 0.1] and best.score == steps[-1]["score"]
    assert steps[-1]["max_iter"] > max(s["max_iter"] for s in steps[:3] if s["max_leaf_nodes"] == 127)


def test_where_there_is_time_other_parameters_are_tried_and_all_rows_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(monkeypatch)
    best, has_time, steps = _searched(learner.fit, 1000.0)
    # The rate of the race is one of those that are tried.
    assert has_time and best.ended and len(steps) == 3 + len(_budget.THEN) - 1
    assert best.params == {"learning_rate": 0.02, "max_leaf_nodes": 127} and best.score == max(
        s["score"] for s in steps
    )
    assert 1000 - learner.clock > _budget.ALL_ROWS * best.seconds


def test_trees_grow_for_as_long_as_larger_ones_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    best, _, steps = _searched(Learner(monkeypatch, **{"511": 2.0, "2047": 4.0}).fit, 100.0)
    sizes = [s["max_leaf_nodes"] for s in steps]
    assert sizes[0] == 31 and {511, 2047, 8191} < set(sizes) and 32_767 not in sizes
    assert best.params["max_leaf_nodes"] == sizes[-1] == 2047


def test_of_many_rows_a_smaller_share_is_held_out() -> None:
    numbers, classes = np.zeros(200_000), np.repeat([0.0, 1.0], [199_000, 1_000])
    assert _budget.held_out(0.1, numbers, 0) == 0.05
    assert _budget.held_out(0.1, numbers[:50_000], 0) == 0.1
    assert _budget.held_out(0.1, np.repeat([0.0, 1.0], 100_000), 2) == 0.05
    assert _budget.held_out(0.1, classes, 2) == 0.1, "too few of a class would be left"
    assert _budget.held_out(500, numbers, 0) == 500 and _budget.held_out(None, numbers, 0) is None


def test_steps_that_cannot_be_judged_are_never_the_best() -> None:
    def step(score: float, rate: float = 0.1) -> _budget.Step:
        return _budget.Step({"learning_rate": rate}, None, 1, score, 1.0, True)

    assert step(-1.0).beats(step(-np.inf)) and step(-1.0, 0.05).beats(step(-np.inf))
    assert not step(-np.inf).beats(step(-1.0)) and not step(-np.inf, 0.05).beats(step(-1.0))
    # Finer steps are believed, but not whatever they say.
    assert step(-1.0005, 0.05).beats(step(-1.0)) and not step(-1.01, 0.05).beats(step(-1.0))
    assert not step(-1.0005).beats(step(-1.0))


def test_what_is_best_by_then_is_kept_when_a_search_is_stopped() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 4))
    y = X[:, 0] * X[:, 1]
    begin = time.monotonic()

    def stop(_: Any) -> None:
        if time.monotonic() > begin + 0.6:
            raise KeyboardInterrupt

    model = HistGradientBoostingRegressor(budget="5s", random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, callbacks=[stop])
    assert model.n_iter_ == model.best_params_["max_iter"] and model.score(X, y) > 0.5
    # The last fit tells of its rounds too.
    told: list[int] = []
    model = HistGradientBoostingRegressor(budget="2s", random_state=0)
    model.fit(X[:500], y[:500], callbacks=[lambda round: told.append(1)])
    assert len(told) >= sum(s["max_iter"] for s in model.budget_steps_) + model.n_iter_
