"""LightGBM's models: converted they score as LightGBM does, and written back LightGBM scores as they do."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corten
from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from corten.exceptions import UnsupportedError
from corten.linear_model import Ridge

lgb = pytest.importorskip("lightgbm")

BASE = {"verbose": -1, "num_threads": 1, "deterministic": True, "min_data_per_group": 10}
ROUNDS = 12


def converted(booster: Any) -> corten.Model:
    return corten.convert(booster)


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    """Four columns of numbers with gaps and zeros, one of categories; a target that needs them all."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 5))
    x[:, 1] = np.where(random.random(1500) < 0.3, 0.0, x[:, 1])
    x[:, 2] = x[:, 2].round(1)
    x[random.random(x.shape) < 0.08] = np.nan
    x[:, 4] = random.integers(0, 50, 1500)
    y = np.nan_to_num(x[:, 0]) + (x[:, 4] % 3) + (np.nan_to_num(x[:, 1]) == 0) + np.nan_to_num(x[:, 2])
    return x, y


@functools.cache
def booster(**extra: Any) -> Any:
    x, y = table()
    objective = extra.get("objective", "regression")
    if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        y = (y > 1.5).astype(float)
    elif objective in ("multiclass", "multiclassova"):
        y = (y > 1).astype(float) + (y > 2)
    elif objective in ("poisson", "gamma", "tweedie"):
        y = np.abs(y) + 0.1
    group = None
    if objective in ("lambdarank", "rank_xendcg"):
        y, group = (y > 1).astype(int) + (y > 2), np.full(15, 100)
    data = lgb.Dataset(x, y, group=group, categorical_feature=[4])
    return lgb.train({**BASE, **extra}, data, ROUNDS)


SUMS = ["regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"]
MODELS: list[dict[str, Any]] = [
    *({"objective": name} for name in SUMS),
    *({"objective": name, "reg_sqrt": True} for name in ("regression", "regression_l1", "huber", "fair", "quantile")),
    {"objective": "poisson"},
    {"objective": "gamma"},
    {"objective": "tweedie"},
    {"objective": "binary"},
    {"objective": "binary", "sigmoid": 0.7},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.3},
    {"objective": "cross_entropy"},
    {"objective": "cross_entropy_lambda"},
    {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "objective": "multiclass", "num_class": 3},
    {"boosting": "dart"},
    {"linear_tree": True},
    {"use_missing": False},
    {"zero_as_missing": True},
    {"num_leaves": 2},
    {"min_data_in_leaf": 5000},
]


def name(extra: dict[str, Any]) -> str:
    return "-".join(f"{k}={v}" for k, v in extra.items())


def thresholds(b: Any) -> list[float]:
    lines = [line for line in b.model_to_string().splitlines() if line.startswith("threshold=")]
    return sorted({float(v) for line in lines for v in line.partition("=")[2].split()})


@st.composite
def rows(draw: st.DrawFn, b: Any) -> np.ndarray:
    """Cells at thresholds, beside them, missing, infinite, tiny, and categories that never were."""
    known = thresholds(b) or [0.0]
    odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-35, 1.0000000180025095e-35, 1.1e-35, 1e300]
    at = st.sampled_from(known)
    beside = st.builds(lambda t, to: float(np.nextafter(t, to)), at, st.sampled_from([-np.inf, np.inf]))
    number = st.one_of(st.sampled_from(odd), at, beside, st.floats(-4, 4))
    code = st.one_of(
        st.integers(-3, 60).map(float), st.floats(-2, 60), st.sampled_from([*odd, 2.0**31, -(2.0**31), 1e18, 65535.0])
    )
    count = draw(st.integers(1, 20))
    cells = [[draw(number), draw(number), draw(number), draw(number), draw(code)] for _ in range(count)]
    return np.array(cells)


