"""A time in place of tuning."""

from __future__ import annotations

import pickle
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from corten import _core
from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, _budget, _search
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
    assert len(model.budget_steps_) > 1 and spent < 4
    assert model.n_iter_ == sum(m["max_iter"] for m in model.budget_models_)
    assert model.best_params_ == model.budget_models_[0]
    assert model.get_params()["max_iter"] == 100
    # Hardly any time gives a model too.
    assert HistGradientBoostingRegressor(budget="1ms").fit(X, y).n_iter_ >= 1
    classes: Any = HistGradientBoostingClassifier(budget=0.5, random_state=0).fit(X, np.digitize(y, [-1, 1]))
    assert classes.predict_proba(X).shape == (3000, 3)
    with pytest.raises(ValueError, match="budget"):
        HistGradientBoostingRegressor(budget="1s", warm_start=True).fit(X, y)
    for bad in (None, float("nan"), float("inf"), "abc", [1], 0, 1.5, True):
        with pytest.raises(ValueError, match="'validation_fraction' parameter"):
            HistGradientBoostingRegressor(budget="1s", validation_fraction=bad).fit(X, y)
    # What a fit before found is not said of one without.
    model.set_params(budget=None).fit(X, y)
    assert not hasattr(model, "best_params_") and not hasattr(model, "budget_models_")


