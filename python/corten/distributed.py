"""Models on the data sets of a cluster: Ray Data, Dask and Spark.

The engine carries the blocks, schedules the work and runs again what a lost worker had not finished; scoring a block has
no other effect than its answer, so no row is lost or doubled. A worker reads a model once and keeps it for the blocks to
come. The answers are those of the same model on one machine, to the last bit.

Examples
--------
>>> import dask.dataframe, pandas
>>> import corten.distributed
>>> from corten.linear_model import Ridge
>>> rows = pandas.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "id": [7, 8, 9, 10]})
>>> model = Ridge(alpha=1e-9).fit(rows[["x"]], [1.0, 3.0, 5.0, 7.0])
>>> scored = corten.distributed.score(model, dask.dataframe.from_pandas(rows, npartitions=2))
>>> scored.compute(scheduler="sync").round(6)
     x  id  prediction
0  0.0   7         1.0
1  1.0   8         3.0
2  2.0   9         5.0
3  3.0  10         7.0
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import _core
from ._scoring import Scorer, core_of, record_batch
from .exceptions import FormatError, ParameterError

__all__ = ["score"]

#: Models that a worker keeps.
_KEPT = 4
_models: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()


def score(
    model: Any,
    data: Any,
    *,
    method: str | Sequence[str] = "predict",
    columns: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    threads: int = 1,
) -> Any:
    """Adds a model's answers to a distributed data set; lazily, as the engine does.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model. The file of a path is read by every worker, and must be the same there. A `Model` (`corten.load`) or
        an estimator is sent along, once for all blocks.
    data : ray.data.Dataset, dask.dataframe.DataFrame or pyspark.sql.DataFrame
        The rows. Columns are found by the names that the model knows; others are left alone.
    method : str or sequence of str, default="predict"
        What is answered: "predict", "predict_proba", "decision_function", "transform" ...
    columns : sequence of str, optional
        The columns that the model reads, in the order of its fit, where they have other names. A model that was fitted
        without names reads all columns by default.
    keep : sequence of str, optional
        The columns of the data in the result; all by default.
    threads : int, default=1
        Threads for a block. Engines run a block on each core already; the answers don't depend on it.

    Returns
    -------
    ray.data.Dataset, dask.dataframe.DataFrame or pyspark.sql.DataFrame
        The columns to keep, then those of the answers with the names that `corten score` gives them: `prediction`,
        `probability_<class>` ...

    Raises
    ------
    TypeError
        For data of no such engine.
    FileNotFoundError
        When there is no such model file.
    UnsupportedError
        When the model has no such method.
    MissingColumnError
        Naming a column that the data lacks.
    ParameterError
        When the answer has the name of a column to keep.
    """
    engine = type(data).__module__.partition(".")[0]
    carriers: dict[str, Callable[..., Any]] = {"ray": _ray, "dask": _dask, "pyspark": _spark}
    carrier = carriers.get(engine)
    if carrier is None or not hasattr(data, {"ray": "map_batches", "dask": "map_partitions"}.get(engine, "mapInArrow")):
        raise TypeError(
            "The 'data' parameter must be a ray.data.Dataset, a dask.dataframe.DataFrame or a pyspark.sql.DataFrame. "
            f"Got {type(data).__module__}.{type(data).__name__} instead; a table on this machine is scored by the "
            "model's own methods."
        )
    scorer = Scorer(model, method, columns, threads)
    present = list(data.columns) if engine != "ray" else list(data.schema().names)
    used = scorer.choose(present, "the data")
    kept = present if keep is None else list(keep)
    for name in kept:
        if name not in present:
            raise ParameterError(f"The 'keep' parameter names column '{name}', which the data doesn't have.")
    for name, _ in scorer.answers:
        if name in kept:
            raise ParameterError(
                f"The data has a column '{name}', as the answer would; leave it out with the 'keep' parameter or "
                "rename it."
            )
    return carrier(data, _Job(model, scorer, used, kept))


class _Job:
    """What a worker needs to score blocks: small, as the model itself travels by path or apart."""

    def __init__(self, model: Any, scorer: Scorer, used: list[str], kept: list[str]) -> None:
        self.methods, self.names, self.threads = scorer.methods, scorer.names, scorer.threads
        self.answers, self.used, self.kept = scorer.answers, used, kept
        self.path: str | None = None
        self.data: bytes | None = None
        if isinstance(model, (str, os.PathLike)):
            self.path = os.path.abspath(os.fspath(model))
            self.digest = _digest_of(self.path)
        else:
            self.data = core_of(model).to_bytes()
            self.digest = _digest(self.data)

    def __getstate__(self) -> dict[str, Any]:
        # The bytes go on the engine's own road for large objects.
        return {**self.__dict__, "data": None}

    def scorer(self, data: Callable[[], bytes] | None) -> Scorer:
        """The model in this process, read at the first call."""
        with _lock:
            core = _models.get(self.digest)
            if core is None:
                core = self._read(data)
                _models[self.digest] = core
                while len(_models) > _KEPT:
                    _models.popitem(last=False)
            _models.move_to_end(self.digest)
        return Scorer(core, self.methods, self.used, self.threads)

    def _read(self, data: Callable[[], bytes] | None) -> Any:
        if self.path is None:
            return _core.from_bytes(data()) if data is not None else None
        try:
            with open(self.path, "rb") as file:
                found = file.read()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path}: the worker has no such file; give a path that all workers share, or the model itself: "
                "corten.load(path)"
            ) from error
        # The model is made of the bytes that were looked at: the file may be replaced in between.
        if _digest(found) != self.digest:
            raise FormatError(f"{self.path}: the worker's file is another model than the one that was given")
        return _core.from_bytes(found)

    def arrow(self, scorer: Scorer, block: Any) -> Any:
        """A `pyarrow.Table` or `RecordBatch` with the columns to keep and the answers."""
        import pyarrow as pa

        cls = type(block)
        read = cls.from_arrays([block.column(c) for c in self.used], names=self.names)
        answers = record_batch(scorer(read)).columns
        kept = [block.column(c) for c in self.kept]
        return cls.from_arrays(kept + answers, schema=pa.schema([*map(block.schema.field, self.kept), *self.fields()]))

    def fields(self) -> list[Any]:
        """Arrow's fields of the answers."""
        import pyarrow as pa

        types = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "text": pa.string()}
        return [pa.field(name, types[kind]) for name, kind in self.answers]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _digest_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _ray_block(block: Any, job: _Job, data: Any) -> Any:
    import ray

    return job.arrow(job.scorer(lambda: ray.get(data[0])), block)


