"""One raw row, given as a dict, through a whole pipeline from Python; beside scikit-learn on a one-row frame.

Then the same rows inside Rust, the executor alone, where cargo is there to build that bench.
"""

from __future__ import annotations

import os

# One row is not worth a thread pool: scikit-learn answers sooner without.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
from _common import flights, median_us, pipeline, table

import corten


def inside_rust(path: Path, rows: Path) -> str:
    """What the bench of corten-model prints for a model and rows."""
    profile = os.environ.get("CORTEN_PROFILE", "ci")
    command = [
        "cargo",
        "bench",
        "--locked",
        "--quiet",
        "--profile",
        profile,
        "-p",
        "corten-model",
        "--bench",
        "one_row",
    ]
    result = subprocess.run(
        [*command, "--", path, rows],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return result.stdout


def main() -> None:
    """Prints medians in microseconds and their ratio, for a linear model and for 100 trees."""
    x, y, xt, _ = flights(20_000)
    records = xt.head(1000).to_dicts()
    frames = [pd.DataFrame([record], columns=x.columns) for record in records[:50]]
    rows, inside = [], []
    for kind in ("linear", "trees"):
        with tempfile.TemporaryDirectory() as folder:
            path, lines = Path(folder) / f"{kind}.corten", Path(folder) / "rows.jsonl"
            pipeline("corten", kind).fit(x, y).save(path)
            ours = median_us(corten.load(path).predict_proba_one, records)
            if shutil.which("cargo"):
                xt.head(1000).write_ndjson(lines)
                inside.append(inside_rust(path, lines))
        theirs = median_us(pipeline("sklearn", kind).fit(x.to_pandas(), y).predict_proba, frames, 100)
        rows.append([kind, ours, theirs, theirs / ours])
    table(["predict_proba of one row", "corten, us", "scikit-learn, us", "times"], rows)
    for text in inside:
        print("", text, sep="\n", end="")


if __name__ == "__main__":
    main()
