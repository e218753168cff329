#!/usr/bin/env python3
"""What scoring inside an engine adds to the bare engine, and to the model alone, on the same rows.

    python benches/engines.py [rows] [engine ...]

Each engine reads one Parquet file and sums its columns: bare, and with a prediction among them. The model alone scores the
same rows from Arrow's memory. Best of three; an engine that isn't installed is named and left out. One process each, as
their pools and virtual machines would be in each other's way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _common import table

import corten
from corten.ensemble import HistGradientBoostingRegressor

COLUMNS = [f"f{i}" for i in range(8)]
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def _polars(data: str, model: str, *, engine: Any) -> Pair:
    import corten.polars

    rows = pl.scan_parquet(data)
    return (
        lambda: rows.select(pl.all().sum()).collect(engine=engine),
        lambda: rows.with_columns(corten.polars.predict(model)).select(pl.all().sum()).collect(engine=engine),
    )


def _duckdb(data: str, model: str) -> Pair:
    import duckdb

    import corten.duckdb

    connection = duckdb.connect()
    corten.duckdb.register(connection, "predict", model)
    sums = ", ".join(f"sum({c})" for c in COLUMNS)
    columns = ", ".join(COLUMNS)
    return (
        lambda: connection.sql(f"select {sums} from '{data}'").fetchall(),
        lambda: connection.sql(f"select {sums}, sum(predict({columns})) from '{data}'").fetchall(),
    )


def _datafusion(data: str, model: str) -> Pair:
    import datafusion

    import corten.datafusion

    context = datafusion.SessionContext()
    context.register_parquet("t", data)
    context.register_udf(corten.datafusion.udf(model))
    sums = ", ".join(f"sum({c})" for c in COLUMNS)
    columns = ", ".join(COLUMNS)
    return (
        lambda: context.sql(f"select {sums} from t").collect(),
        lambda: context.sql(f"select {sums}, sum(predict({columns})) from t").collect(),
    )


def _ray(data: str, model: str) -> Pair:
    import ray

    import corten.distributed

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False

    def same(block: Any) -> Any:
        return block

    def bare() -> Any:
        rows = ray.data.read_parquet(data)
        return rows.map_batches(same, batch_format="pyarrow", batch_size=None).sum(COLUMNS)

    return bare, lambda: corten.distributed.score(model, ray.data.read_parquet(data)).sum([*COLUMNS, "prediction"])


def _dask(data: str, model: str) -> Pair:
    import dask.dataframe
    from dask.distributed import Client, LocalCluster

    import corten.distributed

    Client(LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None))
    rows = dask.dataframe.read_parquet(data, split_row_groups=True)
    return lambda: rows.sum().compute(), lambda: corten.distributed.score(model, rows).sum().compute()


def _spark(data: str, model: str) -> Pair:
    from pyspark.sql import SparkSession

    import corten.distributed

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master(f"local[{os.cpu_count()}]").config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    rows = session.read.parquet(data)

    def same(batches: Any) -> Any:
        yield from batches

    return (
        lambda: rows.mapInArrow(same, rows.schema).groupBy().sum().collect(),
        lambda: corten.distributed.score(model, rows).groupBy().sum().collect(),
    )


ENGINES: dict[str, Callable[[str, str], Pair]] = {
    "polars": lambda data, model: _polars(data, model, engine="in-memory"),
    "polars-streaming": lambda data, model: _polars(data, model, engine="streaming"),
    "duckdb": _duckdb,
    "datafusion": _datafusion,
    "dask": _dask,
    "ray": _ray,
    "spark": _spark,
}


def seconds(call: Callable[[], Any]) -> float:
    """The best of three calls, after one that starts what has to start."""
    call()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def one(engine: str, data: str, model: str) -> None:
    """Measures one engine, in this process."""
    bare, scored = ENGINES[engine](data, model)
    rows, loaded = pl.read_parquet(data), corten.load(model)
    print("figures", seconds(bare), seconds(scored), seconds(lambda: loaded.predict(rows)))


def main() -> None:
    """Measures each engine in a process of its own, and prints."""
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:5])
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    chosen = sys.argv[2:] or list(ENGINES)
    random = np.random.default_rng(0)
    frame = pl.DataFrame(random.normal(size=(rows, len(COLUMNS))), schema=COLUMNS)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "rows.parquet", Path(folder) / "m.corten"
        frame.write_parquet(data, row_group_size=max(rows // 8, 1))
        some = frame.head(20_000)
        HistGradientBoostingRegressor(max_iter=100).fit(some, some["f0"] * some["f1"] + some["f2"]).save(model)
        for engine in chosen:
            command = [sys.executable, __file__, "--one", engine, str(data), str(model)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("figures")]
            if not found:
                print(f"{engine}: {(done.stderr.strip().splitlines() or ['nothing came back'])[-1]}")
                continue
            bare, scored, alone = map(float, found[0])
            lines.append([engine, bare * 1e3, scored * 1e3, alone * 1e3, (scored - bare) / alone])
    print(f"{rows:,} rows of {len(COLUMNS)} columns, 100 trees")
    table(["engine", "bare, ms", "with the model, ms", "model alone, ms", "added / model alone"], lines)


if __name__ == "__main__":
    main()