def _ray(dataset: Any, job: _Job) -> Any:
    import ray

    # In a list, the reference goes as it is: a worker that has the model doesn't fetch it.
    data = None if job.data is None else [ray.put(job.data)]
    return dataset.map_batches(
        _ray_block, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, fn_kwargs={"job": job, "data": data}
    )


def _dask_partition(part: Any, job: _Job, data: bytes | None) -> Any:
    import pandas as pd
    import pyarrow as pa

    scorer = job.scorer(None if data is None else lambda: data)
    read = part[job.used]
    read.columns = job.names
    answers = pa.Table.from_batches([record_batch(scorer(read))]).to_pandas()
    answers.index = part.index
    return pd.concat([part[job.kept], answers], axis=1)


def _dask(frame: Any, job: _Job) -> Any:
    import dask

    data = None if job.data is None else dask.delayed(job.data, name=f"corten-model-{job.digest}", traverse=False)
    meta = _dask_partition(frame._meta, job, job.data)
    return frame.map_partitions(_dask_partition, job, data, meta=meta)


def _spark(frame: Any, job: _Job) -> Any:
    from pyspark.sql import types

    own = {
        "float": types.DoubleType(),
        "int": types.LongType(),
        "bool": types.BooleanType(),
        "text": types.StringType(),
    }
    schema = types.StructType(
        [frame.schema[name] for name in job.kept] + [types.StructField(n, own[kind]) for n, kind in job.answers]
    )
    read = list(dict.fromkeys([*job.kept, *job.used]))
    data = None if job.data is None else _spark_broadcast(frame, job.data)

    def blocks(batches: Iterator[Any]) -> Iterator[Any]:
        scorer = job.scorer(None if data is None else data)
        for batch in batches:
            yield job.arrow(scorer, batch)

    # Backquotes: a dot in a name would be a field of a struct.
    chosen = frame.select(*("`" + name.replace("`", "``") + "`" for name in read))
    return chosen.mapInArrow(blocks, schema)


def _spark_broadcast(frame: Any, data: bytes) -> Callable[[], bytes]:
    session = frame.sparkSession
    if not hasattr(session, "sparkContext") or type(session).__module__.startswith("pyspark.sql.connect"):
        # Spark Connect has no broadcasts: the bytes go with the function.
        return lambda: data
    shared = session.sparkContext.broadcast(data)
    return lambda: shared.value