@pytest.mark.parametrize("extra", MODELS, ids=name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_odd_cells_score_as_in_lightgbm(extra: dict[str, Any], data: st.DataObject) -> None:
    b = booster(**extra)
    model = converted(b)
    x = data.draw(rows(b))
    want, raw = b.predict(x), b.predict(x, raw_score=True)
    np.testing.assert_allclose(model.predict(x), want, rtol=1e-12, atol=0)
    if extra.get("boosting") != "rf" and "decision_function" in model.methods:
        # LightGBM adds leaves in the same order: the very bits.
        np.testing.assert_array_equal(model.decision_function(x), raw)


@pytest.mark.parametrize("extra", MODELS, ids=name)
def test_what_is_written_back_scores_the_same_bits_in_lightgbm(extra: dict[str, Any]) -> None:
    b = booster(**extra)
    x = np.vstack([table()[0][:300], np.full((1, 5), np.nan), np.full((1, 5), -1e18)])
    again = lgb.Booster(model_str=converted(b).to_lightgbm())
    np.testing.assert_array_equal(again.predict(x), b.predict(x))
    # The text is converted again like any other.
    np.testing.assert_array_equal(converted(again).predict(x), converted(b).predict(x))


def test_linear_leaves_below_categories_alone_are_their_constants() -> None:
    random = np.random.default_rng(1)
    x = np.column_stack([np.repeat(np.arange(4.0), 40), random.normal(size=160)])
    y = random.normal(size=160) + x[:, 0] + (x[:, 0] > 1) * x[:, 1]
    params = BASE | {"linear_tree": True, "num_leaves": 4, "min_data_per_group": 1, "objective": "regression"}
    data = lgb.Dataset(x, y, categorical_feature=[0], params={"linear_tree": True, "verbose": -1})
    b = lgb.train(params, data, 5)
    leaves = [tree for tree in b.dump_model()["tree_info"] if "leaf_const" in str(tree)]
    assert leaves, "the model has linear leaves"
    x = np.vstack([x, np.column_stack([x[:, 0], np.full(160, np.nan)])])
    model = converted(b)
    np.testing.assert_array_equal(model.predict(x), b.predict(x))
    again = lgb.Booster(model_str=model.to_lightgbm())
    np.testing.assert_array_equal(again.predict(x), b.predict(x))


def test_counts_of_rows_come_back_so_that_contributions_stay() -> None:
    b = booster(objective="regression")
    x = table()[0][:50]
    again = lgb.Booster(model_str=converted(b).to_lightgbm())
    np.testing.assert_allclose(again.predict(x, pred_contrib=True), b.predict(x, pred_contrib=True), atol=1e-9)


def test_columns_of_a_frame_are_found_by_name_and_their_categories_by_value() -> None:
    random = np.random.default_rng(3)
    d = pd.DataFrame(
        {
            "size": random.normal(size=800),
            "place": pd.Categorical(random.choice(["Bern", "Oslo", "Rom"], 800)),
            "floor": pd.Categorical(random.choice([3, 14, 15], 800)),
        }
    )
    y = d["size"] + (d["place"] == "Oslo") * 2 - (d["floor"].astype(int) == 14)
    b = lgb.train(BASE, lgb.Dataset(d, y), ROUNDS)
    model = converted(b)
    new = pd.DataFrame(
        {
            "place": pd.Categorical(["Rom", "Oslo", None, "Wien"]),
            "size": [0.1, np.nan, 0.3, -1.0],
            "floor": pd.Categorical([14, 15, 3, 99]),
        }
    )
    want = b.predict(new[["size", "place", "floor"]])
    np.testing.assert_array_equal(model.predict(new), want)
    row = {"size": 0.1, "place": "Rom", "floor": 14}
    assert model.predict_one(row) == want[0]
    assert model.schema["inputs"][1] == {"name": "place", "kind": "text", "dtype": "text"}
    again = lgb.Booster(model_str=model.to_lightgbm())
    np.testing.assert_array_equal(again.predict(new[["size", "place", "floor"]]), want)


@pytest.mark.parametrize("categorical", [None, [4]])
def test_histogram_boosting_is_written_as_a_lightgbm_model(categorical: list[int] | None) -> None:
    x, y = table()
    odd = np.vstack([x[:200], np.full((1, 5), np.nan), np.full((1, 5), 77.0), np.full((1, 5), -np.inf)])
    regressor = HistGradientBoostingRegressor(max_iter=10, categorical_features=categorical).fit(x, y)
    back = lgb.Booster(model_str=regressor.to_lightgbm())
    np.testing.assert_array_equal(back.predict(odd), regressor.predict(odd))
    counts = HistGradientBoostingRegressor(max_iter=10, loss="poisson", categorical_features=categorical)
    counts.fit(x, np.abs(y))
    np.testing.assert_allclose(
        lgb.Booster(model_str=counts.to_lightgbm()).predict(odd), counts.predict(odd), rtol=1e-13
    )
    for classes in (y > 1.5, (y > 1).astype(int) + (y > 2)):
        model = HistGradientBoostingClassifier(max_iter=10, categorical_features=categorical).fit(x, classes)
        back = lgb.Booster(model_str=model.to_lightgbm())
        raw = back.predict(odd, raw_score=True)
        np.testing.assert_array_equal(raw, model.decision_function(odd))
        proba = model.predict_proba(odd)
        np.testing.assert_allclose(back.predict(odd), proba if proba.shape[1] > 2 else proba[:, 1], rtol=1e-12)


def test_a_forest_that_rounds_its_inputs_is_written_with_thresholds_that_do_not_need_it(tmp_path: Any) -> None:
    x, y = table()
    x = np.nan_to_num(x)
    forest = RandomForestClassifier(7, random_state=0).fit(x, y > 1.5)
    forest.save(tmp_path / "forest.corten")
    model = corten.load(tmp_path / "forest.corten")
    path = tmp_path / "forest.txt"
    text = model.to_lightgbm(path)
    assert path.read_text() == text
    split = [t for t in thresholds(lgb.Booster(model_str=text)) if abs(t) > 1e-30]
    at = np.array(split)[:, None]
    close = np.hstack([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), at.astype(np.float32), at])
    np.testing.assert_array_equal(lgb.Booster(model_file=path).predict(close), model.predict_proba(close))


