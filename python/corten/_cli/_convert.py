"""Converts a model file of LightGBM (text), XGBoost (JSON, UBJSON) or CatBoost (JSON), or writes LightGBM's text.

Without --classes the model predicts what the library's booster predicts: of a classifier, probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

HELP = "convert a model of LightGBM, XGBoost or CatBoost"
EXAMPLES = """examples:
  corten convert model.txt -o m.corten                            LightGBM's text
  corten convert model.ubj -o m.corten --classes no yes           XGBoost's classifier, with its classes
  corten convert model.json -o m.corten --categories cities.json  CatBoost's, with {"city": ["Rome", ...]}
  corten convert m.corten -o model.txt --to lightgbm              the other way"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file to read")
    parser.add_argument("-o", "--output", required=True, help="the file to write")
    parser.add_argument("--to", choices=["corten", "lightgbm"], default="corten", help="what to write (default corten)")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="the classes, in the order of the outputs")
    parser.add_argument(
        "--categories", metavar="JSON", help="a file of the categories of CatBoost's columns, by column"
    )


def _labels(words: list[str]) -> list[Any]:
    """Classes as whole numbers where all are, else as text."""
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        return list(words)
    return numbers if [str(n) for n in numbers] == words else list(words)


def run(options: argparse.Namespace) -> int:
    """Converts."""
    from .. import convert, load

    if options.to == "lightgbm":
        load(options.model).to_lightgbm(options.output)
    else:
        categories = None
        if options.categories is not None:
            categories = json.loads(Path(options.categories).read_text(encoding="utf-8"))
            if not isinstance(categories, dict):
                raise ValueError(f'{options.categories}: must hold an object, such as {{"city": ["Rome"]}}')
        classes = None if options.classes is None else _labels(options.classes)
        convert(Path(options.model), classes=classes, categories=categories).save(options.output)
    print(f"{options.output}: {os.path.getsize(options.output):,} bytes", file=sys.stderr)
    return 0
