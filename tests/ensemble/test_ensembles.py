"""Boosting and forests: accuracy beside scikit-learn, categories, missing values, seeds, threads."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from corten import ensemble, tree

BOOSTING = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")


def _data(n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)


def _target(name: str, y: np.ndarray) -> np.ndarray:
    return y > 0 if name.endswith("Classifier") else y


@pytest.mark.parametrize("name", [*BOOSTING, *FORESTS])
def test_held_out_score_is_that_of_scikit_learn(name: str) -> None:
    theirs = getattr(pytest.importorskip("sklearn.ensemble"), name)
    X, y = _data()
    T, t = _data(seed=1)
    params = {"random_state": 0} | ({"n_estimators": 50} if name in FORESTS else {})
    ours = getattr(ensemble, name)(**params).fit(X, _target(name, y)).score(T, _target(name, t))
    other = theirs(**params).fit(X, _target(name, y)).score(T, _target(name, t))
    assert ours >= other - 0.03


@pytest.mark.parametrize("name", [*BOOSTING, *FORESTS])
def test_same_seed_gives_the_same_model_for_any_number_of_threads(name: str) -> None:
    X, y = _data(400)
    cls = getattr(ensemble, name)
    params: dict[str, Any] = {"random_state": 3} | ({"n_estimators": 10} if name in FORESTS else {"max_iter": 10})
    models = []
    for jobs in (1, 3):
        model = cls(**params, **({"n_jobs": jobs} if name in FORESTS else {}))
        model._threads = lambda jobs=jobs: jobs
        model.fit(X, _target(name, y))
        models.append(model._model.to_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("name", [*BOOSTING, *FORESTS])
def test_missing_values_are_taken(name: str) -> None:
    X, y = _data(600)
    X[::3, 0] = np.nan
    params: dict[str, Any] = {"n_estimators": 10} if name in FORESTS else {"max_iter": 10}
    model = getattr(ensemble, name)(random_state=0, **params).fit(X, _target(name, y))
    assert np.isfinite(np.asarray(model.predict(X), dtype=float)).all()


@pytest.mark.parametrize("name", FORESTS)
def test_importances_add_up(name: str) -> None:
    X, y = _data(400)
    model = getattr(ensemble, name)(n_estimators=10, random_state=0).fit(X, _target(name, y))
    assert model.feature_importances_.shape == (6,)
    assert model.feature_importances_.sum() == pytest.approx(1)


def test_text_columns_are_categories(raw: Any, trees: Any) -> None:
    from sklearn.base import clone

    X, y = raw
    model = clone(trees).fit(X, y)
    assert model.score(X, y) > 0.75
    by_name = clone(trees).set_params(categorical_features=["city"]).fit(X, y)
    by_mask = clone(trees).set_params(categorical_features=[False, False, True]).fit(X, y)
    want = model.predict_proba(X)
    assert np.array_equal(by_name.predict_proba(X), want)
    assert np.array_equal(by_mask.predict_proba(X), want)


def test_more_than_two_classes() -> None:
    X, y = _data(900)
    labels = np.array(["low", "mid", "high"])[np.digitize(y, [-0.5, 0.5])]
    model = ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X, labels)
    proba = model.predict_proba(X)
    assert model.classes_.tolist() == ["high", "low", "mid"]
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.decision_function(X).shape == (900, 3)
    assert (model.classes_[proba.argmax(axis=1)] == model.predict(X)).all()


@pytest.mark.parametrize("loss", ["absolute_error", "gamma", "poisson", "quantile"])
def test_losses_of_the_regressor(loss: str) -> None:
    theirs = pytest.importorskip("sklearn.ensemble").HistGradientBoostingRegressor
    X, y = _data(800)
    y = np.exp(y / 3)
    params: dict[str, Any] = {"loss": loss, "max_iter": 50, "random_state": 0}
    if loss == "quantile":
        params["quantile"] = 0.8
    ours = ensemble.HistGradientBoostingRegressor(**params).fit(X, y).predict(X)
    other = theirs(**params).fit(X, y).predict(X)
    assert np.corrcoef(ours, other)[0, 1] > 0.95


def test_early_stopping_stops() -> None:
    X, y = _data(1000)
    noise = np.random.default_rng(0).random(1000)
    model = ensemble.HistGradientBoostingRegressor(early_stopping=True, max_iter=500, random_state=0).fit(X, noise)
    assert model.n_iter_ < 500
    assert len(model.validation_score_) == model.n_iter_ + 1
    del y


def test_single_trees_fit_exactly() -> None:
    X, y = _data(200)
    assert tree.DecisionTreeRegressor(random_state=0).fit(X, y).score(X, y) == pytest.approx(1)
    assert tree.DecisionTreeClassifier(random_state=0).fit(X, y > 0).score(X, y > 0) == 1


def test_other_threads_run_during_fit() -> None:
    X, y = _data(60_000)
    done, ticks = threading.Event(), 0

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            time.sleep(0.001)
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(X, y > 0)
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    assert ticks > 50 * seconds
