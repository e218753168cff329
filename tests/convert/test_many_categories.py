"""Categories far beyond what a column of the trees operator tells apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corten
from corten.exceptions import UnsupportedError


def table(top: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    x = random.normal(size=(4000, 2))
    known = random.choice(top, 300, replace=False)
    x[:, 1] = random.choice(known, 4000)
    return x, x[:, 0] + np.sin(x[:, 1]) * 2


def odd(x: np.ndarray) -> np.ndarray:
    cells = [np.nan, np.inf, -np.inf, -1.0, -0.5, 0.0, 1e18, 2.0**31, x[3, 1] + 0.9, x[4, 1] + 1.0, 65534.0, 65535.0]
    return np.vstack([x[:500], np.c_[np.zeros(len(cells)), cells]])


def test_codes_of_lightgbm_beyond_65534_score_the_same_bits(tmp_path: Any) -> None:
    lgb = pytest.importorskip("lightgbm")
    x, y = table(2_000_000)
    data = lgb.Dataset(x, y, categorical_feature=[1])
    booster = lgb.train({"verbose": -1, "min_data_per_group": 5, "num_threads": 1}, data, 15)
    model = corten.convert(booster)
    rows = odd(x)
    np.testing.assert_array_equal(model.predict(rows), booster.predict(rows))
    model.save(tmp_path / "m.corten")
    np.testing.assert_array_equal(corten.load(tmp_path / "m.corten").predict(rows), booster.predict(rows))
    with pytest.raises(UnsupportedError, match="can't be written as one of LightGBM"):
        model.to_lightgbm()


def test_codes_of_xgboost_beyond_65534_score_the_same() -> None:
    xgb = pytest.importorskip("xgboost")
    x, y = table(200_000)
    types = ["float", "c"]
    settings = {"max_depth": 4, "nthread": 1, "max_cat_to_onehot": 1, "tree_method": "approx"}
    data = xgb.DMatrix(x, y, feature_types=types, enable_categorical=True)
    booster = xgb.train(settings, data, 8)
    rows = np.vstack([x[:500], [[0.1, np.nan], [np.nan, x[3, 1]], [0.2, 199_999.0], [0.2, 1.0]]])
    want = booster.predict(xgb.DMatrix(rows, feature_types=types, enable_categorical=True))
    np.testing.assert_array_equal(corten.convert(booster).predict(rows).astype(np.float32), want)
