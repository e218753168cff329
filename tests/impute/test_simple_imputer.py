"""The imputer against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from corten.impute import SimpleImputer

theirs = pytest.importorskip("sklearn.impute")
X = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, np.nan], [2.0, 6.0, 9.0], [np.nan, 6.0, 4.0]])


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_matches_scikit_learn(strategy: str, indicator: bool) -> None:
    ours = SimpleImputer(strategy=strategy, add_indicator=indicator).fit(X)
    other = theirs.SimpleImputer(strategy=strategy, add_indicator=indicator).fit(X)
    np.testing.assert_allclose(ours.transform(X), other.transform(X).astype(float), rtol=1e-14)
    assert ours.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()


def test_text_is_filled_with_the_most_frequent() -> None:
    words = np.array([["a"], [None], ["b"], ["b"]], dtype=object)
    out = SimpleImputer(strategy="most_frequent").fit_transform(words)
    assert out.tolist() == [["a"], ["b"], ["b"], ["b"]]
    assert SimpleImputer(strategy="constant").fit_transform(words)[1, 0] == "missing_value"


def test_other_markers_of_missing_values() -> None:
    values = np.array([[1.0], [-1.0], [3.0]])
    assert SimpleImputer(missing_values=-1).fit_transform(values).ravel().tolist() == [1.0, 2.0, 3.0]


def test_empty_columns_are_left_out_or_kept() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert SimpleImputer().fit_transform(values).shape == (2, 1)
    assert SimpleImputer(keep_empty_features=True).fit_transform(values).shape == (2, 2)


def test_sparse_data_stay_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    values = sparse.csr_matrix(np.array([[1.0, 0.0], [np.nan, 2.0], [3.0, 0.0]]))
    out = SimpleImputer().fit_transform(values)
    want = theirs.SimpleImputer().fit_transform(values)
    assert sparse.issparse(out)
    np.testing.assert_allclose(out.toarray(), want.toarray())


def test_a_mean_of_text_is_refused() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match="city"):
        SimpleImputer().fit(pl.DataFrame({"city": ["a", None]}))
