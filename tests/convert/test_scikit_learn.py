"""scikit-learn's trees: their own numbers, to the last bit where they add up in the order of the trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, linear_model, tree

import corten
from convert.cells import odd, table
from corten.exceptions import NotFittedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 5))
Y = X[:, 0] + X[:, 1] * X[:, 2]
CLASSES = np.array(["a", "b", "c"])[np.digitize(Y, [-0.5, 0.5])]
BINARY = Y > 0


def rows_at_thresholds(cuts: np.ndarray) -> np.ndarray:
    """Thresholds, their neighbours in `f32` and `f64`, zeros, small and large numbers."""
    near = [cuts, np.nextafter(cuts, 9), np.nextafter(cuts, -9), np.float32(cuts).astype(float)]
    cells = np.concatenate([*near, [0.0, -0.0, 5e-324, 1e-40, 1e30, -1e30]])
    return np.concatenate([X, RNG.choice(cells, (400, X.shape[1]))])


FITTED = [
    (tree.DecisionTreeClassifier(random_state=0), CLASSES),
    (tree.DecisionTreeRegressor(random_state=0), Y),
    (tree.ExtraTreeClassifier(random_state=0), BINARY),
    (tree.ExtraTreeRegressor(random_state=0), np.column_stack([Y, -Y])),
    (ensemble.RandomForestClassifier(7, random_state=0), CLASSES),
    (ensemble.RandomForestRegressor(7, random_state=0), Y),
    (ensemble.ExtraTreesClassifier(7, random_state=0), BINARY),
    (ensemble.ExtraTreesRegressor(7, random_state=0), np.column_stack([Y, X[:, 3]])),
]


@pytest.mark.parametrize(("theirs", "target"), FITTED, ids=lambda v: type(v).__name__)
def test_trees_and_forests_have_equal_bits(theirs: Any, target: np.ndarray, tmp_path: Path) -> None:
    theirs.fit(X, target)
    members = getattr(theirs, "estimators_", [theirs])
    rows = rows_at_thresholds(np.concatenate([m.tree_.threshold for m in members]))
    ours = corten.convert(theirs)
    np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.predict_proba(rows), theirs.predict_proba(rows))
    ours.save(tmp_path / "m.corten")
    np.testing.assert_array_equal(corten.load(tmp_path / "m.corten").predict(rows), theirs.predict(rows))


@pytest.mark.parametrize(
    ("theirs", "target"),
    [
        (ensemble.GradientBoostingClassifier(n_estimators=12), BINARY),
        (ensemble.GradientBoostingClassifier(n_estimators=12, loss="exponential"), BINARY),
        (ensemble.GradientBoostingClassifier(n_estimators=5), CLASSES),
        (ensemble.GradientBoostingRegressor(n_estimators=12, loss="huber"), Y),
        (ensemble.GradientBoostingRegressor(n_estimators=12, init="zero"), Y),
        (ensemble.HistGradientBoostingClassifier(max_iter=12), BINARY),
        (ensemble.HistGradientBoostingClassifier(max_iter=5), CLASSES),
        (ensemble.HistGradientBoostingRegressor(max_iter=12), Y),
        (ensemble.HistGradientBoostingRegressor(max_iter=12, loss="poisson"), np.abs(Y)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_boosting_predicts_as_it_does(theirs: Any, target: np.ndarray) -> None:
    theirs.fit(X, target)
    ours = corten.convert(theirs)
    rows = rows_at_thresholds(X[:, 0])
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.decision_function(rows), theirs.decision_function(rows))
        np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-12)
        np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
    else:
        np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-12)


def test_categories_and_missing_values_of_frames() -> None:
    frame = pd.DataFrame({"x": X[:, 0], "kind": pd.Categorical(RNG.choice(list("uvwxyz"), 500)), "z": X[:, 1]})
    frame.loc[::7, "x"] = np.nan
    frame.loc[::11, "kind"] = np.nan
    target = (frame["kind"].isin(["u", "w"]) ^ (frame["z"] > 0)).astype(int)
    theirs = ensemble.HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(frame, target)
    ours = corten.convert(theirs)
    np.testing.assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), rtol=1e-12)
    assert list(ours.feature_names_in_) == ["x", "kind", "z"]
    codes = np.column_stack([X[:, 0], RNG.integers(0, 9, 500), X[:, 1]])
    by_index = ensemble.HistGradientBoostingRegressor(max_iter=20, categorical_features=[1]).fit(codes, codes[:, 1] % 3)
    seen = np.concatenate([codes, [[0.1, 77.0, 0.2], [np.nan, np.nan, np.nan]]])
    np.testing.assert_allclose(corten.convert(by_index).predict(seen), by_index.predict(seen), rtol=1e-12)


def test_isolation_forests_keep_scores_and_outliers() -> None:
    for settings in ({}, {"max_features": 0.5, "contamination": 0.1, "max_samples": 64}):
        theirs = ensemble.IsolationForest(n_estimators=20, random_state=0, **settings).fit(X)
        ours = corten.convert(theirs)
        np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-12)
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-13)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


WITH_GAPS: list[tuple[Any, bool]] = [
    (tree.DecisionTreeClassifier(random_state=0), True),
    (tree.ExtraTreeRegressor(random_state=0), True),
    (ensemble.RandomForestClassifier(7, random_state=0), True),
    (ensemble.RandomForestRegressor(7, random_state=0), True),
    (ensemble.ExtraTreesClassifier(7, random_state=0), True),
    (ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0), False),
    (ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0), False),
    (ensemble.HistGradientBoostingClassifier(max_iter=8, random_state=0), True),
    (ensemble.HistGradientBoostingRegressor(max_iter=8, loss="poisson", random_state=0), True),
]


@pytest.mark.parametrize(("theirs", "missing"), WITH_GAPS, ids=lambda v: type(v).__name__)
def test_trees_of_scikit_learn_score_the_same(theirs: Any, missing: bool, tmp_path: Any) -> None:
    x, y = table()
    gaps = x.copy()
    if missing:
        gaps[::9, 0] = np.nan
    theirs.fit(gaps, y)
    ours, rows = corten.convert(theirs), odd(x, missing)
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-12)
    ours.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-12)
        np.testing.assert_array_equal(loaded.predict_proba(rows), ours.predict_proba(rows))


def test_isolation_forests_give_scores_and_outliers() -> None:
    x, _ = table()
    theirs = ensemble.IsolationForest(n_estimators=20, random_state=0, contamination=0.1).fit(x)
    ours, rows = corten.convert(theirs), odd(x, missing=False)
    np.testing.assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-12)
    np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))


def test_categories_of_histogram_boosting_come_in_by_their_values() -> None:
    random = np.random.default_rng(4)
    place = pd.Categorical(random.choice(["Bern", "Oslo", "Rom"], 600))
    frame = pd.DataFrame({"size": random.normal(size=600), "place": place})
    y = frame["size"] + (frame["place"] == "Oslo") * 2
    theirs = ensemble.HistGradientBoostingRegressor(max_iter=8, categorical_features="from_dtype").fit(frame, y)
    np.testing.assert_array_equal(corten.convert(theirs).predict(frame), theirs.predict(frame))


def test_what_cannot_be_converted_is_told() -> None:
    with pytest.raises(NotFittedError, match="RandomForestRegressor is not fitted yet"):
        corten.convert(ensemble.RandomForestRegressor())
    with pytest.raises(TypeError, match="Ridge can't be converted"):
        corten.convert(linear_model.Ridge().fit(X, Y))
    with pytest.raises(TypeError, match="got builtins.int"):
        corten.convert(3)
    start = ensemble.GradientBoostingRegressor(n_estimators=2, init=linear_model.Ridge()).fit(X, Y)
    with pytest.raises(ValueError, match="only a constant start can"):
        corten.convert(start)
    with pytest.raises(ValueError, match="several outputs of classes"):
        corten.convert(tree.DecisionTreeClassifier().fit(X, np.column_stack([BINARY, ~BINARY])))
