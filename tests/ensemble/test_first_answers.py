"""Few rows are scored by the trees of a fit as they were grown, many by the coded ones: with the same bits."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from corten.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestRegressor

RANDOM = np.random.default_rng(1)


def rows(count: int) -> np.ndarray:
    """Rows with missing values and ties."""
    x = np.round(RANDOM.normal(size=(count, 5)), 2)
    x[RANDOM.random(x.shape) < 0.03] = np.nan
    return x


@pytest.mark.parametrize(
    ("estimator", "outputs"),
    [(RandomForestRegressor, 1), (RandomForestRegressor, 2), (ExtraTreesClassifier, 1), (ExtraTreesRegressor, 1)],
)
def test_first_answers_have_the_bits_of_later_ones(estimator: Any, outputs: int) -> None:
    x = rows(6_000)
    y = RANDOM.normal(size=(len(x), outputs)).squeeze()
    classes = estimator is ExtraTreesClassifier
    model = estimator(n_estimators=40, random_state=0).fit(x, (2 * y).astype(int) if classes else y)
    query = np.concatenate([x[:200], rows(1_300)])

    def score(fitted: Any, part: np.ndarray) -> np.ndarray:
        return np.asarray(fitted.predict_proba(part) if classes else fitted.predict(part))

    first = score(model, query)
    single = np.concatenate([score(model, query[i : i + 1]) for i in range(40)])
    # What is stored is coded.
    stored = score(pickle.loads(pickle.dumps(model)), query)
    score(model, np.tile(query, (20, 1)))
    np.testing.assert_array_equal(first, stored)
    np.testing.assert_array_equal(single, stored[:40])
    np.testing.assert_array_equal(score(model, query), stored)
