"""CatBoost's models: numbers and one-hot categories, symmetric trees and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import corten
from convert.cells import odd, table

catboost = pytest.importorskip("catboost")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4))
X[::9, 0] = np.nan
Y = np.nan_to_num(X[:, 0]) + X[:, 1] * X[:, 2]
QUIET: dict[str, Any] = {"verbose": 0, "allow_writing_files": False, "random_seed": 0, "iterations": 30}


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide", "Depthwise"])
@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
def test_regressors_predict_as_they_do(policy: str, nan_mode: str) -> None:
    theirs = catboost.CatBoostRegressor(grow_policy=policy, nan_mode=nan_mode, **QUIET).fit(X, Y)
    ours = corten.convert(theirs)
    rows = np.concatenate([X, RNG.choice([0.0, -0.0, 1e-40, np.nan, 1e30, -1e30, 0.5], (200, 4))])
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", ["Poisson", "MAE", "Quantile:alpha=0.8", "Tweedie:variance_power=1.5"])
def test_losses_have_their_links(loss: str) -> None:
    theirs = catboost.CatBoostRegressor(loss_function=loss, **QUIET).fit(X, np.abs(Y))
    np.testing.assert_allclose(corten.convert(theirs).predict(X), theirs.predict(X), rtol=1e-12)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 5], ["a", "b", "c"]])
def test_classifiers_keep_their_classes(labels: list[Any], tmp_path: Path) -> None:
    target = np.array(labels)[np.digitize(Y, np.linspace(-1, 1, len(labels) + 1)[1:-1])]
    theirs = catboost.CatBoostClassifier(**QUIET).fit(X, target)
    ours = corten.convert(theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-11)
    assert ours.predict(X).tolist() == theirs.predict(X).ravel().tolist()
    ours.save(tmp_path / "m.corten")
    np.testing.assert_array_equal(corten.load(tmp_path / "m.corten").predict_proba(X), ours.predict_proba(X))


def test_one_hot_categories_are_named() -> None:
    texts = ["u", "a longer category", "ß and 漢字", "x" * 20, "y" * 40, "z" * 100, ""]
    frame = pd.DataFrame({"x": X[:, 1], "kind": RNG.choice(texts, 600)})
    target = ((frame["x"] > 0) ^ frame["kind"].isin(texts[:3])).astype(int)
    theirs = catboost.CatBoostClassifier(one_hot_max_size=20, cat_features=["kind"], **QUIET).fit(frame, target)
    with pytest.raises(ValueError, match="categories=.'kind'"):
        corten.convert(theirs)
    ours = corten.convert(theirs, categories={"kind": [*texts, "never seen"]})
    frame.loc[0, "kind"] = "unknown to all"
    np.testing.assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), rtol=1e-12)
    with pytest.raises(ValueError, match="none of the 1 given"):
        corten.convert(theirs, categories={"kind": ["u"]})


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide", "Depthwise"])
def test_trees_of_catboost_score_the_same(policy: str) -> None:
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


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": X[:, 1], "kind": RNG.choice(list("abcdef"), 600)})
    counts = catboost.CatBoostRegressor(one_hot_max_size=1, cat_features=["kind"], **QUIET)
    counts.fit(frame, Y + frame["kind"].map(ord))
    with pytest.raises(ValueError, match="OnlineCtr"):
        corten.convert(counts)
    theirs = catboost.CatBoostRegressor(**QUIET).fit(X, Y)
    theirs.save_model(str(tmp_path / "m.json"), format="json")
    content = (tmp_path / "m.json").read_bytes()
    with pytest.raises(ValueError, match="CatBoost model can't be read"):
        corten.convert(content[:-30])
    with pytest.raises(ValueError, match="not fitted"):
        corten.convert(catboost.CatBoostRegressor())
