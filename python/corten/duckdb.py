"""Models as functions in DuckDB's SQL.

Examples
--------
>>> import duckdb
>>> import corten.duckdb
>>> from corten.linear_model import LogisticRegression
>>> import polars as pl
>>> rows = pl.DataFrame({"age": [20.0, 30.0, 60.0, 70.0]})
>>> model = LogisticRegression().fit(rows, ["no", "no", "yes", "yes"])
>>> connection = duckdb.connect()
>>> corten.duckdb.register(connection, "buys", model)
>>> _ = connection.execute("create table people as select 65 as age, 'Ada' as name")
>>> connection.sql("select name, buys(people) from people").fetchall()
[('Ada', 'yes')]
>>> connection.sql("select buys(age + 1) from people").fetchall()
[('yes',)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._scoring import Scorer, record_batch
from .exceptions import ParameterError

if TYPE_CHECKING:
    import duckdb

__all__ = ["register"]


def register(connection: duckdb.DuckDBPyConnection, name: str, model: Any, *, method: str = "predict") -> None:
    """Makes a scalar function of a model.

    The function takes the row of a table, `name(t)`, in which it finds the model's columns by their names, or the
    columns themselves in the order of the fit, `name(a, b, c)`. NULL is a missing value, which the model answers as it
    does everywhere.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where it is registered.
    name : str
        Name of the function.
    model : path-like, Model or fitted estimator
        The model; a path is read now.
    method : str, default="predict"
        What it answers. An answer of several columns is a STRUCT with the names that `corten score` writes:
        `name(t).probability_yes`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    UnsupportedError
        When the model has no such method.
    ImportError
        Without pyarrow, in whose arrays DuckDB hands over the values.
    """
    import duckdb
    import pyarrow as pa

    # DuckDB calls it on each of its threads with 2,048 rows: too few to share out among more.
    scorer = Scorer(model, method, threads=1)
    types = {"float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN", "text": "VARCHAR"}
    columns = {column: duckdb.sqltype(types[kind]) for column, kind in scorer.answers}
    single = len(columns) == 1

    def answer(*arguments: Any) -> Any:
        if len(arguments) == 1 and pa.types.is_struct(arguments[0].type):
            row = _array(arguments[0])
            present = [field.name for field in row.type]
            arrays = [row.field(c) for c in scorer.choose(present, f"the row given to {name}")]
        else:
            if len(arguments) != len(scorer.names):
                raise ParameterError(
                    f"{name} takes a row of a table or the {len(scorer.names)} columns that the model reads "
                    f"({', '.join(scorer.names[:20])}). Got {len(arguments)} arguments instead."
                )
            arrays = [_array(a) for a in arguments]
        out = record_batch(scorer(pa.record_batch(arrays, names=scorer.names)))
        return out.column(0) if single else out.to_struct_array()

    connection.create_function(
        name,
        answer,
        None,
        next(iter(columns.values())) if single else duckdb.struct_type(columns),
        type="arrow",  # type: ignore[arg-type]
        null_handling="special",  # type: ignore[arg-type]
    )


def _array(values: Any) -> Any:
    if not hasattr(values, "num_chunks"):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
