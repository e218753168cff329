"""Linear models against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.linear_model import LinearRegression, LogisticRegression, Ridge

theirs = pytest.importorskip("sklearn.linear_model")


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 6)) * [1, 10, 0.1, 1, 5, 1] + 3
    y = X @ rng.normal(size=6) + rng.normal(size=200)
    return X, y, rng.random(200)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("name", ["LinearRegression", "Ridge"])
def test_coefficients_match_scikit_learn(data: Any, name: str, intercept: bool, weighted: bool) -> None:
    X, y, w = data
    ours = {"LinearRegression": LinearRegression, "Ridge": Ridge}[name](fit_intercept=intercept)
    other = getattr(theirs, name)(fit_intercept=intercept)
    weight = w if weighted else None
    ours.fit(X, y, sample_weight=weight)
    other.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, other.coef_, rtol=1e-9)
    np.testing.assert_allclose(ours.intercept_, other.intercept_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-9)
    assert ours.score(X, y) == pytest.approx(other.score(X, y), rel=1e-12)


@pytest.mark.parametrize("cls", [LinearRegression, Ridge])
def test_several_targets_keep_their_shape(data: Any, cls: type) -> None:
    X, y, _ = data
    model = cls().fit(X, np.column_stack([y, -y]))
    assert model.coef_.shape == (2, 6) and model.predict(X).shape == (200, 2)
    single = cls().fit(X, y[:, None])
    assert single.predict(X).shape == (200, 1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_probabilities_match_scikit_learn(data: Any, classes: int, solver: str) -> None:
    X, y, w = data
    labels = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    X = (X - X.mean(0)) / X.std(0)
    ours = LogisticRegression(solver=solver, tol=1e-8, max_iter=1000).fit(X, labels, sample_weight=w)
    other = theirs.LogisticRegression(solver=solver, tol=1e-8, max_iter=1000).fit(X, labels, sample_weight=w)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.decision_function(X), other.decision_function(X), atol=1e-5)
    assert ours.coef_.shape == other.coef_.shape and ours.intercept_.shape == other.intercept_.shape


@pytest.mark.parametrize("weight", ["balanced", {0: 1.0, 1: 5.0}])
def test_class_weights_match_scikit_learn(data: Any, weight: Any) -> None:
    X, y, _ = data
    X, labels = (X - X.mean(0)) / X.std(0), (y > np.quantile(y, 0.8)).astype(int)
    ours = LogisticRegression(class_weight=weight, tol=1e-8, max_iter=1000).fit(X, labels)
    other = theirs.LogisticRegression(class_weight=weight, tol=1e-8, max_iter=1000).fit(X, labels)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("cls", [LinearRegression, Ridge, LogisticRegression])
def test_sparse_data_give_the_dense_model(data: Any, cls: type) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X, y, _ = data
    X = np.where(X > 3, X, 0)
    y = (y > y.mean()).astype(int)
    dense, thin = cls().fit(X, y), cls().fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.predict(sparse.csr_matrix(X)), dense.predict(X), rtol=1e-4, atol=1e-4)


def test_classes_keep_their_type() -> None:
    X = [[0.0], [1.0], [2.0], [3.0]]
    for labels in (["a", "a", "b", "b"], [1, 1, 2, 2], [False, False, True, True], [0.0, 0.0, 1.0, 1.0]):
        model = LogisticRegression().fit(X, labels)
        assert model.predict(X).dtype == np.asarray(labels).dtype
        assert model.predict(X).tolist() == labels


def test_warm_start_begins_at_the_solution(data: Any) -> None:
    X, y, _ = data
    X, labels = (X - X.mean(0)) / X.std(0), (y > y.mean()).astype(int)
    model = LogisticRegression(warm_start=True).fit(X, labels)
    first = int(model.n_iter_[0])
    assert int(model.fit(X, labels).n_iter_[0]) < first
