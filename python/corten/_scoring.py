"""A model on the blocks of an engine: what the data frames, SQL engines and clusters share.

Every engine hands out blocks in Arrow's memory and takes such blocks back. The columns of an answer are those that
`corten score` writes, so a result has the same names, types and bits wherever it was made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from . import _core, _inputs
from ._model import Model, load
from .exceptions import MissingColumnError, ParameterError


class Scorer:
    """A model, the methods that it is asked for, and the columns that go in.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model; a path is read at once.
    method : str or sequence of str
        What is answered: "predict", "predict_proba", "decision_function", "transform" ...
    columns : sequence of str, optional
        The columns of a block that go in, in the order of the fit; the model's own names where it knows names.
    threads : int, optional
        Threads of a call; all cores by default.

    Attributes
    ----------
    answers : list of (str, str)
        Name and type ("float", "int", "bool" or "text") of each column that comes out.
    inputs : list of dict
        The columns that the model reads: `name`, `kind` and `dtype`.
    names : list of str
        Their names, which the columns of a block must have.

    Raises
    ------
    UnsupportedError
        For a method that the model doesn't have.
    ParameterError
        For no method, or another number of columns than the model reads.
    """

    def __init__(
        self,
        model: Any,
        method: str | Sequence[str],
        columns: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.core = core_of(model)
        self.methods = [method] if isinstance(method, str) else list(method)
        if not self.methods:
            raise ParameterError("The 'method' parameter must name at least one method of the model. Got [] instead.")
        self.answers: list[tuple[str, str]] = self.core.columns(self.methods)
        schema = self.core.schema()
        self.inputs: list[dict[str, str]] = schema["inputs"]
        self.names = [i["name"] for i in self.inputs]
        self.columns = list(columns) if columns is not None else self.names if schema["named"] else None
        if self.columns is not None and len(self.columns) != len(self.inputs):
            raise ParameterError(
                f"The 'columns' parameter must name the {len(self.inputs)} columns that the model reads. "
                f"Got {len(self.columns)} instead."
            )
        self.threads = threads

    def choose(self, present: Sequence[str], where: str) -> list[str]:
        """Those of some columns that go in, in the order of the model.

        Raises
        ------
        MissingColumnError
            Naming what is missing.
        ParameterError
            When the model knows no names, and there is another number of columns than it reads.
        """
        if self.columns is None:
            if len(present) != len(self.inputs):
                raise ParameterError(
                    f"The model was fitted without names of columns and reads {len(self.inputs)}, but {where} has "
                    f"{len(present)}; name those to use with the 'columns' parameter."
                )
            return list(present)
        known = set(present)
        for name in self.columns:
            if name not in known:
                shown = f"; it has: {_inputs.listed(present)}" if present else ", which has no columns"
                raise MissingColumnError(f"Column '{name}' is missing from {where}{shown}.")
        return self.columns

    def __call__(self, block: Any) -> Any:
        """Answers a block.

        Parameters
        ----------
        block : frame of shape (n_rows, n_features)
            Columns called `names`, in Arrow's memory or pandas'. It may have no rows.

        Returns
        -------
        corten._core.Frame of shape (n_rows, len(answers))
        """
        if type(block).__module__.partition(".")[0] == "pandas" and len(block):
            block = _inputs.read(block, "Model", text=True).data
        return self.core.answer(self.methods, block, self.threads)


def record_batch(frame: Any) -> Any:
    """The answers of a `Scorer` as a `pyarrow.RecordBatch`, uncopied."""
    import pyarrow as pa

    return pa.RecordBatchReader.from_stream(frame).read_next_batch()


def core_of(model: Any) -> Any:
    """The model in Rust of a path, a `Model` or a fitted estimator.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(model, (str, os.PathLike)):
        return load(model)._core
    if isinstance(model, _core.Model):
        return model
    if isinstance(model, Model) or hasattr(model, "_fitted_model"):
        return model._fitted_model()
    raise TypeError(
        "The 'model' parameter must be the path of a model file, a Model or a fitted estimator. "
        f"Got {type(model).__name__} instead."
    )