def test_what_lightgbm_can_not_say_is_told_before_a_file_is_written(tmp_path: Any) -> None:
    x, y = table()
    Ridge().fit(np.nan_to_num(x), y).save(tmp_path / "ridge.corten")
    model = corten.load(tmp_path / "ridge.corten")
    with pytest.raises(UnsupportedError, match="can't be written as one of LightGBM: a linear model is part of it"):
        model.to_lightgbm(tmp_path / "ridge.txt")
    assert not (tmp_path / "ridge.txt").exists()


def damaged(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


def test_damaged_models_are_refused_with_the_reason() -> None:
    text = booster(objective="regression").model_to_string()
    first = text.index("left_child=")
    left = text[first : text.index("\n", first)]
    start = text.index("threshold=")
    line = text[start : text.index("\n", start)]
    cases = [
        (text[: len(text) // 3].encode(), "tree"),
        (damaged(text, left, "left_child=" + " ".join(["0"] * (left.count(" ") + 1))), "second time|isn't there"),
        (damaged(text, left, left + " 1"), "left_child"),
        (damaged(text, "num_leaves=31", "num_leaves=4000000000"), "leaves|numbers"),
        (damaged(text, line, "threshold=nan " + line.split(" ", 1)[1]), "threshold"),
        (damaged(text, "objective=regression", "objective=love"), "love"),
        (damaged(text, "max_feature_idx=4", "max_feature_idx=1"), "names"),
    ]
    for content, reason in cases:
        with pytest.raises(ValueError, match=reason):
            corten.convert(content)
