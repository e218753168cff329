"""Trains a model on a table and saves it, with a report on rows that were held out.

Columns of text are categories and missing values are taken as they are: boosting reads the columns as they stand,
other estimators get a pipeline that imputes, scales and encodes.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from .. import _metrics
from .._inputs import Input
from ..exceptions import ParameterError
from ._files import format_argument, read, show, split_target

HELP = "train a model on a table"
EXAMPLES = """examples:
  corten train data.parquet --target y -o m.corten
  corten train data.csv --target price --estimator ridge --param alpha=10 --drop id,date -o m.corten
  corten train data.parquet --target late --estimator random_forest --param n_estimators=300 -o m.corten

A target of text, booleans or few different integers makes a classifier, others a regressor; --task says it."""

#: Module and classes (classifier, regressor) of each estimator.
ESTIMATORS: dict[str, tuple[str, str | None, str | None]] = {
    "hist_gradient_boosting": ("ensemble", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
    "random_forest": ("ensemble", "RandomForestClassifier", "RandomForestRegressor"),
    "extra_trees": ("ensemble", "ExtraTreesClassifier", "ExtraTreesRegressor"),
    "logistic_regression": ("linear_model", "LogisticRegression", None),
    "linear_regression": ("linear_model", None, "LinearRegression"),
    "ridge": ("linear_model", None, "Ridge"),
}
#: Integers with at most this many different values are taken for classes.
_FEW = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("data", help="the table; - for standard input")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("-o", "--output", required=True, help="the model file to write")
    parser.add_argument("--estimator", choices=sorted(ESTIMATORS), default="hist_gradient_boosting")
    parser.add_argument("--task", choices=("classification", "regression"), help="what the target is, if not obvious")
    parser.add_argument("--drop", default="", help="columns to leave out, separated by commas")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the estimator"
    )
    parser.add_argument("--test-fraction", type=float, default=0.2, help="share of rows held out for the report (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")
    parser.add_argument("--quiet", action="store_true", help="no progress and no report")
    format_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Trains."""
    if not 0 <= options.test_fraction < 1:
        raise ParameterError(f"--test-fraction must be in the range [0, 1). Got {options.test_fraction} instead.")
    drop = [c for c in options.drop.split(",") if c]
    x, y = split_target(read(options.data, options.format), options.target, drop)
    x, left_out = usable(x)
    task = options.task or task_of(y)
    estimator = build(options.estimator, task, x, dict(parameter(p) for p in options.param), options)
    order = np.random.default_rng(options.seed).permutation(x.rows)
    held = int(round(x.rows * options.test_fraction))
    test, train = np.sort(order[:held]), np.sort(order[held:])
    start = time.perf_counter()
    estimator.fit(x.take(train) if held else x, y[train] if held else y)
    seconds = time.perf_counter() - start
    measures: dict[str, float] = {}
    if held:
        rows = x.take(test)
        if task == "classification":
            proba = estimator.predict_proba(rows)
            measures = _metrics.classification(y[test], estimator.predict(rows), estimator.classes_, proba)
        else:
            measures = _metrics.regression(y[test].astype(float), estimator.predict(rows))
    estimator.save(options.output, metadata={"target": options.target, "metrics": measures})
    if not options.quiet:
        if left_out:
            print(f"left out, of types that aren't taken: {', '.join(left_out)}", file=sys.stderr)
        print(f"{type(last(estimator)).__name__} on {len(train):,} rows, {x.width} columns: {seconds:.2f} s")
        if measures:
            print(show(measures, "held-out rows"))
        for line in importance(estimator, x):
            print(line)
        print(f"saved {options.output}; next: corten predict {options.output} NEW.parquet -o OUT.parquet")
    return 0


def usable(x: Input) -> tuple[Input, list[str]]:
    """The columns of numbers and text, and the names of the others."""
    kinds = [str(k) for k in x.data.dtypes]
    known = ("f16", "f32", "f64", "bool", "text")
    keep = [i for i, k in enumerate(kinds) if k in known or (k[0] in "iu" and k[1:].isdigit())]
    if not keep:
        raise ValueError("The table has no column of numbers, booleans or text to learn from.")
    names = x.names or []
    return x.select(keep), [names[i] for i in range(x.width) if i not in set(keep)]


def task_of(y: np.ndarray) -> str:
    """Whether a target looks like classes or like numbers."""
    if y.dtype.kind in "OUb":
        return "classification"
    few = y.dtype.kind in "iu" and len(np.unique(y)) <= _FEW
    return "classification" if few else "regression"


def parameter(text: str) -> tuple[str, Any]:
    """A parameter from `NAME=VALUE`, the value as Python writes it or else as text."""
    import ast

    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(f"--param must be NAME=VALUE. Got {text!r} instead.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def build(name: str, task: str, x: Input, params: dict[str, Any], options: argparse.Namespace) -> Any:
    """The estimator, with the preprocessing that it needs for these columns."""
    from importlib import import_module

    module, classifier, regressor = ESTIMATORS[name]
    chosen = classifier if task == "classification" else regressor
    if chosen is None:
        raise ParameterError(f"--estimator {name} is not for {task}; choose another, or say --task.")
    cls = getattr(import_module(f"corten.{module}"), chosen)
    estimator = cls()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=options.seed)
    if "verbose" in estimator.get_params() and not options.quiet and sys.stderr.isatty():
        estimator.set_params(verbose=1)
    estimator.set_params(**params)
    if name == "hist_gradient_boosting":
        return estimator
    from ..compose import make_column_transformer
    from ..impute import SimpleImputer
    from ..pipeline import make_pipeline
    from ..preprocessing import OneHotEncoder, StandardScaler

    names = x.names or []
    texts = [names[i] for i in x.texts]
    numbers = [n for n in names if n not in set(texts)]
    parts: list[Any] = []
    if numbers:
        steps = [SimpleImputer(strategy="median")]
        parts.append((make_pipeline(*steps, StandardScaler()) if module == "linear_model" else steps[0], numbers))
    if texts:
        parts.append((OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=100), texts))
    return make_pipeline(make_column_transformer(*parts), estimator)


def last(estimator: Any) -> Any:
    """The estimator at the end of a pipeline."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def importance(estimator: Any, x: Input) -> list[str]:
    """The columns that matter most, as lines of text."""
    weights = getattr(last(estimator), "feature_importances_", None)
    names = x.names
    if weights is None or not len(weights):
        return []
    if hasattr(estimator, "steps"):
        names = estimator.steps[0][1].get_feature_names_out().tolist()
    best = np.argsort(-np.asarray(weights), kind="stable")[:10]
    width = max(len(str(names[i])) for i in best) if names else 0
    return [
        "most important columns",
        *(f"  {names[i]:<{width}} {weights[i]:.3f}" for i in best if names and weights[i] > 0),
    ]
