"""Tables for the command line: formats, targets, progress."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _core, _inputs, _targets
from .._inputs import Input

FORMATS = ("parquet", "csv", "arrow", "jsonl")


def format_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--format`."""
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the tables where the suffix of a file doesn't tell (standard streams)",
    )


def read(path: str, format: str | None) -> Input:
    """A table from a file or, for "-", from standard input."""
    return _inputs.read(_core.read_table(path, format=format), "corten")


def split_target(table: Input, target: str, drop: list[str]) -> tuple[Input, np.ndarray]:
    """The other columns and the target, without the rows where the target is missing."""
    at = _inputs.positions(target, table, "--target")[0]
    gone = {at, *_inputs.positions(drop, table, "--drop")} if drop else {at}
    y = target_array(table.column(at))
    x = table.select([i for i in range(table.width) if i not in gone])
    if x.width == 0:
        raise ValueError(f"The table has no column besides the target '{target}'.")
    present = np.array([v is not None and v == v for v in y.tolist()])
    if not present.all():
        rows = np.flatnonzero(present)
        if not len(rows):
            raise ValueError(f"Column '{target}': all values of the target are missing.")
        x, y = x.take(rows), y[rows]
        y = y.astype(np.float64) if y.dtype.kind == "f" else y
    return x, y


def target_array(values: Any) -> np.ndarray:
    """A column as a target."""
    if isinstance(values, list):
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out
    out = _targets.array_of(values)
    whole = out.dtype.kind == "f" and (np.isnan(out) | (out == np.floor(out))).all()
    return out.astype(np.int64) if whole and not np.isnan(out).any() and np.abs(out).max(initial=0) < 2**53 else out


def progress(label: str) -> Callable[[int], None] | None:
    """A line on stderr that counts rows, where stderr is a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(rows: int) -> None:
        sys.stderr.write(f"\r{label}: {rows:,} rows")
        sys.stderr.flush()

    return show


def show(measures: dict[str, float], title: str) -> str:
    """Measures as a small table."""
    lines = [title]
    for name, value in measures.items():
        lines.append(f"  {name:<10} {int(value):,}" if name == "rows" else f"  {name:<10} {value:.6g}")
    return "\n".join(lines)
