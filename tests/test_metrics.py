"""The command line's measures against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from corten import _metrics

theirs = pytest.importorskip("sklearn.metrics")


def test_measures_of_a_classifier() -> None:
    rng = np.random.default_rng(0)
    classes = np.array(["no", "yes"])
    truth = classes[rng.integers(0, 2, 300)]
    score = np.round(rng.random(300), 1)
    proba = np.column_stack([1 - score, score]) * 0.98 + 0.01
    got = _metrics.classification(truth, classes[(score > 0.5).astype(int)], classes, proba)
    assert got["accuracy"] == pytest.approx(theirs.accuracy_score(truth, classes[(score > 0.5).astype(int)]))
    assert got["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth == "yes", proba[:, 1]), rel=1e-12)
    assert got["log_loss"] == pytest.approx(theirs.log_loss(truth, proba), rel=1e-12)


def test_classes_that_the_model_does_not_know_count_as_wrong() -> None:
    got = _metrics.classification(
        np.array([0, 1, 7]), np.array([0, 1, 1]), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    )
    assert got["accuracy"] == pytest.approx(2 / 3) and got["roc_auc"] == 1


def test_measures_of_a_regressor() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    predicted = truth + rng.normal(size=100)
    got = _metrics.regression(truth, predicted)
    assert got["r2"] == pytest.approx(theirs.r2_score(truth, predicted), rel=1e-12)
    assert got["mae"] == pytest.approx(theirs.mean_absolute_error(truth, predicted), rel=1e-12)
    assert got["rmse"] == pytest.approx(theirs.mean_squared_error(truth, predicted) ** 0.5, rel=1e-12)
