"""Encoders against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.preprocessing import OneHotEncoder, OrdinalEncoder

theirs = pytest.importorskip("sklearn.preprocessing")
WORDS = np.array([["a", "x"], ["b", "y"], ["a", "z"], ["c", "x"], ["a", "x"]], dtype=object)
GAPS = np.array([["a", 1.0], ["b", np.nan], [np.nan, 3.0], ["a", 1.0]], dtype=object)
NUMBERS = np.array([[3, 1], [1, 2], [3, 1], [2, 2]])


@pytest.mark.parametrize("X", [WORDS, NUMBERS])
@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
def test_one_hot_matches_scikit_learn(X: np.ndarray, drop: str | None) -> None:
    ours = OneHotEncoder(drop=drop, sparse_output=False).fit(X)
    other = theirs.OneHotEncoder(drop=drop, sparse_output=False).fit(X)
    assert np.array_equal(ours.transform(X), other.transform(X))
    assert ours.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()
    assert ours.get_feature_names_out(["p", "q"]).tolist() == other.get_feature_names_out(["p", "q"]).tolist()
    assert [c.tolist() for c in ours.categories_] == [c.tolist() for c in other.categories_]
    assert np.array_equal(ours.inverse_transform(ours.transform(X)), X)


def test_sparse_output_is_scikit_learns_default() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    out = OneHotEncoder().fit_transform(WORDS)
    assert sparse.issparse(out)
    assert np.array_equal(out.toarray(), theirs.OneHotEncoder().fit_transform(WORDS).toarray())


def test_rare_categories_are_grouped_as_in_scikit_learn() -> None:
    X = np.array([["a"] * 5 + ["b"] * 4 + ["c"] * 2 + ["d"]], dtype=object).T
    for params in ({"min_frequency": 3}, {"max_categories": 2}, {"min_frequency": 0.2}):
        ours = OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **params).fit(X)
        other = theirs.OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **params).fit(X)
        for rows in (X, np.array([["new"]], dtype=object)):
            assert np.array_equal(ours.transform(rows), other.transform(rows)), params
        assert ours.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()
        assert ours.infrequent_categories_[0].tolist() == other.infrequent_categories_[0].tolist()


def test_unknown_category_is_named_with_its_column() -> None:
    pl = pytest.importorskip("polars")
    encoder = OneHotEncoder(sparse_output=False).fit(pl.DataFrame({"city": ["Oslo", "Rome"]}))
    with pytest.raises(ValueError, match="Column 'city'.*Bonn"):
        encoder.transform(pl.DataFrame({"city": ["Bonn"]}))


def test_ordinal_matches_scikit_learn() -> None:
    for X in (WORDS, NUMBERS):
        ours, other = OrdinalEncoder().fit(X), theirs.OrdinalEncoder().fit(X)
        assert np.array_equal(ours.transform(X), other.transform(X))
        assert np.array_equal(ours.inverse_transform(ours.transform(X)), X)


def test_ordinal_codes_unknown_and_missing_values() -> None:
    params: dict[str, Any] = {
        "handle_unknown": "use_encoded_value",
        "unknown_value": -1,
        "encoded_missing_value": -2,
        "dtype": np.int64,
    }
    ours, other = OrdinalEncoder(**params).fit(GAPS), theirs.OrdinalEncoder(**params).fit(GAPS)
    rows = np.array([["q", 9.0], [np.nan, np.nan], ["b", 3.0]], dtype=object)
    assert ours.transform(rows).dtype == np.int64
    assert np.array_equal(ours.transform(rows), other.transform(rows))


def test_given_categories_keep_their_order() -> None:
    encoder = OrdinalEncoder(categories=[["low", "mid", "high"]]).fit([["mid"]])
    assert encoder.transform([["high"], ["low"]]).ravel().tolist() == [2.0, 0.0]
