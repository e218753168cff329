"""Boosting's time to fit, held-out loss and memory beside the fastest of LightGBM's modes: same trees, leaves, rate, bins.

The memory is the most that a first fit holds beyond its input, and the least that one of LightGBM's modes does.

    python benches/fit_boosting.py [--threads 1,2] [--rows 200000] [--data FOLDER]

Without `--data`: the bundled flights and made data. With it, each Parquet file of the folder too: its last column is the
target, its numeric columns are what it is told by.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "row-wise": {"force_row_wise": True},
    "column-wise": {"force_col_wise": True},
    "quantised": {"use_quantized_grad": True},
}
MADE = ("made binary", "made numbers", "made 7 classes", "made 1,000 rows", "made 10,000 rows", "flights")


def data(name: str, rows: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Task, columns and target of a data set."""
    if name == "flights":
        from _common import TEXT, flights

        x, y, *_ = flights()
        return "binary", x.drop(TEXT).to_numpy().astype(np.float32), y.astype(np.int64)
    if name.endswith(".parquet"):
        import polars as pl

        frame = pl.read_parquet(name, n_rows=rows)
        target = frame[:, -1]
        x = frame[:, :-1].select(pl.selectors.numeric()).to_numpy().astype(np.float32)
        if target.dtype.is_float():
            return "regression", x, target.to_numpy().astype(np.float64)
        _, codes = np.unique(target.cast(pl.String).fill_null("").to_numpy(), return_inverse=True)
        return ("binary" if codes.max() == 1 else "multiclass"), x, codes
    rng = np.random.default_rng(7)
    n = {"made 1,000 rows": 1_250, "made 10,000 rows": 12_500}.get(name, rows)
    x = rng.normal(size=(n, 20)).astype(np.float32)
    x[:, 12:16] = np.floor(np.abs(x[:, 12:16]) * 5)
    z = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + 0.5 * x[:, 3] * (x[:, 12] > 2) + rng.normal(size=n)
    if "numbers" in name:
        return "regression", x, z.astype(np.float64)
    if "classes" in name:
        return "multiclass", x, np.digitize(z, np.quantile(z, np.linspace(0, 1, 8)[1:-1]))
    return "binary", x, (z > 0).astype(np.int64)


def peak(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Megabytes that the process holds at the most while a model is fitted, beyond what it held before."""
    from _common import peak_of

    # What libraries load and what threads need once is not the fit's.
    model.fit(x[:1000], y[:1000] if len(np.unique(y[:1000])) == len(np.unique(y)) else np.resize(np.unique(y), 1000))
    return peak_of(lambda: model.fit(x, y))


def one(library: str, mode: str, name: str, threads: int, rows: int) -> None:
    """Prints the best of some times to fit, and the held-out loss."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    task, x, y = data(name, rows)
    cut = len(y) * 4 // 5
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    if library == "lightgbm":
        import lightgbm as lgb

        params = {"n_estimators": 100, "num_leaves": 63, "max_bin": 255, "min_child_samples": 20, "reg_lambda": 1.0}
        cls = lgb.LGBMRegressor if task == "regression" else lgb.LGBMClassifier
        model: Any = cls(**params, n_jobs=threads, verbose=-1, **MODES[mode])
    else:
        from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        ours = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
        model = ours(max_iter=100, max_leaf_nodes=63, l2_regularization=1.0, early_stopping=False)
    x_train, y_train = x[:cut].copy(), y[:cut].copy()
    memory = peak(model, x_train, y_train)
    best, spent = np.inf, 0.0
    while spent < 3 or best == np.inf:
        start = time.perf_counter()
        model.fit(x_train, y_train)
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
    if task == "regression":
        loss = np.sqrt(np.mean((model.predict(x[cut:]) - y[cut:]) ** 2))
    else:
        p = model.predict_proba(x[cut:])[np.arange(len(y) - cut), y[cut:]]
        loss = -np.mean(np.log(np.clip(p, 1e-15, None)))
    print(best, loss, memory)


def child(*arguments: Any) -> tuple[float, float, float]:
    """Time, loss and memory of a process of its own."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(out[0]), float(out[1]), float(out[2])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        library, mode, name, threads, rows = given.one
        one(library, mode, name, int(threads), int(rows))
        return
    from _common import table

    names = [*MADE, *(str(p) for p in sorted(given.data.glob("*.parquet")))] if given.data else list(MADE)
    rows = []
    for name in names:
        for threads in map(int, given.threads.split(",")):
            ours = child("corten", "-", name, threads, given.rows)
            theirs = {mode: child("lightgbm", mode, name, threads, given.rows) for mode in MODES}
            fastest = min(theirs, key=lambda mode: theirs[mode][0])
            seconds = theirs[fastest][0]
            least = min(memory for *_, memory in theirs.values())
            loss = f"{100 * (ours[1] / theirs['default'][1] - 1):+.2f} %"
            rows.append(
                [
                    Path(name).stem,
                    threads,
                    ours[0],
                    seconds,
                    fastest,
                    f"{seconds / ours[0]:.2f} x",
                    loss,
                    ours[2],
                    least,
                ]
            )
    heads = ["data", "threads", "corten s", "LightGBM s", "its mode", "faster", "loss beside its default", "corten MB"]
    table([*heads, "LightGBM MB"], rows)


if __name__ == "__main__":
    main()
