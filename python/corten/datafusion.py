"""Models as scalar functions of DataFusion, in SQL and in its data frames.

With the package `corten-datafusion` beside this one, DataFusion calls the model in Rust through its foreign interface; else
a Python function over Arrow's arrays, which are read and handed back where they lie. The answers are the same
(docs/engines.md).

Examples
--------
>>> import datafusion, pyarrow
>>> import corten.datafusion
>>> from corten.linear_model import LogisticRegression
>>> people = pyarrow.table({"age": [20.0, 30.0, 60.0, 70.0]})
>>> model = LogisticRegression().fit(people, ["no", "no", "yes", "yes"])
>>> context = datafusion.SessionContext()
>>> _ = context.from_arrow(people, name="people")
>>> context.register_udf(corten.datafusion.udf(model, "buys"))
>>> context.sql("select age, buys(age) as buys from people where buys(age) = 'yes' order by age").to_pylist()
[{'age': 60.0, 'buys': 'yes'}, {'age': 70.0, 'buys': 'yes'}]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._scoring import Scorer, record_batch

if TYPE_CHECKING:
    import datafusion

__all__ = ["udf"]


def udf(
    model: Any, name: str | None = None, *, method: str = "predict", native: bool | None = None
) -> datafusion.ScalarUDF:
    """A scalar function that answers with a model.

    Its arguments are the model's columns in the order of the fit (`corten.load(path).schema` lists them): numbers of
    any type, booleans where a column of the fit was one, and text. NULL is a missing value, which the model answers as
    it does everywhere.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model; a path is read now.
    name : str, optional
        Name of the function in SQL; `method` by default.
    method : str, default="predict"
        What it answers. An answer of several columns is a struct with the names that `corten score` writes:
        `name(...)['probability_yes']`.
    native : bool, optional
        Whether DataFusion calls the model without Python between the two. By default where `corten-datafusion` is
        installed and was built for the major version of the DataFusion that is installed.

    Returns
    -------
    datafusion.ScalarUDF
        For `SessionContext.register_udf`, or to be called with expressions.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    UnsupportedError
        When the model has no such method.
    ImportError
        When `native=True` can't be had; it says why not.
    """
    import datafusion
    import pyarrow as pa

    scorer, name = Scorer(model, method), name or method
    if native is not False:
        problem = _missing()
        if problem is None:
            import corten_datafusion

            return datafusion.udf(corten_datafusion.Function(scorer.core.to_bytes(), method, name))
        if native:
            raise ImportError(problem)
    types = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "text": pa.string()}
    fields = [pa.field(column, types[kind]) for column, kind in scorer.answers]
    inputs = [
        types["text" if i["kind"] == "text" else "bool" if i["dtype"] == "bool" else "float"] for i in scorer.inputs
    ]

    def answer(*arguments: Any) -> Any:
        out = record_batch(scorer(pa.record_batch(list(arguments), names=scorer.names)))
        return out.column(0) if len(fields) == 1 else out.to_struct_array()

    answer.__name__ = name
    returned = fields[0].type if len(fields) == 1 else pa.struct(fields)
    return datafusion.udf(answer, inputs, returned, "immutable", name)


def _missing() -> str | None:
    """Why DataFusion can't call models without Python; `None` where it can."""
    try:
        import corten_datafusion
    except ImportError as error:
        return f"The package corten-datafusion isn't installed, or can't be loaded ({error})."
    if corten_datafusion.__version__ != _core.__version__:
        return f"corten-datafusion {corten_datafusion.__version__} doesn't go with Corten {_core.__version__}."
    try:
        return corten_datafusion.mismatch()
    except ImportError as error:
        return f"The version of DataFusion isn't known ({error})."
