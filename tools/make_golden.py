#!/usr/bin/env python3
"""Write the golden files: small models of every kind, rows for them, and their answers to the last bit.

    make golden

They go to `fixtures/models/<format version>/`. Files of a version that was released are never made again: every later
Corten must read them and give the same answers (`tests/test_golden.py`, `crates/corten-model/tests/golden`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import corten
from corten.compose import make_column_transformer
from corten.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from corten.impute import SimpleImputer
from corten.linear_model import LinearRegression, LogisticRegression, Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from corten.streaming import RunningMoments
from corten.tree import DecisionTreeClassifier, DecisionTreeRegressor

VERSION = 1
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "models" / str(VERSION)
ROWS = 24


def table(seed: int, rows: int) -> pl.DataFrame:
    """Numbers with and without gaps, and text with gaps."""
    rng = np.random.default_rng(seed)
    gaps = rng.random((3, rows)) < 0.15
    city = rng.choice(["Oslo", "Rome", "Łódź", "Bonn"], rows)
    return pl.DataFrame(
        {
            "width": rng.normal(3.0, 2.0, rows).round(3),
            "height": [None if g else float(v) for g, v in zip(gaps[0], rng.gamma(2.0, 30.0, rows), strict=True)],
            "count": rng.integers(0, 6, rows).astype(float),
            "city": [None if g else str(c) for g, c in zip(gaps[1], city, strict=True)],
        }
    )


def targets(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Targets that follow from a table."""
    score = frame["width"].to_numpy() + np.nan_to_num(frame["height"].fill_null(50.0).to_numpy()) / 30
    score = score + (frame["city"].fill_null("") == "Rome").to_numpy()
    return {
        "number": score,
        "two": np.array(["no", "yes"])[(score > np.median(score)).astype(int)],
        "three": np.digitize(score, np.quantile(score, [0.3, 0.7])) * 10,
        "both": np.column_stack([score, frame["count"].to_numpy()]),
    }


def models(frame: pl.DataFrame) -> dict[str, Any]:
    """A fitted model of every kind."""
    y = targets(frame)
    numbers = ["width", "height", "count"]
    plain, gaps, text = frame.select("width", "count"), frame.select(numbers), frame.select("city")
    filled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    parts = [(filled, numbers), (OneHotEncoder(handle_unknown="ignore"), ["city"])]
    unseen: dict[str, Any] = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    coded = [("passthrough", numbers), (OrdinalEncoder(**unseen), ["city"])]
    boosted: dict[str, Any] = {
        "max_iter": 4,
        "max_leaf_nodes": 6,
        "min_samples_leaf": 5,
        "categorical_features": "from_dtype",
    }
    small: dict[str, Any] = {"max_depth": 4, "random_state": 0}
    levels = frame.with_columns(pl.col("city").cast(pl.Enum(["Bonn", "Oslo", "Rome", "Łódź"])))
    matrix = plain.to_numpy()
    return {
        "standard_scaler": StandardScaler().fit(gaps),
        "min_max_scaler": MinMaxScaler(clip=True).fit(plain),
        "max_abs_scaler": MaxAbsScaler().fit(plain),
        "robust_scaler": RobustScaler().fit(gaps),
        "one_hot_encoder": OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3).fit(text),
        "ordinal_encoder": OrdinalEncoder(**unseen).fit(text),
        "encoders_of_numbers": make_column_transformer(
            (OneHotEncoder(drop="first", handle_unknown="ignore"), ["count"]),
            (OrdinalEncoder(**unseen, encoded_missing_value=-5), ["count", "city"]),
            remainder="passthrough",
        ).fit(frame.select("count", "width", "city")),
        "simple_imputer": SimpleImputer(strategy="mean", add_indicator=True).fit(gaps),
        "text_imputer": SimpleImputer(strategy="most_frequent").fit(text),
        "linear_regression": LinearRegression().fit(matrix, y["both"]),
        "ridge": Ridge().fit(plain, y["number"]),
        "logistic_two": make_pipeline(make_column_transformer(*parts), LogisticRegression()).fit(frame, y["two"]),
        "logistic_three": make_pipeline(StandardScaler(), LogisticRegression()).fit(plain, y["three"]),
        "boosting_two": HistGradientBoostingClassifier(**boosted).fit(levels, y["two"]),
        "boosting_three": HistGradientBoostingClassifier(**boosted).fit(levels, y["three"]),
        "boosting_number": HistGradientBoostingRegressor(loss="poisson", **boosted).fit(levels, y["number"] + 9),
        "forest": make_pipeline(make_column_transformer(*coded), RandomForestClassifier(n_estimators=5, **small)).fit(
            frame, y["three"]
        ),
        "forest_of_two_numbers": RandomForestRegressor(n_estimators=3, **small).fit(gaps, y["both"]),
        "extra_trees_of_classes": ExtraTreesClassifier(n_estimators=3, **small).fit(gaps, y["three"]),
        "extra_trees": ExtraTreesRegressor(n_estimators=5, **small).fit(gaps, y["both"]),
        "tree_of_classes": DecisionTreeClassifier(**small).fit(gaps, y["two"]),
        "tree_of_two_numbers": DecisionTreeRegressor(**small).fit(gaps, y["both"]),
        "tree_of_numbers": DecisionTreeRegressor(**small).fit(matrix, y["number"]),
        "running_moments": RunningMoments(key="city", values=["width", "count"]).fit(
            frame.drop_nulls("city").select("city", "width", "count")
        ),
    }


def column(series: pl.Series) -> dict[str, Any]:
    """A column as JSON: numbers as the shortest text that gives them back."""
    if series.dtype == pl.Float64:
        return {"kind": "number", "values": ["nan" if v is None else repr(float(v)) for v in series]}
    return {"kind": "text", "values": series.to_list()}


def case(name: str, model: Any, frame: pl.DataFrame) -> dict[str, Any]:
    """The columns that a model reads, what its methods answer, and what one with state answers as it advances."""
    inputs = {name: column(frame[name]) for name in frame.columns}
    outputs = {}
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(model, method):
            values = np.asarray(getattr(model, method)(frame))
            flat = values.reshape(len(frame), -1)
            write: Any = {"f": repr, "i": str}.get(flat.dtype.kind, lambda v: v)
            outputs[method] = [[write(v) for v in row] for row in flat.tolist()]
    made: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if name.startswith("running"):
        made["updates"] = [[repr(v) for v in row] for row in model.update(frame).tolist()]
    return made


def rows_of(model: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that a model reads."""
    names = [column["name"] for column in model.schema["inputs"]]
    sources = names if model.schema["named"] else ["width", "count"][: len(names)]
    return rows.select(pl.col(source).alias(name) for source, name in zip(sources, names, strict=True))


def main() -> None:
    """Write every file."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    unknown = pl.DataFrame({"width": [-0.0], "height": [1e300], "count": [5.0], "city": ["Bergen"]})
    train, rows = table(0, 160), pl.concat([table(1, ROWS), unknown])
    for name, model in models(train).items():
        path = FOLDER / f"{name}.corten"
        model.save(path)
        loaded = corten.load(path)
        text = json.dumps(case(name, loaded, rows_of(loaded, rows)), ensure_ascii=False, separators=(",", ":"))
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
