"""AdaBoost, bagging and embeddings, against scikit-learn's."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import corten
from corten.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomTreesEmbedding,
)
from corten.linear_model import LogisticRegression, Ridge
from corten.tree import DecisionTreeRegressor

theirs = pytest.importorskip("sklearn.ensemble")
trees = pytest.importorskip("sklearn.tree")


def _data(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32).astype(np.float64)
    return X, X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("params", [{}, {"learning_rate": 0.5, "n_estimators": 20}])
def test_adaboost_of_stumps_is_scikit_learns(classes: int, params: dict[str, Any]) -> None:
    X, y = _data()
    target = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    ours = AdaBoostClassifier(random_state=0, **params).fit(X, target, weights)
    same = theirs.AdaBoostClassifier(random_state=0, **params).fit(X, target, weights)
    assert np.allclose(ours.estimator_weights_, same.estimator_weights_, rtol=1e-9)
    assert np.allclose(ours.estimator_errors_, same.estimator_errors_, rtol=1e-9)
    assert np.array_equal(ours.predict(X), same.predict(X))
    assert np.allclose(ours.decision_function(X), same.decision_function(X), atol=1e-12)
    assert np.allclose(ours.predict_proba(X), same.predict_proba(X), atol=1e-12)
    assert np.allclose(ours.feature_importances_, same.feature_importances_, atol=1e-9)
    pairs = zip(ours.staged_predict_proba(X), same.staged_predict_proba(X), strict=True)
    assert all(np.allclose(a, b, atol=1e-12) for a, b in pairs)
    again = pickle.loads(pickle.dumps(ours))
    assert np.array_equal(again.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
def test_adaboost_of_regressors_is_scikit_learns(loss: str) -> None:
    X, y = _data()
    params: dict[str, Any] = {"loss": loss, "n_estimators": 10, "random_state": 0}
    ours = AdaBoostRegressor(DecisionTreeRegressor(max_depth=3, min_samples_leaf=20), **params).fit(X, y)
    same = theirs.AdaBoostRegressor(trees.DecisionTreeRegressor(max_depth=3, min_samples_leaf=20), **params).fit(X, y)
    assert np.allclose(ours.estimator_weights_, same.estimator_weights_, rtol=1e-9)
    assert np.allclose(ours.predict(X), same.predict(X), atol=1e-12)
    for a, b in zip(ours.staged_predict(X), same.staged_predict(X), strict=True):
        assert np.allclose(a, b, atol=1e-12)
    with pytest.raises(ValueError, match="loss"):
        AdaBoostRegressor(loss="cubic").fit(X, y)


def test_adaboost_takes_any_estimator_and_refuses_what_is_none() -> None:
    X, y = _data()
    model = AdaBoostClassifier(LogisticRegression(), n_estimators=5, random_state=0).fit(X, y > 0)
    assert model.score(X, y > 0) > 0.7
    with pytest.raises(ValueError, match="should be a regressor"):
        AdaBoostRegressor(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="no Corten estimator"):
        AdaBoostRegressor(trees.DecisionTreeRegressor()).fit(X, y)


def test_bagging_with_scikit_learns_draws_is_its_ensemble() -> None:
    X, y = _data()
    params: dict[str, Any] = {"n_estimators": 8, "random_state": 0, "oob_score": True}
    with pytest.warns(UserWarning, match="OOB"):
        ours = BaggingRegressor(DecisionTreeRegressor(max_depth=4, min_samples_leaf=5), **params).fit(X, y)
        same = theirs.BaggingRegressor(trees.DecisionTreeRegressor(max_depth=4, min_samples_leaf=5), **params).fit(X, y)
    for a, b in zip(ours.estimators_samples_, same.estimators_samples_, strict=True):
        assert len(a) == len(b)
    assert ours.score(X, y) == pytest.approx(same.score(X, y), abs=0.05)
    assert ours.oob_score_ == pytest.approx(same.oob_score_, abs=0.1)
    mean = np.mean([e.predict(X) for e in ours.estimators_], axis=0)
    assert np.allclose(ours.predict(X), mean, atol=1e-12)


def test_bagging_classifies_by_mean_probabilities_on_columns_of_its_own(tmp_path: Any) -> None:
    X, y = _data()
    target = np.array(["low", "mid", "high"])[np.digitize(y, [-1, 1])]
    params: dict[str, Any] = {"n_estimators": 12, "max_samples": 0.5, "max_features": 0.6, "random_state": 0}
    for model in (
        BaggingClassifier(oob_score=True, **params),
        BaggingClassifier(LogisticRegression(), bootstrap_features=True, **params),
        BaggingClassifier(bootstrap=False, **params),
    ):
        model.fit(X, target)
        shares = [e.predict_proba(X[:, f]) for e, f in zip(model.estimators_, model.estimators_features_, strict=True)]
        assert np.allclose(model.predict_proba(X), np.mean(shares, axis=0), atol=1e-12)
        assert model.score(X, target) > (0.5 if isinstance(model.estimator, LogisticRegression) else 0.8)
        model.save(tmp_path / "bag.corten")
        assert np.array_equal(corten.load(tmp_path / "bag.corten").predict(X), model.predict(X))
    more = BaggingRegressor(Ridge(), n_estimators=3, warm_start=True, random_state=0).fit(X, y)
    more.set_params(n_estimators=6).fit(X, y)
    whole = BaggingRegressor(Ridge(), n_estimators=6, random_state=0).fit(X, y)
    assert np.array_equal(more.predict(X), whole.predict(X))


def test_embeddings_say_in_which_leaf_a_row_is() -> None:
    X, _ = _data()
    model = RandomTreesEmbedding(n_estimators=20, max_depth=4, random_state=0)
    columns = model.fit_transform(X)
    same = theirs.RandomTreesEmbedding(n_estimators=20, max_depth=4, random_state=0).fit_transform(X)
    assert columns.format == "csr" and set(np.unique(columns.toarray())) == {0.0, 1.0}
    assert (columns.sum(axis=1) == 20).all() and (columns.sum(axis=0) > 0).all()
    assert abs(columns.shape[1] - same.shape[1]) < 0.1 * same.shape[1]
    names = model.get_feature_names_out()
    assert len(names) == columns.shape[1] and names[0].startswith("randomtreesembedding_0_")
    dense = RandomTreesEmbedding(n_estimators=20, max_depth=4, random_state=0, sparse_output=False).fit_transform(X)
    assert np.array_equal(dense, columns.toarray())
    # Rows that are near each other share leaves.
    near = (columns[0] @ model.transform(X[:1] + 1e-9).T).toarray()[0, 0]
    assert near >= 19
