"""Gradient boosting of exact trees is scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

theirs = pytest.importorskip("sklearn.ensemble")


def _data(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32).astype(np.float64)
    return X, X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"loss": "absolute_error"},
        {"loss": "huber", "alpha": 0.8},
        {"loss": "quantile", "alpha": 0.3},
        {"max_leaf_nodes": 5, "max_depth": None},
        {"min_samples_leaf": 10, "min_samples_split": 0.1, "learning_rate": 0.5},
        {"ccp_alpha": 0.01},
        {"init": "zero"},
    ],
)
def test_regressors_are_scikit_learns(params: dict[str, Any], weighted: bool) -> None:
    X, y = _data()
    weights = np.random.default_rng(1).integers(1, 4, len(y)) if weighted else None
    # Columns split the few rows of a small leaf alike.
    params = {"n_estimators": 20, "random_state": 0, "min_samples_leaf": 5, **params}
    ours = GradientBoostingRegressor(**params).fit(X, y, weights)
    same = theirs.GradientBoostingRegressor(**params).fit(X, y, weights)
    # Signs as targets leave splits that gain alike, which each chooses among by its own draws.
    tied = params.get("loss") in ("absolute_error", "quantile")
    if tied:
        assert ours.train_score_[:1] == pytest.approx(same.train_score_[:1], rel=1e-6)
        assert ours.train_score_ == pytest.approx(same.train_score_, rel=0.05)
        return
    assert np.allclose(ours.predict(X), same.predict(X), rtol=1e-9, atol=1e-9)
    assert np.allclose(ours.train_score_, same.train_score_, rtol=1e-9)
    assert np.allclose(ours.feature_importances_, same.feature_importances_, atol=1e-9)
    for a, b in zip(ours.staged_predict(X), same.staged_predict(X), strict=True):
        assert np.allclose(a, b, atol=1e-9)
    assert np.array_equal(a, ours.predict(X))
    assert [t.tree_.node_count for t in ours.estimators_[:, 0]] == [t.tree_.node_count for t in same.estimators_[:, 0]]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("params", [{}, {"loss": "exponential"}, {"max_depth": 2, "learning_rate": 0.7}])
def test_classifiers_of_two_are_scikit_learns(params: dict[str, Any], weighted: bool) -> None:
    X, y = _data()
    y = np.where(y > 0.3, "yes", "no")
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    params = {"n_estimators": 10, "random_state": 0, **params}
    ours = GradientBoostingClassifier(**params).fit(X, y, weights)
    same = theirs.GradientBoostingClassifier(**params).fit(X, y, weights)
    assert np.allclose(ours.decision_function(X), same.decision_function(X), rtol=1e-7, atol=1e-8)
    assert np.allclose(ours.predict_proba(X), same.predict_proba(X), atol=1e-8)
    assert np.array_equal(ours.predict(X), same.predict(X))
    assert np.allclose(ours.train_score_, same.train_score_, rtol=1e-8)
    for a, b in zip(ours.staged_predict_proba(X), same.staged_predict_proba(X), strict=True):
        assert np.allclose(a, b, atol=1e-8)
    assert ours.apply(X).shape == same.apply(X).shape


def test_classifiers_of_three_are_scikit_learns() -> None:
    X, y = _data()
    target = np.digitize(y, [-1, 1])
    ours = GradientBoostingClassifier(n_estimators=8, random_state=0).fit(X, target)
    same = theirs.GradientBoostingClassifier(n_estimators=8, random_state=0).fit(X, target)
    assert np.allclose(ours.predict_proba(X), same.predict_proba(X), atol=1e-8)
    assert np.allclose(ours.train_score_, same.train_score_, rtol=1e-8)
    assert ours.estimators_.shape == (8, 3)
    with pytest.raises(ValueError, match="binary"):
        GradientBoostingClassifier(loss="exponential").fit(X, target)


def test_samples_of_rows_tell_how_a_stage_does_on_the_others() -> None:
    X, y = _data()
    ours = GradientBoostingRegressor(subsample=0.5, random_state=0).fit(X, y)
    same = theirs.GradientBoostingRegressor(subsample=0.5, random_state=0).fit(X, y)
    assert ours.oob_improvement_.shape == (100,)
    assert ours.oob_score_ == ours.oob_scores_[-1]
    assert ours.oob_improvement_.sum() == pytest.approx(same.oob_improvement_.sum(), rel=0.2)
    assert ours.score(*_data(seed=1)) > same.score(*_data(seed=1)) - 0.05
    assert not hasattr(GradientBoostingRegressor(n_estimators=2).fit(X, y), "oob_improvement_")


def test_stages_are_added_and_stop_early() -> None:
    X, y = _data()
    model = GradientBoostingRegressor(n_estimators=5, warm_start=True, subsample=0.7, random_state=3).fit(X, y)
    model.set_params(n_estimators=12).fit(X, y)
    whole = GradientBoostingRegressor(n_estimators=12, subsample=0.7, random_state=3).fit(X, y)
    assert np.array_equal(model.predict(X), whole.predict(X))
    with pytest.raises(ValueError, match="n_estimators=3 must be larger or equal to"):
        model.set_params(n_estimators=3).fit(X, y)
    early = GradientBoostingClassifier(n_estimators=500, n_iter_no_change=3, random_state=0).fit(X, y > 0)
    assert 3 < early.n_estimators_ < 500
    assert early.score(X, y > 0) > 0.85
