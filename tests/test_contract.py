"""scikit-learn's own checks over every estimator."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import estimators, small

checks = pytest.importorskip("sklearn.utils.estimator_checks")

#: Checks that scikit-learn's own class of the same name fails for the same reason.
_SHARED = {
    "Ridge": {"check_non_transformer_estimators_n_iter": "direct solvers have no iterations, as in scikit-learn"},
    **{
        name: {
            f"check_sample_weight_equivalence_on_{kind}_data": "splits of a few rows gain alike, up to rounding"
            for kind in ("dense", "sparse")
        }
        for name in ("GradientBoostingClassifier", "GradientBoostingRegressor")
    },
    **{
        name: {
            f"check_sample_weight_equivalence_on_{kind}_data": "rows are drawn at random: a weight isn't a repetition"
            for kind in ("dense", "sparse")
        }
        for name in (
            "AdaBoostClassifier",
            "AdaBoostRegressor",
            "BaggingClassifier",
            "BaggingRegressor",
            "IsolationForest",
            "RandomTreesEmbedding",
            "RandomForestClassifier",
            "RandomForestRegressor",
        )
    },
}


@checks.parametrize_with_checks(
    [small(c) for c in estimators().values()], expected_failed_checks=lambda e: _SHARED.get(type(e).__name__, {})
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)
