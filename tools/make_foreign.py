#!/usr/bin/env python3
"""Write small models of other libraries, with rows and the libraries' own answers: fixtures/foreign.

    python tools/make_foreign.py            # needs lightgbm, xgboost and catboost

Rust's tests convert them without those libraries, and the fuzz targets start from them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import catboost
import lightgbm as lgb
import numpy as np
import xgboost as xgb

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "foreign"
ROWS = 40


def table() -> tuple[np.ndarray, np.ndarray]:
    """Three columns of numbers with gaps and one of categories."""
    random = np.random.default_rng(5)
    x = random.normal(size=(400, 4)).round(3)
    x[random.random(x.shape) < 0.1] = np.nan
    x[:, 3] = random.integers(0, 9, 400)
    y = np.nan_to_num(x[:, 0]) + (x[:, 3] % 3) + np.nan_to_num(x[:, 1]) ** 2
    return x, y


def rows(x: np.ndarray) -> np.ndarray:
    """Rows of the table, and odd ones."""
    odd = [[np.nan] * 4, [np.inf, -np.inf, 0.0, 3.0], [-np.inf, 1e-36, -0.0, 8.0], [1e-320, 5.0, -5.0, 0.0]]
    return np.vstack([x[: ROWS - len(odd)], odd])


def recorded(name: str, answers: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """Rows and answers as JSON has them."""

    def cells(table: np.ndarray) -> list[list[float | str]]:
        return [[v if np.isfinite(v) else str(v) for v in row] for row in table.tolist()]

    return {"file": name, "rows": cells(x), "answers": cells(np.asarray(answers, float).reshape(len(x), -1))}


def lightgbm_models(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> list[dict[str, Any]]:
    """Text models."""
    base = {"verbose": -1, "num_leaves": 6, "min_data_per_group": 5, "num_threads": 1, "seed": 1}
    classes = (y > 1).astype(int) + (y > 2)
    kinds: dict[str, tuple[dict[str, Any], np.ndarray]] = {
        "binary": ({"objective": "binary", "sigmoid": 0.7}, y > 1),
        "multiclass": ({"objective": "multiclass", "num_class": 3}, classes),
        "linear": ({"linear_tree": True}, y),
        "forest": ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, y),
        "zeros": ({"zero_as_missing": True, "objective": "poisson"}, np.abs(y)),
    }
    out = []
    for name, (extra, target) in kinds.items():
        booster = lgb.train({**base, **extra}, lgb.Dataset(x, target, categorical_feature=[3]), 4)
        booster.save_model(HERE / f"lightgbm_{name}.txt")
        out.append(recorded(f"lightgbm_{name}.txt", np.asarray(booster.predict(at)), at))
    return out


def xgboost_models(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> list[dict[str, Any]]:
    """JSON and UBJSON."""
    mixed = ["float", "float", "float", "c"]
    base = {"max_depth": 3, "nthread": 1, "seed": 1, "tree_method": "hist"}
    kinds: dict[str, tuple[dict[str, Any], np.ndarray]] = {
        "trees": ({"objective": "binary:logistic"}, y > 1),
        "classes": ({"objective": "multi:softprob", "num_class": 3}, (y > 1).astype(int) + (y > 2)),
        "dart": ({"booster": "dart", "rate_drop": 0.5}, y),
        "vectors": ({"multi_strategy": "multi_output_tree"}, np.c_[y, -y]),
    }
    rows = at[np.isfinite(at).all(axis=1) | np.isnan(at).any(axis=1) & ~np.isinf(at).any(axis=1)]
    out = []
    for name, (extra, target) in kinds.items():
        # Trees of vectors split no categories.
        types = ["float"] * 4 if name == "vectors" else mixed
        data = xgb.DMatrix(x, target, feature_types=types, enable_categorical=True)
        booster = xgb.train({**base, **extra}, data, 4)
        kind = "ubj" if name in ("classes", "dart") else "json"
        booster.save_model(HERE / f"xgboost_{name}.{kind}")
        answers = booster.predict(xgb.DMatrix(rows, feature_types=types, enable_categorical=True))
        out.append(recorded(f"xgboost_{name}.{kind}", answers, rows))
    return out


def catboost_models(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> list[dict[str, Any]]:
    """JSON."""
    base = {
        "iterations": 4,
        "depth": 3,
        "verbose": 0,
        "thread_count": 1,
        "random_seed": 1,
        "allow_writing_files": False,
    }
    kinds = {
        "symmetric": catboost.CatBoostRegressor(**base),
        "branches": catboost.CatBoostRegressor(**base, grow_policy="Lossguide"),
        "classes": catboost.CatBoostClassifier(**base, loss_function="MultiClass"),
    }
    out = []
    for name, model in kinds.items():
        model.fit(x, (y > 1).astype(int) + (y > 2) if name == "classes" else y)
        path = HERE / f"catboost_{name}.json"
        model.save_model(path, format="json")
        # What the model is made of; how it was trained takes ten times as much.
        content = json.loads(path.read_text())
        loss = content["model_info"]["params"]["loss_function"]
        content["model_info"] = {"params": {"loss_function": loss}}
        path.write_text(json.dumps(content, separators=(",", ":")))
        answers = model.predict_proba(at) if name == "classes" else model.predict(at)
        out.append(recorded(path.name, answers, at))
    return out


def main() -> None:
    """Write everything."""
    HERE.mkdir(parents=True, exist_ok=True)
    x, y = table()
    at = rows(x)
    parts = [*lightgbm_models(x, y, at), *xgboost_models(x, y, at), *catboost_models(x, y, at)]
    (HERE / "answers.json").write_text(json.dumps(parts, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
