"""One raw row, given as a dict, through a whole pipeline from Python; beside scikit-learn on a one-row frame."""

from __future__ import annotations

import os

# One row is not worth a thread pool: scikit-learn answers sooner without.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import pandas as pd
from _common import flights, median_us, pipeline, table

import corten


def main() -> None:
    """Prints medians in microseconds and their ratio, for a linear model and for 100 trees."""
    x, y, xt, _ = flights(20_000)
    records = xt.head(1000).to_dicts()
    frames = [pd.DataFrame([record], columns=x.columns) for record in records[:50]]
    rows = []
    for kind in ("linear", "trees"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.corten"
            pipeline("corten", kind).fit(x, y).save(path)
            ours = median_us(corten.load(path).predict_proba_one, records)
        theirs = median_us(pipeline("sklearn", kind).fit(x.to_pandas(), y).predict_proba, frames, 100)
        rows.append([kind, ours, theirs, theirs / ours])
    table(["predict_proba of one row", "corten, us", "scikit-learn, us", "times"], rows)


if __name__ == "__main__":
    main()
