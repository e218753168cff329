"""Single calls and batches of whole pipelines, from Python, beside ONNX Runtime and lleaves where they are installed.

    python benches/calls.py

A dict through a linear pipeline, and with 500 trees behind it; an array through 500 trees of 63 leaves with 8 MB written
before each call, so that the nearer caches hold nothing of the model; an Arrow table through the linear pipeline on one and
two threads. p50 and p99 are of the quietest of twenty rounds; ratios are to the peer in the same run.
"""

from __future__ import annotations

import functools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _common import TEXT, flights, pipeline, table

import corten
from corten import _inputs
from corten.ensemble import HistGradientBoostingClassifier

Call = Callable[[Any], Any]


def quantiles(call: Call, rows: Sequence[Any], rounds: int = 20, before: Call | None = None) -> tuple[float, float]:
    """p50 and p99 in microseconds of the quietest round over all rows."""
    best = (float("inf"), float("inf"))
    for _ in range(rounds):
        times = []
        for row in rows:
            if before is not None:
                before(row)
            start = time.perf_counter_ns()
            call(row)
            times.append(time.perf_counter_ns() - start)
        best = min(best, (float(np.median(times)) / 1000, float(np.percentile(times, 99)) / 1000))
    return best


def saved(fitted: Any) -> Any:
    """The model as it comes back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "m.corten")
        return corten.load(Path(folder) / "m.corten")


def onnx_pipeline(x: pl.DataFrame, y: np.ndarray) -> Any:
    """A session of ONNX Runtime with scikit-learn's pipeline; None where it isn't installed."""
    try:
        import onnxruntime
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    except ImportError as error:
        print(f"without ONNX Runtime: {error}")
        return None
    fitted = pipeline("sklearn", "linear").fit(x.to_pandas(), y)
    kinds = [(n, (StringTensorType if n in TEXT else FloatTensorType)([None, 1])) for n in x.columns]
    model = to_onnx(fitted, initial_types=kinds, options={"zipmap": False}).SerializeToString()

    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    return session


def feeds(x: pl.DataFrame) -> dict[str, np.ndarray]:
    """The columns as ONNX Runtime takes them."""
    of = lambda n: x[n].to_numpy().astype(object if n in TEXT else np.float32)[:, None]  # noqa: E731
    return {n: of(n) for n in x.columns}


def dicts(x: pl.DataFrame, y: np.ndarray, xt: pl.DataFrame, onnx: Any) -> list[list[Any]]:
    """One row as a dict."""
    records, out = xt.head(500).to_dicts(), []
    for name, settings in (("linear", {}), ("trees", {"max_iter": 500, "max_leaf_nodes": 63})):
        model = saved(pipeline("corten", name, **settings).fit(x, y))
        p50, p99 = quantiles(model.predict_proba_one, records)
        them: Any = "-"
        if name == "linear" and onnx is not None:
            session, rows = onnx(1), [feeds(xt[i]) for i in range(200)]
            them = quantiles(functools.partial(session.run, None), rows, 5)[0]
        ratio = "-" if them == "-" else them / p50
        out.append([f"a dict, {name}{' of 500 trees' if settings else ''}, us", p50, p99 / p50, them, ratio])
    return out


def swept() -> list[list[Any]]:
    """One row of an array with the caches swept before each call."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20))
    y = x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=len(x)) > 0
    other = np.zeros(8 << 20, np.uint8)

    def sweep(_: Any) -> None:
        np.add(other, 1, out=other)

    rows = [np.ascontiguousarray(x[i : i + 1]) for i in range(300)]
    fitted = HistGradientBoostingClassifier(max_iter=500, max_leaf_nodes=63, early_stopping=False).fit(x, y)
    model = saved(fitted)
    warm, cold = quantiles(model.predict, rows), quantiles(model.predict, rows, 5, sweep)
    theirs: tuple[Any, Any] = ("-", "-")
    try:
        import lleaves

        with tempfile.TemporaryDirectory() as folder:
            fitted.to_lightgbm(Path(folder) / "m.txt")
            compiled = lleaves.Model(str(Path(folder) / "m.txt"))
            compiled.compile()
            call = lambda row: compiled.predict(row, n_jobs=1)  # noqa: E731
            theirs = quantiles(call, rows)[0], quantiles(call, rows, 5, sweep)[0]
    except ImportError as error:
        print(f"without lleaves: {error}")
    names = ("500 trees, caches warm, us", "500 trees, caches swept, us")
    return [
        [name, p50, p99 / p50, them, "-" if them == "-" else them / p50]
        for name, (p50, p99), them in zip(names, (warm, cold), theirs, strict=True)
    ]


def batches(x: pl.DataFrame, y: np.ndarray, xt: pl.DataFrame, onnx: Any) -> list[list[Any]]:
    """Rows a second of an Arrow table through the linear pipeline."""
    model = saved(pipeline("corten", "linear").fit(x, y))
    rows = pl.concat([xt] * (200_000 // xt.height + 1)).head(200_000).to_arrow()
    given = feeds(pl.from_arrow(rows)) if onnx is not None else {}  # type: ignore[arg-type]
    out = []
    for threads in (1, 2):

        def ours(threads: int = threads) -> Any:
            return model._core.run("predict_proba", _inputs.read(rows, "Model", text=True).data, threads)

        calls: dict[str, Callable[[], Any]] = {"corten": ours}
        if onnx is not None:
            session = onnx(threads)
            calls["onnx"] = functools.partial(session.run, None, given)
        best = {name: float("inf") for name in calls}
        for _ in range(7):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
        speed = {name: rows.num_rows / seconds / 1e6 for name, seconds in best.items()}
        them: Any = speed.get("onnx", "-")
        ratio = "-" if them == "-" else speed["corten"] / them
        out.append(
            [f"Arrow, linear, {threads} thread{'s' * (threads > 1)}, M rows/s", speed["corten"], "-", them, ratio]
        )
    return out


def main() -> None:
    """Prints all figures."""
    x, y, xt, _ = flights(20_000)
    # ONNX has no missing text, and the bundled rows have none either.
    onnx = onnx_pipeline(x, y)
    rows = dicts(x, y, xt, onnx) + swept() + batches(x, y, xt, onnx)
    table(["", "Corten", "p99/p50", "peer", "ratio"], rows)


if __name__ == "__main__":
    main()
