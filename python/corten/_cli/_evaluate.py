"""Measures a model on a table whose target is known."""

from __future__ import annotations

import argparse
import json

from .. import load
from ..exceptions import UnsupportedError
from ._files import format_argument, read, show, split_target

HELP = "measure a model on a table"
EXAMPLES = """examples:
  corten evaluate m.corten test.parquet --target late
  corten evaluate m.corten test.csv --target price --json

Classifiers are measured by accuracy, log loss and (for two classes) the area under the ROC curve, regressors by R
squared and errors. Rows without a target are left out."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("data", help="the table; - for standard input")
    parser.add_argument("--target", required=True, help="the column with the truth")
    parser.add_argument("--json", action="store_true", help="print JSON")
    format_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluates."""
    from .. import _metrics

    model = load(options.model)
    if "predict" not in model.methods:
        raise UnsupportedError(f"{options.model} has no 'predict' to measure; it has: {', '.join(model.methods)}.")
    x, y = split_target(read(options.data, options.format), options.target, [])
    predicted = model.predict(x)
    if hasattr(model, "classes_"):
        proba = model.predict_proba(x) if "predict_proba" in model.methods else None
        measures = _metrics.classification(y, predicted, model.classes_, proba)
    else:
        measures = _metrics.regression(y.astype(float), predicted)
    print(json.dumps(measures) if options.json else show(measures, f"{options.model} on {options.data}"))
    return 0
