"""Scores a file with a model, in constant memory.

The result holds the column `prediction`, and with --proba a column `probability_<class>` for each class.
"""

from __future__ import annotations

import argparse
import sys

from .. import _core
from ._files import format_argument, progress

HELP = "score a file"
EXAMPLES = """examples:
  corten predict m.corten in.parquet -o out.parquet --proba
  corten predict m.corten in.csv -o out.jsonl
  cat in.jsonl | corten predict m.corten - -o - --format jsonl | head

Columns are found by their names, in any order; further columns are left alone. Formats follow from the suffixes
.parquet, .csv, .arrow (.ipc, .feather; .arrows is a stream) and .jsonl (.ndjson). Arrow IPC is a stream on standard
streams. Every line of JSON has all columns of the model, null where a value is missing."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("input", help="the table to score; - for standard input")
    parser.add_argument("-o", "--output", default="-", help="where to write; - for standard output (default)")
    parser.add_argument("--proba", action="store_true", help="write the probability of each class too")
    format_argument(parser)
    parser.add_argument("--input-format", dest="source_format", help="format of the input alone")
    parser.add_argument("--output-format", dest="target_format", help="format of the output alone")


def run(options: argparse.Namespace) -> int:
    """Scores."""
    model = _core.load(options.model)
    bar = progress("scored")
    rows = _core.score_file(
        model,
        options.input,
        options.output,
        source_format=options.source_format or (options.format if _unknown(options.input) else None),
        target_format=options.target_format or (options.format if _unknown(options.output) else None),
        proba=options.proba,
        progress=bar,
    )
    if bar is not None:
        sys.stderr.write("\r\x1b[K")
    if options.output != "-":
        print(f"{rows:,} rows scored: {options.output}", file=sys.stderr)
    return 0


def _unknown(path: str) -> bool:
    """Whether the format doesn't follow from the suffix."""
    suffixes = (".parquet", ".pq", ".csv", ".tsv", ".arrow", ".arrows", ".ipc", ".feather", ".jsonl", ".ndjson")
    return not path.lower().endswith(suffixes)
