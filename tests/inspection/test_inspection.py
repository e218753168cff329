"""Permutation importances and partial dependence against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.inspection
from sklearn.linear_model import Ridge as TheirRidge

import corten
from corten import ensemble
from corten.exceptions import ParameterError
from corten.inspection import partial_dependence, permutation_importance
from corten.linear_model import LogisticRegression, Ridge

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(300, 4)), 3)
X[:, 3] = RNG.integers(0, 5, 300)
Y = X[:, 0] * 2 + X[:, 1] ** 2 + (X[:, 3] == 2)
MODELS: dict[str, tuple[Any, Any]] = {
    "ridge": (Ridge(), Y),
    "boosting": (ensemble.HistGradientBoostingRegressor(max_iter=10), Y),
    "two_classes": (LogisticRegression(), Y > 1),
    "three_classes": (ensemble.HistGradientBoostingClassifier(max_iter=5), np.digitize(Y, [0, 2])),
    "theirs": (TheirRidge(), Y),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_permutation_importances_are_those_of_sklearn(name: str, weighted: bool) -> None:
    model, y = MODELS[name]
    model.fit(X, y)
    weights = RNG.uniform(1, 2, 300) if weighted else None
    ours = permutation_importance(model, X, y, n_repeats=3, random_state=7, sample_weight=weights)
    theirs = sklearn.inspection.permutation_importance(model, X, y, n_repeats=3, random_state=7, sample_weight=weights)
    np.testing.assert_allclose(ours.importances, theirs.importances, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.importances_mean, theirs.importances_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.importances_std, theirs.importances_std, rtol=0, atol=1e-12)


def test_permutation_importances_of_frames_scorers_and_loaded_models(tmp_path: Any) -> None:
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    towns = RNG.choice(["a", "b", "c"], 300)
    y = (towns == "b") * 3.0 + X[:, 0]
    frame = pd.DataFrame({"town": pd.Series(towns, dtype="category"), "x": X[:, 0], "noise": X[:, 1]})
    model = ensemble.HistGradientBoostingRegressor(max_iter=20).fit(frame, y)
    scorings = ["r2", "neg_mean_absolute_error"]
    ours = permutation_importance(model, frame, y, random_state=1, scoring=scorings)
    theirs = sklearn.inspection.permutation_importance(model, frame, y, random_state=1, scoring=scorings)
    for scoring in scorings:
        np.testing.assert_allclose(ours[scoring].importances, theirs[scoring].importances, rtol=0, atol=1e-12)
    of_polars = permutation_importance(
        model,
        pl.DataFrame({"town": pl.Series(towns, dtype=pl.Categorical), "x": X[:, 0], "noise": X[:, 1]}),
        y,
        random_state=1,
        scoring="r2",
    )
    np.testing.assert_allclose(of_polars.importances, ours["r2"].importances, rtol=0, atol=1e-12)
    model.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")

    def scorer(estimator: Any, rows: Any, target: Any) -> float:
        return -float(np.abs(estimator.predict(rows) - target).mean())

    found = permutation_importance(loaded, frame, y, random_state=1, scoring=scorer, max_samples=200)
    assert found.importances.shape == (3, 5) and found.importances_mean.argmin() == 2
    with pytest.raises(ParameterError, match="'scoring' parameter is needed"):
        permutation_importance(loaded, frame, y)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("features", [[0], [3], [0, 3], [1, 2]])
def test_partial_dependence_is_that_of_sklearn(name: str, features: list[int]) -> None:
    model, y = MODELS[name]
    model.fit(X, y)
    weights = RNG.uniform(1, 2, 300)
    options = {"grid_resolution": 7, "percentiles": (0.1, 0.8), "kind": "both"}
    ours = partial_dependence(model, X, features, sample_weight=weights, **options)
    theirs = sklearn.inspection.partial_dependence(model, X, features, sample_weight=weights, method="brute", **options)
    for one, other in zip(ours.grid_values, theirs.grid_values, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.average, theirs.average, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.individual, theirs.individual, rtol=0, atol=1e-12)
    alone = partial_dependence(model, X, features, sample_weight=weights, **{**options, "kind": "average"})
    np.testing.assert_allclose(alone.average, ours.average, rtol=0, atol=1e-12)


def test_partial_dependence_of_text_names_and_given_values() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"town": RNG.choice(["a", "b", "c"], 300), "x": X[:, 0]})
    y = (frame["town"] == "b").to_numpy() * 3.0 + X[:, 0]
    model = ensemble.HistGradientBoostingRegressor(max_iter=60, min_samples_leaf=5).fit(frame, y)
    found = partial_dependence(model, frame, ["town"])
    assert found.grid_values[0].tolist() == ["a", "b", "c"]
    assert found.average[0, 1] - found.average[0, 0] == pytest.approx(3, abs=0.3)
    found = partial_dependence(model, frame, "x", custom_values={"x": [0.0, 1.0]})
    assert found.average.shape == (1, 2)
    pd = pytest.importorskip("pandas")
    theirs = partial_dependence(
        TheirRidge().fit(pd.DataFrame({"x": X[:, 0], "z": X[:, 1]}), Y),
        pd.DataFrame({"x": X[:, 0], "z": X[:, 1]}),
        ["z"],
        grid_resolution=3,
    )
    assert theirs.average.shape == (1, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": [9]}, "'features' parameter must hold columns from 0 to 3. Got 9"),
        ({"features": ["a"]}, "'features' parameter must name columns of X. Got 'a'"),
        ({"kind": "some"}, "'kind' parameter"),
        ({"grid_resolution": 1}, "'grid_resolution' parameter"),
        ({"percentiles": (0.9, 0.1)}, "'percentiles' parameter"),
        ({"response_method": "predict_proba"}, "'response_method' parameter must be 'auto'"),
    ],
)
def test_partial_dependence_says_what_is_wrong(options: dict[str, Any], said: str) -> None:
    model = Ridge().fit(X, Y)
    with pytest.raises(ParameterError, match=said):
        partial_dependence(model, X, **{"features": [0], **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_repeats": 0}, "'n_repeats' parameter must be an int from 1. Got 0"),
        ({"max_samples": 1.5}, "'max_samples' parameter"),
        ({"scoring": 3}, "'scoring' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_permutation_importance_says_what_is_wrong(options: dict[str, Any], said: str) -> None:
    model = Ridge().fit(X, Y)
    with pytest.raises(ParameterError, match=said):
        permutation_importance(model, X, Y, **options)


def test_importances_of_boosting_count_splits_and_gains() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = ensemble.HistGradientBoostingRegressor(max_iter=15, max_leaf_nodes=8, early_stopping=False).fit(X, Y)
    splits, gains = model.feature_importance(), model.feature_importance("gain")
    assert splits.dtype == np.int64 and splits.sum() == model.report_["leaves"] - model.report_["trees"]
    np.testing.assert_allclose(gains / gains.sum(), model.feature_importances_, rtol=0, atol=1e-15)
    settings = {"num_leaves": 8, "verbose": -1, "learning_rate": 0.1, "min_sum_hessian_in_leaf": 0}
    theirs = lightgbm.train(settings, lightgbm.Dataset(X, Y, params={"verbose": -1}), 15)
    # Other bins, the same columns.
    assert np.array_equal(np.argsort(gains), np.argsort(theirs.feature_importance("gain")))
    with pytest.raises(ParameterError, match="'importance_type' parameter"):
        model.feature_importance("cover")
