"""Scalers against scikit-learn."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from corten import preprocessing

theirs = pytest.importorskip("sklearn.preprocessing")
CASES = [
    ("StandardScaler", {}),
    ("StandardScaler", {"with_mean": False}),
    ("StandardScaler", {"with_std": False}),
    ("MinMaxScaler", {}),
    ("MinMaxScaler", {"feature_range": (-2, 3), "clip": True}),
    ("MaxAbsScaler", {}),
    ("RobustScaler", {}),
    ("RobustScaler", {"quantile_range": (10.0, 90.0), "unit_variance": True}),
]


@pytest.fixture
def X() -> np.ndarray:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100, 4)) * [1, 100, 0.01, 1] + [0, 5, -3, 0]
    X[:, 3] = 7.0
    X[::9, 1] = np.nan
    return X


@pytest.mark.parametrize(("name", "params"), CASES)
def test_scaler_matches_scikit_learn(X: np.ndarray, name: str, params: dict[str, Any]) -> None:
    ours, other = getattr(preprocessing, name)(**params), getattr(theirs, name)(**params)
    np.testing.assert_allclose(ours.fit_transform(X), other.fit_transform(X), rtol=1e-12, atol=1e-12)
    for key, value in vars(other).items():
        if key.endswith("_") and key != "n_features_in_":
            got = getattr(ours, key)
            assert (value is None and got is None) or np.allclose(got, value, rtol=1e-12, atol=1e-14, equal_nan=True), (
                key
            )


@pytest.mark.parametrize(("name", "params"), CASES)
def test_inverse_gives_the_data_back(X: np.ndarray, name: str, params: dict[str, Any]) -> None:
    scaler = getattr(preprocessing, name)(**{**params, **({"clip": False} if "clip" in params else {})}).fit(X)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["StandardScaler", "MinMaxScaler", "MaxAbsScaler"])
def test_partial_fits_add_up(X: np.ndarray, name: str) -> None:
    whole, parts = getattr(preprocessing, name)().fit(X), getattr(preprocessing, name)()
    for block in np.array_split(X, 3):
        parts.partial_fit(block)
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), rtol=1e-9, atol=1e-9)


def test_partial_fit_goes_on_in_a_copy_and_is_refused_after_a_file(X: np.ndarray) -> None:
    half = preprocessing.StandardScaler().partial_fit(X[:50])
    copied = copy.deepcopy(half).partial_fit(X[50:])
    np.testing.assert_allclose(copied.mean_, preprocessing.StandardScaler().fit(X).mean_, rtol=1e-12)
    with pytest.raises(ValueError, match="came out of a file"):
        pickle.loads(pickle.dumps(half)).partial_fit(X[50:])


@pytest.mark.parametrize(
    ("name", "params"),
    [("MaxAbsScaler", {}), ("StandardScaler", {"with_mean": False}), ("RobustScaler", {"with_centering": False})],
)
def test_sparse_stays_sparse_and_equal(name: str, params: dict[str, Any]) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.random.default_rng(0).normal(size=(50, 3)) * (np.random.default_rng(1).random((50, 3)) < 0.6)
    ours = getattr(preprocessing, name)(**params)
    out = ours.fit_transform(sparse.csr_matrix(dense))
    assert sparse.issparse(out)
    want = getattr(theirs, name)(**params).fit_transform(sparse.csr_matrix(dense))
    np.testing.assert_allclose(out.toarray(), want.toarray(), rtol=1e-12)


def test_weights_match_scikit_learn(X: np.ndarray) -> None:
    w = np.random.default_rng(3).random(100)
    ours = preprocessing.StandardScaler().fit(X, sample_weight=w)
    other = theirs.StandardScaler().fit(X, sample_weight=w)
    np.testing.assert_allclose(ours.transform(X), other.transform(X), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_gives_frames_with_names(container: str) -> None:
    library = pytest.importorskip(container)
    frame = library.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    out = preprocessing.StandardScaler().set_output(transform=container).fit_transform(frame)
    assert isinstance(out, library.DataFrame) and list(out.columns) == ["a", "b"]


def test_set_output_refuses_other_containers() -> None:
    with pytest.raises(ValueError, match="output config must be in"):
        preprocessing.StandardScaler().set_output(transform="arrow")
