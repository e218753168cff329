"""Trees fitted to sparse matrices are those of the same rows with their zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from corten.tree import DecisionTreeClassifier

sparse = pytest.importorskip("scipy.sparse")


def _data(n: int = 600, width: int = 60) -> tuple[Any, np.ndarray]:
    X = sparse.random(n, width, density=0.08, random_state=0, format="csr")
    X.data = np.round(X.data * 4 - 2, 1)
    return X, np.asarray(X @ np.random.default_rng(0).normal(size=width)).ravel()


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=20),
        HistGradientBoostingRegressor(max_iter=20, early_stopping=True, linear_tree=True, random_state=0),
        ExtraTreesRegressor(n_estimators=5, random_state=0),
    ],
)
def test_numbers_are_those_of_dense_rows(model: Any) -> None:
    X, y = _data()
    sparse_answers = model.fit(X, y).predict(X)
    assert np.array_equal(sparse_answers, model.predict(X.toarray()))
    assert np.array_equal(sparse_answers, model.fit(X.toarray(), y).predict(X))
    assert np.array_equal(sparse_answers, model.fit(X.tocsc(), y).predict(X.tocoo()))


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=10),
        RandomForestClassifier(n_estimators=5, random_state=0),
        DecisionTreeClassifier(max_depth=4, random_state=0),
    ],
)
def test_classes_are_those_of_dense_rows(model: Any) -> None:
    X, y = _data()
    target = np.digitize(y, [-0.5, 0.5])
    sparse_answers = model.fit(X, target).predict_proba(X)
    assert np.array_equal(sparse_answers, model.fit(X.toarray(), target).predict_proba(X))
    assert IsolationForest(n_estimators=10, random_state=0).fit(X).predict(X).shape == (600,)
