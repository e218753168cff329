"""scikit-learn's own checks over every estimator."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import estimators, small

checks = pytest.importorskip("sklearn.utils.estimator_checks")

_ROUNDING = "splits of a few rows gain alike, up to rounding"
_DRAWS = "rows are drawn at random: a weight isn't a repetition"


def _weights(reason: str, *kinds: str) -> dict[str, str]:
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in kinds}


#: Checks that scikit-learn's own class of the same name fails for the same reason.
_SHARED = {
    "Ridge": {"check_non_transformer_estimators_n_iter": "direct solvers have no iterations, as in scikit-learn"},
    "GradientBoostingClassifier": _weights(_ROUNDING, "dense", "sparse"),
    "GradientBoostingRegressor": _weights(_ROUNDING, "sparse"),
    "AdaBoostClassifier": _weights(_DRAWS, "sparse"),
    "AdaBoostRegressor": _weights(_DRAWS, "sparse"),
    "BaggingClassifier": _weights(_DRAWS, "dense", "sparse"),
    "BaggingRegressor": _weights(_DRAWS, "dense", "sparse"),
    "IsolationForest": _weights(_DRAWS, "dense", "sparse"),
    "RandomTreesEmbedding": _weights(_DRAWS, "sparse"),
    "RandomForestClassifier": _weights(_DRAWS, "dense", "sparse"),
    "RandomForestRegressor": _weights(_DRAWS, "dense", "sparse"),
}


@checks.parametrize_with_checks(
    [small(c) for c in estimators().values()], expected_failed_checks=lambda e: _SHARED.get(type(e).__name__, {})
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)
