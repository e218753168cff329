"""XGBoost's, CatBoost's and scikit-learn's trees, converted, score as in their libraries."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, tree

import corten


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    x = random.normal(size=(900, 4)).astype(np.float32).astype(float)
    return x, (x[:, 0] + x[:, 1] ** 2 > 0.6).astype(int) + (x[:, 2] > 1)


def odd(x: np.ndarray, missing: bool = True) -> np.ndarray:
    """Rows of the fit with cells beside them, tiny ones, and missing ones."""
    near = np.vstack([x[:100], np.nextafter(x[:100], np.inf), np.nextafter(x[:100], -np.inf)])
    tiny = np.full((4, x.shape[1]), [[0.0], [-0.0], [1e-40], [-1e-40]])
    out = np.vstack([near, tiny, (x[:99] + x[1:100]) / 2])
    if missing:
        out[::5, 0] = np.nan
        out[::7, 2] = np.nan
    return out


TREES: list[tuple[Any, bool]] = [
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


@pytest.mark.parametrize(("theirs", "missing"), TREES, ids=lambda v: type(v).__name__)
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


XGBOOST: list[dict[str, Any]] = [
    {"objective": "binary:logistic"},
    {"objective": "multi:softprob", "num_class": 3},
    {"objective": "count:poisson"},
    {"booster": "dart", "rate_drop": 0.3},
    {"booster": "gblinear"},
]


@pytest.mark.parametrize("extra", XGBOOST, ids=str)
@pytest.mark.parametrize("kind", ["json", "ubj"])
def test_boosters_of_xgboost_score_the_same(extra: dict[str, Any], kind: str, tmp_path: Any) -> None:
    xgb = pytest.importorskip("xgboost")
    x, y = table()
    target = (y > 0).astype(int) if extra.get("objective") == "binary:logistic" else y
    booster = xgb.train({"max_depth": 4, "nthread": 1, **extra}, xgb.DMatrix(x, target), 6)
    booster.save_model(tmp_path / f"m.{kind}")
    rows = odd(x)
    want = booster.predict(xgb.DMatrix(rows))
    ours = corten.convert(tmp_path / f"m.{kind}")
    np.testing.assert_allclose(
        ours.predict(rows), want, rtol=1e-6, atol=1e-6 if extra.get("booster") == "gblinear" else 0
    )
    if "decision_function" in ours.methods:
        raw = booster.predict(xgb.DMatrix(rows), output_margin=True)
        np.testing.assert_array_equal(ours.decision_function(rows).astype(np.float32), raw)


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide", "Depthwise"])
def test_trees_of_catboost_score_the_same(policy: str) -> None:
    catboost = pytest.importorskip("catboost")
    x, y = table()
    settings = {"iterations": 8, "depth": 4, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    for model in (
        catboost.CatBoostClassifier(**settings, grow_policy=policy),
        catboost.CatBoostRegressor(**settings, grow_policy=policy),
    ):
        model.fit(x, y)
        ours, rows = corten.convert(model), odd(x)
        np.testing.assert_allclose(np.ravel(ours.predict(rows)), np.ravel(model.predict(rows)), rtol=1e-12)
        if hasattr(model, "predict_proba"):
            np.testing.assert_allclose(ours.predict_proba(rows), model.predict_proba(rows), rtol=1e-12)


def test_what_can_not_be_converted_is_told() -> None:
    with pytest.raises(TypeError, match="corten.convert takes fitted models of LightGBM"):
        corten.convert(object())
    with pytest.raises(ValueError, match="not fitted yet"):
        corten.convert(ensemble.RandomForestClassifier())
    with pytest.raises(ValueError, match="no model of LightGBM"):
        corten.convert(b"PK\x03\x04")


def test_the_command_line_converts_both_ways(tmp_path: Any) -> None:
    from corten._cli import main

    lgb = pytest.importorskip("lightgbm")
    x, y = table()
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lgb.Dataset(x, y > 0), 5)
    booster.save_model(tmp_path / "m.txt")
    text, out, back = str(tmp_path / "m.txt"), str(tmp_path / "m.corten"), str(tmp_path / "back.txt")
    assert main(["convert", text, "-o", out, "--classes", "no", "yes"]) == 0
    model = corten.load(out)
    np.testing.assert_allclose(model.predict_proba(x)[:, 1], booster.predict(x), rtol=1e-12)
    assert set(model.predict(x)) == {"no", "yes"}
    assert main(["convert", out, "-o", back, "--to", "lightgbm"]) == 0
    np.testing.assert_array_equal(lgb.Booster(model_file=back).predict(x), booster.predict(x))
    (tmp_path / "bad.txt").write_text("tree\nnum_class=1\n")
    assert main(["convert", str(tmp_path / "bad.txt"), "-o", str(tmp_path / "bad.corten")]) == 1
    assert not (tmp_path / "bad.corten").exists()
