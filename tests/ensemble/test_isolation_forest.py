"""Isolation forests: scores beside scikit-learn's, shares of outliers, threads, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten.ensemble import IsolationForest

pytest.importorskip("sklearn")
import sklearn.ensemble
from sklearn.metrics import roc_auc_score


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outlier = rng.random(3000) < 0.05
    X = rng.normal(size=(3000, 5)) * np.where(outlier, 4.0, 1.0)[:, None]
    return X, outlier


def test_scores_are_those_of_scikit_learn_but_for_the_draws() -> None:
    X, outlier = _data()
    ours = IsolationForest(n_estimators=400, random_state=0).fit(X)
    theirs = sklearn.ensemble.IsolationForest(n_estimators=400, random_state=0).fit(X)
    a, b = ours.score_samples(X), theirs.score_samples(X)
    # Two forests of scikit-learn's own differ by as much.
    other = sklearn.ensemble.IsolationForest(n_estimators=400, random_state=1).fit(X).score_samples(X)
    assert np.abs(a - b).max() < 2 * np.abs(other - b).max()
    assert abs(a.mean() - b.mean()) < 0.005
    assert roc_auc_score(outlier, -a) > roc_auc_score(outlier, -b) - 0.01
    assert ours.offset_ == theirs.offset_ == -0.5
    assert ours.max_samples_ == theirs.max_samples_


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_contamination_is_the_share_of_outliers(share: float) -> None:
    X, _ = _data()
    model = IsolationForest(contamination=share, random_state=0).fit(X)
    assert (model.predict(X) == -1).mean() == pytest.approx(share, abs=0.005)
    assert model.offset_ == pytest.approx(np.percentile(model.score_samples(X), 100 * share), rel=1e-9)
    np.testing.assert_array_equal(model.predict(X) == 1, model.decision_function(X) >= 0)


def test_threads_and_warm_starts_do_not_change_the_model() -> None:
    X, _ = _data()
    models = [IsolationForest(n_estimators=30, n_jobs=jobs, random_state=4).fit(X) for jobs in (1, 3)]
    grown = IsolationForest(n_estimators=11, warm_start=True, random_state=4).fit(X)
    grown.set_params(n_estimators=30).fit(X)
    files = {m._model.to_bytes() for m in (*models, grown)}
    assert len(files) == 1


@pytest.mark.parametrize(
    "params", [{"bootstrap": True}, {"max_features": 2}, {"max_samples": 0.5}, {"max_samples": 7}], ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
def test_outliers_are_found_however_rows_are_drawn(params: dict[str, Any], weighted: bool) -> None:
    X, outlier = _data()
    weights = np.random.default_rng(1).integers(0, 3, len(X)) if weighted else None
    model = IsolationForest(random_state=0, **params).fit(X, sample_weight=weights)
    assert roc_auc_score(outlier, -model.score_samples(X)) > 0.9


def test_rows_without_weight_are_never_drawn() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(size=300), np.full(300, 50.0)])[:, None]
    model = IsolationForest(random_state=0).fit(X, sample_weight=np.repeat([1.0, 0.0], 300))
    assert (model.predict(X[300:]) == -1).all()


def test_missing_values_are_taken() -> None:
    X, outlier = _data()
    X[::4, 1] = np.nan
    model = IsolationForest(random_state=0).fit(X)
    assert roc_auc_score(outlier, -model.score_samples(X)) > 0.85


def test_a_file_gives_the_same_bits(tmp_path: Path) -> None:
    X, _ = _data()
    model = IsolationForest(contamination=0.1, random_state=0).fit(X)
    model.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")
    assert loaded.decision_function(X).ravel().tobytes() == model.decision_function(X).tobytes()
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    row = {f"x{i}": float(v) for i, v in enumerate(X[7])}
    assert loaded.predict_one(row) == model.predict(X[7:8])[0]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"contamination": 0.6}, "contamination"),
        ({"max_samples": 0}, "max_samples"),
        ({"max_features": 1.5}, "max_features"),
        ({"n_estimators": 0}, "n_estimators"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        IsolationForest(**params).fit([[0.0], [1.0]])
