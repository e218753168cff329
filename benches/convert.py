#!/usr/bin/env python3
"""Conversion of a LightGBM model of 1,000 trees of 255 leaves: seconds, and memory against the size of its text.

    python benches/convert.py [trees] [leaves]

The model is made first, in a process of its own, so that the memory measured is the conversion's.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(path: str, trees: int, leaves: int) -> None:
    """Fits LightGBM on random rows and saves its text."""
    import lightgbm as lgb
    import numpy as np

    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, 28))
    y = (x[:, :4].sum(axis=1) + random.normal(size=len(x)) > 0).astype(float)
    settings = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 20, "verbose": -1, "num_threads": 2}
    lgb.train(settings, lgb.Dataset(x, y), trees).save_model(path)


def resident() -> int:
    """Bytes in memory at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(path: str) -> None:
    """Converts once and prints what it took."""
    import corten

    # What converting needs is loaded before anything is measured.
    assert callable(corten.convert)
    before, start = resident(), time.perf_counter()
    model = corten.convert(Path(path))
    seconds, after = time.perf_counter() - start, resident()
    size = os.path.getsize(path)
    print(f"text             {size / 1e6:8.1f} MB")
    print(f"conversion       {seconds:8.2f} s")
    print(f"memory           {(after - before) / 1e6:8.1f} MB, {(after - before) / size:.2f} times the text")
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "m.corten"
        model.save(saved)
        start = time.perf_counter()
        corten.load(saved)
        print(
            f"model file       {saved.stat().st_size / 1e6:8.1f} MB, loaded in {(time.perf_counter() - start) * 1e3:.1f} ms"
        )


def main() -> None:
    """Runs both parts in processes of their own."""
    if len(sys.argv) > 1 and sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) > 1 and sys.argv[1] == "measure":
        measure(sys.argv[2])
    else:
        trees, leaves = [*sys.argv[1:], *["1000", "255"][len(sys.argv) - 1 :]]
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.txt")
            for command in (["make", path, trees, leaves], ["measure", path]):
                subprocess.run([sys.executable, __file__, *command], check=True)


if __name__ == "__main__":
    main()
