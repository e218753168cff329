#!/usr/bin/env python3
"""What scoring inside an engine adds to the same query with a trivial function, and to the model alone, on the same rows.

    python benches/engines.py [rows] [engine ...]

Each engine reads one Parquet file and sums its columns: bare, with a function that gives back its first column, on the road
that the model takes, and with a prediction. The model alone scores the same rows from Arrow's memory. MLflow's models are
called with a pandas frame, of which MLflow looks at each value where the model has a signature. Best of three, taken in turns; an engine that isn't installed is named and left out. One process
each, as their pools and virtual machines would be in each other's way.
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
#: The query bare, with a trivial function, and with the model.
Queries = tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]


def _polars(data: str, model: str, *, engine: Any) -> Queries:
    import corten.polars

    rows = pl.scan_parquet(data)

    def first(block: pl.Series) -> pl.Series:
        return block.struct.unnest().to_series()

    trivial = pl.struct(COLUMNS).map_batches(first, return_dtype=pl.Float64, is_elementwise=True).alias("prediction")
    sums = pl.all().sum()
    return (
        lambda: rows.select(sums).collect(engine=engine),
        lambda: rows.with_columns(trivial).select(sums).collect(engine=engine),
        lambda: rows.with_columns(corten.polars.predict(model)).select(sums).collect(engine=engine),
    )


def _duckdb(data: str, model: str) -> Queries:
    import duckdb

    import corten.duckdb

    connection = duckdb.connect()
    corten.duckdb.register(connection, "predict", model)

    def first(*columns: Any) -> Any:
        return columns[0]

    connection.create_function("first_of", first, None, duckdb.sqltype("DOUBLE"), type="arrow", null_handling="special")
    sums = ", ".join(f"sum({c})" for c in COLUMNS)
    columns = ", ".join(COLUMNS)
    return (
        lambda: connection.sql(f"select {sums} from '{data}'").fetchall(),
        lambda: connection.sql(f"select {sums}, sum(first_of({columns})) from '{data}'").fetchall(),
        lambda: connection.sql(f"select {sums}, sum(predict({columns})) from '{data}'").fetchall(),
    )


def _datafusion(data: str, model: str, *, native: bool) -> Queries:
    import datafusion
    import pyarrow as pa

    import corten.datafusion

    context = datafusion.SessionContext()
    context.register_parquet("t", data)
    context.register_udf(corten.datafusion.udf(model, native=native))

    def first(*columns: Any) -> Any:
        return columns[0]

    types = [pa.float64()] * len(COLUMNS)
    context.register_udf(datafusion.udf(first, types, pa.float64(), "immutable", "first_of"))
    sums = ", ".join(f"sum({c})" for c in COLUMNS)
    columns = ", ".join(COLUMNS)
    return (
        lambda: context.sql(f"select {sums} from t").collect(),
        lambda: context.sql(f"select {sums}, sum(first_of({columns})) from t").collect(),
        lambda: context.sql(f"select {sums}, sum(predict({columns})) from t").collect(),
    )


def _ray(data: str, model: str) -> Queries:
    import ray

    import corten.distributed

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False

    def first(block: Any) -> Any:
        return block.append_column("prediction", block.column("f0"))

    def mapped() -> Any:
        return ray.data.read_parquet(data).map_batches(first, batch_format="pyarrow", batch_size=None)

    answered = [*COLUMNS, "prediction"]
    return (
        lambda: ray.data.read_parquet(data).sum(COLUMNS),
        lambda: mapped().sum(answered),
        lambda: corten.distributed.score(model, ray.data.read_parquet(data)).sum(answered),
    )


def _dask(data: str, model: str) -> Queries:
    import dask.dataframe
    from dask.distributed import Client, LocalCluster

    import corten.distributed

    Client(LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None))
    rows = dask.dataframe.read_parquet(data, split_row_groups=True)

    def first(part: Any) -> Any:
        return part.assign(prediction=part["f0"])

    return (
        lambda: rows.sum().compute(),
        lambda: rows.map_partitions(first).sum().compute(),
        lambda: corten.distributed.score(model, rows).sum().compute(),
    )


def _spark(data: str, model: str) -> Queries:
    from pyspark.sql import SparkSession

    import corten.distributed

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master(f"local[{os.cpu_count()}]").config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    rows = session.read.parquet(data)

    def first(batches: Any) -> Any:
        import pyarrow as pa

        for batch in batches:
            names = [*batch.schema.names, "prediction"]
            yield pa.RecordBatch.from_arrays([*batch.columns, batch.column(0)], names=names)

    shape = corten.distributed.score(model, rows).schema
    return (
        lambda: rows.groupBy().sum().collect(),
        lambda: rows.mapInArrow(first, shape).groupBy().sum().collect(),
        lambda: corten.distributed.score(model, rows).groupBy().sum().collect(),
    )


def _mlflow(data: str, model: str, *, signature: Any) -> Queries:
    import mlflow

    import corten.mlflow

    class First(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input["f0"].to_numpy()

    frame = pl.read_parquet(data).to_pandas()
    with tempfile.TemporaryDirectory() as folder:
        corten.mlflow.save_model(model, f"{folder}/model", signature=signature)
        same = mlflow.models.get_model_info(f"{folder}/model").signature
        mlflow.pyfunc.save_model(f"{folder}/first", python_model=First(), signature=same)
        first, own = (mlflow.pyfunc.load_model(f"{folder}/{name}") for name in ("first", "model"))
    return lambda: frame.sum(), lambda: first.predict(frame), lambda: own.predict(frame)


ENGINES: dict[str, Callable[[str, str], Queries]] = {
    "polars": lambda data, model: _polars(data, model, engine="in-memory"),
    "polars-streaming": lambda data, model: _polars(data, model, engine="streaming"),
    "duckdb": _duckdb,
    "datafusion": lambda data, model: _datafusion(data, model, native=False),
    "datafusion-native": lambda data, model: _datafusion(data, model, native=True),
    "dask": _dask,
    "ray": _ray,
    "spark": _spark,
    "mlflow": lambda data, model: _mlflow(data, model, signature=None),
    "mlflow-no-signature": lambda data, model: _mlflow(data, model, signature=False),
}


def seconds(*calls: Callable[[], Any]) -> list[float]:
    """The best of three of each call, taken in turns, after one that starts what has to start."""
    best = [float("inf")] * len(calls)
    for turn in range(4):
        for at, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn > 0:
                best[at] = min(best[at], time.perf_counter() - start)
    return best


def one(engine: str, data: str, model: str) -> None:
    """Measures one engine, in this process."""
    queries = ENGINES[engine](data, model)
    rows, loaded = pl.read_parquet(data), corten.load(model)
    print("figures", *seconds(*queries, lambda: loaded.predict(rows)))


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
            bare, trivial, scored, alone = map(float, found[0])
            lines.append([engine, *(1e3 * t for t in (bare, trivial, scored, alone)), (scored - trivial) / alone])
    print(f"{rows:,} rows of {len(COLUMNS)} columns, 100 trees")
    heads = ["bare, ms", "trivial function, ms", "model, ms", "model alone, ms", "(model - trivial) / alone"]
    table(["engine", *heads], lines)


if __name__ == "__main__":
    main()
