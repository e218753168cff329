"""Fit times of single trees, forests, extra trees and isolation forests, as ratios to scikit-learn's in the same run.

    python benches/fit_forests.py --kinds DecisionTreeClassifier --table ../shared/data/letter_recognition.parquet=lettr

On made rows, or the columns of numbers of a Parquet file, three quarters of whose rows are fitted; `--set` gives both
libraries other parameters, as `--set max_leaf_nodes=31 class_weight=balanced`, and `--missing 0.1` leaves a share of the
values out. Corten codes grown trees when they are first needed: the last ratio is that of a fit and the first row's
prediction.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import time
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from _common import table

KINDS = (
    ("tree", "DecisionTreeClassifier"),
    ("tree", "DecisionTreeRegressor"),
    ("ensemble", "RandomForestClassifier"),
    ("ensemble", "RandomForestRegressor"),
    ("ensemble", "ExtraTreesClassifier"),
    ("ensemble", "ExtraTreesRegressor"),
    ("ensemble", "IsolationForest"),
)


def data(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 20 columns, a third of them of few values, and a noisy target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 20))
    x[:, ::3] = np.round(x[:, ::3], 1)
    return x, x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + rng.normal(size=rows)


def read(given: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns of numbers of `file.parquet=target`, and the target: those to fit, then those to score on."""
    path, _, name = given.partition("=")
    frame = pl.read_parquet(path).drop_nulls(name)
    x, y = frame.drop(name).select(cs.numeric()).to_numpy(), frame[name].to_numpy()
    test = np.random.default_rng(0).random(len(y)) < 0.25
    return x[~test], y[~test], x[test], y[test]


def value_of(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def main() -> None:
    """Fits each in turns, keeps the best time, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(kind for _, kind in KINDS))
    parser.add_argument("--table", help="a Parquet file and its target, as file.parquet=target")
    parser.add_argument("--set", nargs="*", default=[], help="parameters of both libraries, as name=value")
    parser.add_argument("--missing", type=float, default=0.0, help="the share of values that are left out")
    options = parser.parse_args()
    x, y, xt, yt = read(options.table) if options.table else (*data(options.rows, 0), *data(options.rows, 1))
    if options.missing > 0:
        x, xt = (np.where(np.random.default_rng(2).random(v.shape) < options.missing, np.nan, v) for v in (x, xt))
    given = {name: value_of(text) for name, _, text in (one.partition("=") for one in options.set)}
    kinds = options.kinds.split(",")
    rows = []
    for module, kind in KINDS:
        if kind not in kinds:
            continue
        seconds: dict[str, float] = {}
        first: dict[str, float] = {}
        scores: dict[str, Any] = {}
        for library in ["corten", "sklearn"] * options.repeat:
            cls = getattr(importlib.import_module(f"{library}.{module}"), kind)
            extra: dict[str, Any] = {"random_state": 0} | given
            if module == "ensemble":
                extra |= {"n_estimators": options.trees, "n_jobs": options.threads}
            target, truth = (y > 0, yt > 0) if kind.endswith("Classifier") and not options.table else (y, yt)
            model = cls(**extra)
            start = time.perf_counter()
            model.fit(x, target)
            seconds[library] = min(seconds.get(library, np.inf), time.perf_counter() - start)
            model.predict(x[:1])
            first[library] = min(first.get(library, np.inf), time.perf_counter() - start)
            scores[library] = model.score(xt, truth) if hasattr(model, "score") else "-"
        ratio, used = (of["sklearn"] / of["corten"] for of in (seconds, first))
        rows.append([kind, seconds["corten"], seconds["sklearn"], ratio, used, scores["corten"], scores["sklearn"]])
    print(f"{len(x):,} rows, {x.shape[1]} columns, {options.trees} trees, {options.threads} threads")
    table(["", "corten, s", "scikit-learn, s", "times faster", "with a row", "score", "scikit-learn's"], rows)


if __name__ == "__main__":
    main()