class Learner:
    """Fits in a time of its own: trees of 127 leaves learn four times as much a second as others, until noise is all that is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fastest: float = 1.0, **speeds: float) -> None:
        self.clock = 0.0
        #: Which rows each fit held out.
        self.numbers: list[int] = []
        #: What trees of other leaves learn.
        self.speeds = {"127": 1.0, **speeds}
        #: Rates above learn nothing.
        self.fastest = fastest
        monkeypatch.setattr(_search.time, "monotonic", lambda: self.clock)

    def fit(self, params: dict[str, Any], callbacks: list[Any], number: int, rounds: int) -> Any:
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
        self.numbers.append(number)
        return SimpleNamespace(validation_score_=np.array(scores), params=params)


def _searched(fit: Any, budget: float) -> tuple[Any, list[Any], list[dict[str, Any]]]:
    """The best step, all that are averaged, and all that were tried."""
    found = _search.Found(10_000)
    _search.Search(fit, budget, found).run()
    return found.best, found.members, found.steps


def test_where_the_time_is_short_the_best_size_of_trees_gets_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(monkeypatch)
    best, members, steps = _searched(learner.fit, 10.0)
    *race, last = steps
    # The larger ones are compared at rates at which they arrive.
    assert [s["max_leaf_nodes"] for s in race] == [31, 127, 127, 511] and last["max_leaf_nodes"] == 127
    assert race[2]["learning_rate"] < race[3]["learning_rate"]
    assert all(s["seconds"] < 0.7 for s in race) and last["seconds"] > 7.5
    # No time is left for others, so the step's own model is the last.
    assert members == [best] and best.model.params["max_leaf_nodes"] == 127 and best.score == last["score"]
    assert 10 <= learner.clock < 10.1 and last["learning_rate"] == 0.1
    # So few rounds that they must be larger ones.
    _, _, steps = _searched(Learner(monkeypatch).fit, 2.0)
    assert 0.1 < steps[-1]["learning_rate"] <= 0.3
    # Where they are too large, what is left is still used.
    learner = Learner(monkeypatch, fastest=0.1)
    best, _, steps = _searched(learner.fit, 2.0)
    assert [s["learning_rate"] for s in steps[-2:]] == [0.3, 0.1] and best.score == steps[-1]["score"]
    assert steps[-1]["max_iter"] > max(s["max_iter"] for s in steps[:3] if s["max_leaf_nodes"] == 127)


def test_where_there_is_time_models_on_other_rows_join_and_other_parameters_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = Learner(monkeypatch)
    best, members, steps = _searched(learner.fit, 1000.0)
    assert best.ended and best.score == max(s["score"] for s in steps) and best.params["max_leaf_nodes"] == 127
    # Smaller trees are too far from the best; the others differ in what changes nothing here.
    assert len(members) == _search.ALL and {m.params["max_leaf_nodes"] for m in members} == {127}
    assert {"max_features", "min_samples_leaf", "l2_regularization"} < set().union(*steps)
    # Each of the parameters holds other rows out each time.
    drawn = [(m.number, sorted(m.params.items())) for m in members]
    assert all(drawn.count(d) == 1 for d in drawn) and len({m.number for m in members}) > 2
    assert len(learner.numbers) == len(steps) and learner.clock < 1000
    # A model that is stopped long before its like ended is not one of them.
    learner = Learner(monkeypatch)
    _, _, steps = _searched(learner.fit, 1000.0)
    short = Learner(monkeypatch)
    budget = sum(s["seconds"] for s in steps[:4]) + 0.5 * steps[3]["seconds"]
    _, members, steps = _searched(short.fit, budget)
    assert all(m.ended or m.rounds >= _search.NEARLY * members[0].rounds for m in members)


def test_trees_grow_for_as_long_as_larger_ones_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    best, _, steps = _searched(Learner(monkeypatch, **{"511": 2.0, "2047": 4.0}).fit, 100.0)
    sizes = [s["max_leaf_nodes"] for s in steps]
    assert sizes[0] == 31 and {511, 2047, 8191} < set(sizes) and 32_767 not in sizes
    assert best.params["max_leaf_nodes"] == sizes[-1] == 2047


def test_of_many_rows_a_smaller_share_is_held_out() -> None:
    assert _budget.held_out(0.1, 200_000) == (0.05, 10_000)
    assert _budget.held_out(0.1, 50_000) == (0.1, 5_000)
    assert _budget.held_out(0.1, 200_000, 100_000) == (0.05, 10_000)
    assert _budget.held_out(0.1, 200_000, 1_000) == (0.1, 20_000), "too few of a class would be left"
    assert _budget.held_out(500, 200_000) == (500, 500)


def test_steps_that_cannot_be_judged_are_never_the_best() -> None:
    def step(score: float, rate: float = 0.1) -> _search.Step:
        return _search.Step({"learning_rate": rate}, None, 1, score, 1.0, True)

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
    assert model.n_iter_ >= model.best_params_["max_iter"] and model.score(X, y) > 0.5
    # All fits tell of their rounds.
    told: list[int] = []
    model = HistGradientBoostingRegressor(budget="2s", random_state=0)
    model.fit(X[:500], y[:500], callbacks=[lambda round: told.append(1)])
    assert len(told) >= sum(s["max_iter"] for s in model.budget_steps_)
    # A callback that ends a round's fit ends all.
    model = HistGradientBoostingRegressor(budget="20s", random_state=0)
    begin = time.monotonic()
    model.fit(X, y, callbacks=[lambda round: round.iteration == 5])
    assert len(model.budget_steps_) == 1 and model.n_iter_ <= 5 and time.monotonic() - begin < 10


def _alike(kind: type, X: Any, y: Any, **params: Any) -> list[Any]:
    """Two models on the same bins, of other rows."""
    first = kind(early_stopping=True, random_state=0, **params).fit(X, y)
    second = kind(early_stopping=True, random_state=1, **params)
    second._bins_of = first._handle
    second.fit(X, y)
    del second._bins_of
    return [first, second]


def _mean(models: list[Any], rounds: list[int]) -> Any:
    """A model that is the mean of some."""
    first, second = models
    handle = first._handle.average(rounds[0], [(second._handle, rounds[1])])
    mean = type(first)(**first.get_params())
    mean.__dict__.update(first.__dict__)
    mean._take(handle)
    mean._handle = handle
    return mean


@pytest.mark.parametrize("case", ["numbers", "classes", "two classes", "linear", "dart", "poisson"])
def test_a_mean_of_models_scores_as_their_mean(case: str) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 5))
    X[::7, 1] = np.nan
    X[:, 4] = rng.integers(0, 6, 900)
    y: Any = X[:, 0] * X[:, 2] + X[:, 4] + 0.1 * rng.normal(size=900)
    params: dict[str, Any] = {"max_iter": 12, "n_iter_no_change": 12, "categorical_features": [4]}
    kind: type = HistGradientBoostingRegressor
    if "classes" in case:
        kind, y = HistGradientBoostingClassifier, np.digitize(y, [2.0] if case == "two classes" else [1.5, 3.5])
    if case == "linear":
        params["linear_tree"] = True
    if case == "dart":
        params["boosting"] = "dart"
    if case == "poisson":
        params["loss"], y = "poisson", np.exp(y / 3)
    models = _alike(kind, X, y, **params)
    assert not np.array_equal(models[0].predict(X), models[1].predict(X))
    raw = [list(m._staged(X)) for m in models]
    rounds = [12, 12] if case == "dart" else [7, 10]
    mean = _mean(models, rounds)
    wanted = np.mean([r[n - 1].decision_function(X) for r, n in zip(raw, rounds, strict=True)], axis=0)
    *_, last = mean._staged(X)
    np.testing.assert_allclose(last.decision_function(X), wanted, rtol=1e-12, atol=1e-12)
    assert mean.n_iter_ == sum(rounds) and mean.feature_importances_.sum() == pytest.approx(1)
    if case in ("numbers", "linear", "dart"):
        np.testing.assert_allclose(mean.predict(X), wanted, rtol=1e-12, atol=1e-12)
    if case in ("numbers", "two classes"):
        values = mean.explain(X[:20])
        sums = values.values.sum(axis=1).ravel() + np.ravel(values.base_values)
        np.testing.assert_allclose(sums, wanted[:20], rtol=1e-9)
    if case == "linear":
        return
    # Each of the models is fitted anew by itself, and a fit goes on from their mean.
    again = [m.refit(X[:300], y[:300], decay_rate=0.3) for m in models]
    if case == "dart":
        parts = [m.predict(X) for m in again]
        np.testing.assert_allclose(mean.refit(X[:300], y[:300], decay_rate=0.3).predict(X), np.mean(parts, 0))
    else:
        parts = [list(m._staged(X))[n - 1].decision_function(X) for m, n in zip(again, rounds, strict=True)]
        *_, both = mean.refit(X[:300], y[:300], decay_rate=0.3)._staged(X)
        np.testing.assert_allclose(both.decision_function(X), np.mean(parts, axis=0), rtol=1e-9, atol=1e-12)
    more = kind(early_stopping=False, **{**params, "max_iter": 5}).fit(X, y, init_model=mean)
    assert more.n_iter_ == mean.n_iter_ + 5
    kept = more.refit(X, y, decay_rate=1.0)
    np.testing.assert_array_equal(kept.predict(X), more.predict(X))


def test_only_models_on_the_same_bins_are_averaged() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(400, 3)), rng.normal(size=400)
    first, second = _alike(HistGradientBoostingRegressor, X, y, max_iter=5)
    mean = first._handle.average(3, [(second._handle, 3)])
    other = HistGradientBoostingRegressor(max_iter=5).fit(X[:300], y[:300])
    dart = HistGradientBoostingRegressor(max_iter=5, boosting="dart")
    dart._bins_of = first._handle
    dart.fit(X, y)
    classes: Any = HistGradientBoostingClassifier(max_iter=5).fit(X, y > 0)
    for handle, said in [
        (other._handle, "same bins"),
        (dart._handle, "left trees out"),
        (mean, "no other"),
        (classes._handle, "classes and the loss"),
    ]:
        with pytest.raises(ValueError, match=said):
            first._handle.average(3, [(handle, 3)])
    assert first._handle.average(0, []).attributes()["n_iter_"] == 0
    one = first._handle.average(3, []).attributes()
    assert one["n_iter_"] == 3 and len(one["train_score_"]) == len(one["validation_score_"]) == 4


def test_categories_told_by_targets_are_not_judged_by_the_rows_that_told() -> None:
    rng = np.random.default_rng(5)
    levels = rng.integers(0, 400, 4000)
    X = pl.DataFrame({"city": pl.Series([f"c{v}" for v in levels]).cast(pl.Categorical), "x": rng.normal(size=4000)})
    y = rng.normal(size=400)[levels] + X["x"].to_numpy() + rng.normal(size=4000)
    model = HistGradientBoostingRegressor(budget="3s", random_state=0).fit(X, y)
    assert model._tells_targets and len(model.budget_models_) > 2
    # What is fitted on all rows is not judged by any of them: it has the score of its like.
    scores = [s["score"] for s in model.budget_steps_]
    assert len(set(scores)) < len(scores)


def test_small_fits_run_side_by_side_where_nothing_is_called_in_python() -> None:
    assert _core.side_by_side(1000, 10, 1, 4) == 4
    assert _core.side_by_side(1_000_000, 10, 1, 4) == 1
    assert _core.side_by_side(1000, 10, 1, 1) == 1


def test_parameters_whose_numbers_go_beyond_all_bounds_are_a_step_without_a_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = Learner(monkeypatch)

    def fit(params: dict[str, Any], *rest: Any) -> Any:
        if params["max_leaf_nodes"] in bad:
            raise _search.Diverged from ValueError("beyond all bounds")
        return learner.fit(params, *rest)

    bad = {511}
    best, _, steps = _searched(fit, 10.0)
    assert [s["score"] for s in steps if s["max_leaf_nodes"] == 511] == [-np.inf]
    assert best.params["max_leaf_nodes"] == 127 and best.score > -1
    bad = {31, 127}
    with pytest.raises(ValueError, match="beyond all bounds"):
        _searched(fit, 10.0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 5))
    y = np.exp(2 * (X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2])))
    for seed in range(4):
        model = HistGradientBoostingRegressor(loss="gamma", budget=0.3, random_state=seed).fit(X, y)
        assert model.n_iter_ >= 1


def test_a_step_that_is_stopped_stands_for_no_better_one() -> None:
    few, many = ({"learning_rate": 0.1, "max_leaf_nodes": leaves} for leaves in (8, 31))
    found = _search.Found(300)
    found.note(_search.Step(few, object(), 500, -0.01, 1.0, True, -3.0))
    found.note(_search.Step(few, object(), 3, -0.6, 1.0, False, -3.0))
    assert found.best.rounds == 500 and [m.rounds for m in found.members] == [500]
    # A model of parameters that something better displaced meanwhile is not kept.
    found.note(_search.Step(many, object(), 50, -0.001, 1.0, True, -3.0))
    found.note(_search.Step(few, object(), 500, -0.01, 1.0, True, -3.0, number=1))
    assert [m.params for m in found.members] == [many] and len(found.steps) == 4


def test_fits_go_on_from_means_and_from_trees_that_were_left_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2])
    mean = _mean(_alike(HistGradientBoostingRegressor, X, y, max_iter=40), [30, 40])
    dart = HistGradientBoostingRegressor(max_iter=20, boosting="dart", learning_rate=0.3, random_state=1)
    dart.fit(X, y, init_model=mean)
    assert dart.n_iter_ == 90 and dart.refit(X, y, decay_rate=0.0).score(X, y) > 0.7
    plain = HistGradientBoostingRegressor(max_iter=5, warm_start=True).fit(X, y, init_model=dart)
    again = pickle.loads(pickle.dumps(plain)).set_params(max_iter=100).fit(X, y)
    assert again.n_iter_ == 100
    model = HistGradientBoostingRegressor(budget=0.5, random_state=0, boosting="dart").fit(X, y)
    assert model.n_iter_ == sum(m["max_iter"] for m in model.budget_models_)
