"""XGBoost's models: its margins to the last bit of `f32`, and its probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import corten
from convert.cells import odd, table
from corten.exceptions import NotFittedError

xgb = pytest.importorskip("xgboost")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)).astype(np.float32).astype(float)
X[::9, 0] = np.nan
CLASSES = RNG.integers(0, 3, 600)
Y = np.nan_to_num(X[:, 0]) + X[:, 1] * X[:, 2]


def odd_rows(booster: Any) -> np.ndarray:
    """Thresholds and their neighbours, zeros of both signs, small and large numbers, missing values."""
    cuts = booster.trees_to_dataframe()["Split"].dropna().to_numpy(np.float32)
    cells = np.concatenate([cuts, np.nextafter(cuts, np.float32(9)), np.nextafter(cuts, np.float32(-9))]).astype(float)
    cells = np.concatenate([cells, [0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, np.nan, 0.1, 16_777_217.0]])
    return np.concatenate([X, RNG.choice(cells, (400, X.shape[1]))])


def same_margins(theirs: Any, ours: corten.Model, rows: np.ndarray) -> None:
    booster = theirs if isinstance(theirs, xgb.Booster) else theirs.get_booster()
    margins = booster.predict(xgb.DMatrix(rows), output_margin=True)
    got = ours.decision_function(rows) if "decision_function" in ours.methods else ours.predict(rows)
    np.testing.assert_array_equal(got.astype(np.float32), margins)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
@pytest.mark.parametrize(
    ("objective", "target"),
    [
        ("reg:squarederror", Y),
        ("reg:absoluteerror", Y),
        ("reg:quantileerror", Y),
        ("reg:gamma", np.exp(Y / 3)),
        ("reg:tweedie", np.abs(Y)),
        ("count:poisson", np.abs(np.round(Y))),
        ("reg:logistic", (Y > 0).astype(float)),
        ("binary:logitraw", (Y > 0).astype(float)),
        ("binary:hinge", (Y > 0).astype(float)),
        ("rank:pairwise", CLASSES),
        ("survival:cox", np.abs(Y) + 0.1),
    ],
)
def test_boosters_predict_as_they_do(booster: str, objective: str, target: np.ndarray) -> None:
    data = xgb.DMatrix(X, target)
    if objective == "rank:pairwise":
        data.set_group([200, 200, 200])
    settings: dict[str, Any] = {"objective": objective, "booster": booster, "max_depth": 4, "rate_drop": 0.3}
    if objective == "reg:quantileerror":
        settings["quantile_alpha"] = 0.7
    theirs = xgb.train(settings, data, 12)
    ours = corten.convert(theirs)
    rows = odd_rows(theirs)
    same_margins(theirs, ours, rows)
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(xgb.DMatrix(rows)), rtol=3e-7, atol=1e-30)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_files_of_both_forms_are_read(form: str, tmp_path: Path) -> None:
    theirs = xgb.XGBClassifier(n_estimators=5, max_depth=3).fit(X, CLASSES)
    theirs.save_model(tmp_path / f"m.{form}")
    ours = corten.convert(tmp_path / f"m.{form}", classes=["a", "b", "c"])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)
    assert set(ours.predict(X)) <= {"a", "b", "c"}


def test_classifiers_keep_their_classes_and_probabilities(tmp_path: Path) -> None:
    for target in ((Y > 0).astype(int), CLASSES):
        theirs = xgb.XGBClassifier(n_estimators=20).fit(X, target)
        ours = corten.convert(theirs)
        rows = odd_rows(theirs.get_booster())
        np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-6)
        np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
        ours.save(tmp_path / "m.corten")
        again = corten.load(tmp_path / "m.corten")
        np.testing.assert_array_equal(again.predict_proba(rows), ours.predict_proba(rows))


@pytest.mark.parametrize("to_onehot", [1, 100])
def test_categories_go_the_way_that_they_do(to_onehot: int) -> None:
    names = np.array([f"level {i}" for i in range(12)])
    frame = pd.DataFrame({"kind": pd.Categorical(RNG.choice(names, 600)), "x": X[:, 1]})
    target = (frame["kind"].cat.codes % 3 + frame["x"] > 1).astype(int)
    theirs = xgb.XGBClassifier(n_estimators=8, enable_categorical=True, max_cat_to_onehot=to_onehot).fit(frame, target)
    ours = corten.convert(theirs)
    np.testing.assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), rtol=1e-6)
    assert list(ours.feature_names_in_) == ["kind", "x"]
    row = {"kind": "level 3", "x": 0.5}
    assert ours.predict_proba_one(row)[1] == ours.predict_proba(pd.DataFrame([row]))[0, 1]


def test_several_targets_trees_of_vectors_and_forests() -> None:
    targets = np.column_stack([Y, X[:, 1]])
    for settings in ({}, {"multi_strategy": "multi_output_tree"}):
        theirs = xgb.XGBRegressor(n_estimators=6, tree_method="hist", **settings).fit(X, targets)
        np.testing.assert_array_equal(corten.convert(theirs).predict(X).astype(np.float32), theirs.predict(X))
    forest = xgb.XGBRFRegressor(n_estimators=9, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(corten.convert(forest).predict(X).astype(np.float32), forest.predict(X))


def test_linear_boosters_take_missing_values_for_nothing() -> None:
    theirs = xgb.train({"booster": "gblinear"}, xgb.DMatrix(X, Y), 5)
    np.testing.assert_allclose(corten.convert(theirs).predict(X), theirs.predict(xgb.DMatrix(X)), rtol=1e-5, atol=1e-6)


def test_the_best_round_is_the_last_one() -> None:
    theirs = xgb.XGBRegressor(n_estimators=200, early_stopping_rounds=3, learning_rate=0.5)
    theirs.fit(X[:300], Y[:300], eval_set=[(X[300:], Y[300:])], verbose=False)
    assert theirs.best_iteration < 190
    np.testing.assert_array_equal(corten.convert(theirs).predict(X).astype(np.float32), theirs.predict(X))


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


def test_what_cannot_be_converted_is_told() -> None:
    with pytest.raises(NotFittedError, match="XGBRegressor is not fitted yet"):
        corten.convert(xgb.XGBRegressor())
    with pytest.raises(ValueError, match="missing=-1"):
        corten.convert(xgb.XGBRegressor(n_estimators=1, missing=-1).fit(X, Y))
    content = bytes(xgb.train({}, xgb.DMatrix(X, Y), 2).save_raw("json"))
    with pytest.raises(ValueError, match="objective 'reg:unheard' isn't known"):
        corten.convert(content.replace(b"reg:squarederror", b"reg:unheard"))
    for damaged in (content[:-40], content.replace(b'"left_children":[1', b'"left_children":[0')):
        with pytest.raises(ValueError, match="XGBoost model can't be read"):
            corten.convert(damaged)
