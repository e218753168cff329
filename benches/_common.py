"""What the scripts of this folder share: the flights, pipelines of either library, timing, a table on the terminal."""

from __future__ import annotations

import importlib
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corten.datasets import flights_path

BIN = Path(sysconfig.get_path("scripts"))
TEXT = ["carrier", "origin", "dest"]


def flights(rows: int | None = None) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame, np.ndarray]:
    """Train and test rows of the bundled flights, every fourth held out; the target is whether one was late."""
    frame = pl.read_parquet(flights_path(), n_rows=rows)
    held_out = np.arange(len(frame)) % 4 == 0
    x, y = frame.drop("late"), frame["late"].to_numpy()
    return x.filter(~held_out), y[~held_out], x.filter(held_out), y[held_out]


def peak_of(call: Callable[[], Any]) -> float:
    """Megabytes that the process holds at the most during a call, beyond what it held before."""

    def held(key: str) -> int:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(key))

    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    call()
    return (held("VmHWM") - before) / 1024


def pipeline(library: str, kind: str, **settings: Any) -> Any:
    """The same pipeline from `corten` or `sklearn`: filled and scaled numbers, one-hot text, then `linear` or `trees`."""

    def module(name: str) -> Any:
        return importlib.import_module(f"{library}.{name}")

    prepare = module("compose").make_column_transformer(
        (
            module("pipeline").make_pipeline(
                module("impute").SimpleImputer(), module("preprocessing").StandardScaler()
            ),
            [name for name in flights(4)[0].columns if name not in TEXT],
        ),
        (module("preprocessing").OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXT),
    )
    if kind == "linear":
        last = module("linear_model").LogisticRegression(**{"max_iter": 200, **settings})
    else:
        last = module("ensemble").HistGradientBoostingClassifier(
            **{"max_iter": 100, "early_stopping": False, **settings}
        )
    return module("pipeline").make_pipeline(prepare, last)


def median_us(call: Callable[[Any], Any], arguments: Sequence[Any], repeat: int = 2000) -> float:
    """Median microseconds of call(argument), going round the arguments."""
    for argument in arguments[:100]:
        call(argument)
    times = []
    for i in range(repeat):
        argument = arguments[i % len(arguments)]
        start = time.perf_counter_ns()
        call(argument)
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows under heads; numbers with four digits."""
    cells = [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(heads), *cells]) for i in range(len(heads))]
    for line in [list(heads), ["-" * w for w in widths], *cells]:
        print(
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        )
