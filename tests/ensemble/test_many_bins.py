"""Columns of more than 255 bins: every cut between them is weighed, as scikit-learn's exact trees do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import corten
from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

tree = pytest.importorskip("sklearn.tree")

ONE: dict[str, Any] = {"max_iter": 1, "learning_rate": 1.0, "max_bins": 65_535, "early_stopping": False}


def _data(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).round(3)
    return X, np.where(X[:, 0] > 0.777, 3.0, 0.0) + np.sin(9 * X[:, 1]) + X[:, 2] * X[:, 3] + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("leaves", [2, 9, 40])
def test_one_tree_is_scikit_learns_exact_tree(leaves: int) -> None:
    X, y = _data()
    ours = HistGradientBoostingRegressor(max_leaf_nodes=leaves, min_samples_leaf=20, **ONE).fit(X, y)
    theirs = tree.DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=20).fit(X, y)
    # Cuts are of distinct values, thousands a column; 16 bits of gradient tell values apart to 1e-3.
    assert np.abs(ours.predict(X) - theirs.predict(X)).max() < 2e-3


def test_missing_values_take_the_better_side_of_any_cut() -> None:
    X, y = _data()
    rng = np.random.default_rng(1)
    X[rng.random(X.shape) < 0.1] = np.nan
    ours = HistGradientBoostingRegressor(max_leaf_nodes=20, min_samples_leaf=20, **ONE).fit(X, y)
    theirs = tree.DecisionTreeRegressor(max_leaf_nodes=20, min_samples_leaf=20).fit(X, y)
    error = [float(np.mean((m.predict(X) - y) ** 2)) for m in (ours, theirs)]
    assert error[0] <= error[1] * 1.001


def test_few_bins_are_those_of_any_limit() -> None:
    X, y = _data()
    X = X.round(1)
    few, many = (HistGradientBoostingRegressor(max_iter=10, max_bins=b).fit(X, y).predict(X) for b in (255, 65_535))
    assert np.array_equal(few, many)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"monotonic_cst": [1, 0, 0, 0]},
    {"interaction_cst": "no_interactions"},
    {"linear_tree": True},
    {"max_features": 0.5, "colsample_bytree": 0.8},
    {"subsample": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o) or "plain")
def test_models_of_many_bins_keep_their_numbers(options: dict[str, Any], tmp_path: Path) -> None:
    X, y = _data()
    X[::7, 1] = np.nan
    model = HistGradientBoostingRegressor(max_iter=15, max_bins=1500, random_state=0, **options).fit(X, y)
    model.save(tmp_path / "m.corten")
    assert np.array_equal(corten.load(tmp_path / "m.corten").predict(X), model.predict(X))
    assert model.n_features_in_ == 4
    assert model.feature_importances_.shape == (4,)
    assert abs(model.feature_importances_.sum() - 1) < 1e-12
    if "monotonic_cst" in options:
        grid = np.tile(np.nanmedian(X, axis=0), (400, 1))
        grid[:, 0] = np.linspace(-3, 3, 400)
        assert np.all(np.diff(model.predict(grid)) >= 0)
    if "interaction_cst" in options:
        base = model.predict(np.zeros((1, 4)))
        both, first, second = (
            model.predict(np.array([row])) for row in ([1.0, 0.5, 0, 0], [1.0, 0, 0, 0], [0, 0.5, 0, 0])
        )
        assert both - base == pytest.approx(first - base + second - base, abs=1e-9)


def test_a_fit_goes_on_and_explains_itself() -> None:
    X, y = _data()
    whole = HistGradientBoostingRegressor(max_iter=12, max_bins=1000).fit(X, y)
    part = HistGradientBoostingRegressor(max_iter=6, max_bins=1000, warm_start=True).fit(X, y)
    part.max_iter = 12
    assert np.array_equal(part.fit(X, y).predict(X), whole.predict(X))
    values = whole.explain(X[:50])
    assert values.values.shape == (50, 4)
    assert np.allclose(values.values.sum(axis=1) + values.base_values, whole.predict(X[:50]), atol=1e-9)


def test_files_and_categories_beside_them(tmp_path: Path) -> None:
    X, y = _data()
    frame = pl.DataFrame({**{f"x{i}": X[:, i] for i in range(4)}, "c": [f"c{i % 400}" for i in range(len(X))]})
    frame.with_columns(y=(y > 1).astype(int)).write_parquet(tmp_path / "t.parquet")
    settings: dict[str, Any] = {"max_iter": 8, "max_bins": 2000, "random_state": 0, "early_stopping": False}
    memory = HistGradientBoostingClassifier(**settings).fit(frame, (y > 1).astype(int))
    files = HistGradientBoostingClassifier(**settings).fit(tmp_path / "t.parquet", "y")
    assert np.array_equal(memory.predict_proba(frame), files.predict_proba(frame))
    assert memory.score(frame, (y > 1).astype(int)) > 0.85


@pytest.mark.parametrize("bins", [1, 65_536])
def test_other_numbers_of_bins_are_refused(bins: int) -> None:
    with pytest.raises(ValueError, match=r"max_bins.*\[2, 65535\]"):
        HistGradientBoostingRegressor(max_bins=bins).fit(*_data(50))
