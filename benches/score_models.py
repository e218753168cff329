#!/usr/bin/env python3
"""Scoring of converted models beside the libraries that made them.

    python benches/score_models.py

CatBoost's own models (symmetric trees) and one of LightGBM with categories of thousands of levels; scikit-learn's forests
and isolation forest, where scikit-learn-intelex is installed also under its patch. Batches on one and on two threads, and
single rows in turn. The answers are compared before they are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import median_us
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor

import corten

ROWS = 20_000
# What the core calls methods that only estimators have.
METHODS = {"score_samples": "decision_function"}
Score = Callable[[np.ndarray, int], Any]


def rows_and_target(seed: int = 0, features: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns, exact in `float32`, and a target with interactions."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(2 * ROWS, features)).astype(np.float32).astype(float)
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3:9].sum(axis=1) + random.normal(size=len(x))
    return x, y


def least(call: Callable[[], Any], spend: float = 1.0) -> float:
    """Least seconds of the calls that fit into some time."""
    best, end = float("inf"), time.perf_counter() + spend
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def report(name: str, model: Any, method: str, peers: dict[str, Score], rows: np.ndarray) -> None:
    """Lines for one and two threads, and for single rows: our figure, and how many times the quickest peer's."""
    one = getattr(model, method)
    for peer in peers.values():
        np.testing.assert_allclose(one(rows), np.asarray(peer(rows, 2)).reshape(one(rows).shape), rtol=1e-5, atol=1e-5)
    for threads in (1, 2):
        ours = least(lambda threads=threads: model._core.run(METHODS.get(method, method), rows, threads))
        times = {n: least(lambda peer=peer, threads=threads: peer(rows, threads)) for n, peer in peers.items()}
        best = min(times, key=times.__getitem__)
        print(f"{name:28} {threads} threads {len(rows) / ours / 1e3:9.0f} k rows/s {times[best] / ours:7.1f}x {best}")
    singles = [np.ascontiguousarray(rows[i : i + 1]) for i in range(2_000)]
    ours = median_us(one, singles)
    some = {n: median_us(lambda row, peer=peer: peer(row, 1), singles, 200) for n, peer in peers.items()}
    best = min(some, key=some.__getitem__)
    print(f"{name:28} one row   {ours:9.1f} us       {some[best] / ours:7.1f}x {best}")


def patched(fitted: Any) -> dict[str, Any]:
    """A copy of a forest fitted under Intel's patch, where there is one."""
    try:
        import daal4py  # noqa: F401
        from sklearnex import ensemble
    except ImportError:
        return {}
    twin = getattr(ensemble, type(fitted).__name__, None)
    return {} if twin is None else {"scikit-learn-intelex": twin(**fitted.get_params())}


def forests(x: np.ndarray, y: np.ndarray) -> None:
    """scikit-learn's forests of deep trees, and its isolation forest."""
    classes = np.digitize(y, [-1.0, 1.0])
    forests = [
        ("forest, 3 classes", RandomForestClassifier(100, random_state=0, n_jobs=2), classes, "predict_proba"),
        ("forest, regression", RandomForestRegressor(100, random_state=0, n_jobs=2, max_features=0.3), y, "predict"),
        ("extra trees, regression", ExtraTreesRegressor(100, random_state=0, n_jobs=2), y, "predict"),
        ("isolation forest", IsolationForest(n_estimators=100, random_state=0, n_jobs=2), None, "score_samples"),
    ]
    for name, forest, target, method in forests:
        forest.fit(x[:ROWS], target if target is None else target[:ROWS])
        peers = {"scikit-learn": forest}
        for other, twin in patched(forest).items():
            peers[other] = twin.fit(x[:ROWS], target if target is None else target[:ROWS])

        def score(fitted: Any, method: str) -> Score:
            def call(rows: np.ndarray, threads: int) -> Any:
                if fitted.n_jobs != threads:
                    fitted.set_params(n_jobs=threads)
                return getattr(fitted, method)(rows)

            return call

        report(name, corten.convert(forest), method, {n: score(f, method) for n, f in peers.items()}, x[ROWS:])


def catboost(x: np.ndarray, y: np.ndarray) -> None:
    """CatBoost's symmetric trees."""
    try:
        from catboost import CatBoostRegressor
    except ImportError:
        print("CatBoost isn't installed")
        return
    fitted = CatBoostRegressor(iterations=1000, depth=6, verbose=False, allow_writing_files=False)
    fitted.fit(x[:ROWS], y[:ROWS])
    peers: dict[str, Score] = {"CatBoost": lambda rows, threads: fitted.predict(rows, thread_count=threads)}
    report("CatBoost, 1,000 of depth 6", corten.convert(fitted), "predict", peers, x[ROWS:])


def categories() -> None:
    """LightGBM's trees on categories of thousands of levels."""
    import lightgbm as lgb

    random = np.random.default_rng(1)
    x = np.c_[
        random.integers(0, 4000, 2 * ROWS), random.integers(0, 300, 2 * ROWS), random.normal(size=(2 * ROWS, 6))
    ].astype(float)
    effects = random.normal(size=4000)
    y = effects[x[:, 0].astype(int)] + 0.1 * (x[:, 1] % 7) + x[:, 2] * x[:, 3] + random.normal(size=len(x))
    settings = {"num_leaves": 63, "verbose": -1, "num_threads": 2, "max_cat_threshold": 256, "seed": 0}
    data = lgb.Dataset(x[:ROWS], y[:ROWS], categorical_feature=[0, 1])
    booster = lgb.train(settings, data, 500)
    peers: dict[str, Score] = {"LightGBM": lambda rows, threads: booster.predict(rows, num_threads=threads)}
    report("LightGBM, 4,000 categories", corten.convert(booster), "predict", peers, x[ROWS:])


def main() -> None:
    """Measures and prints."""
    x, y = rows_and_target()
    catboost(x, y)
    categories()
    forests(x, y)


if __name__ == "__main__":
    main()
