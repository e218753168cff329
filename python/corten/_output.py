"""`set_output`: what a transformer hands out, a NumPy array or a frame with named columns."""

from __future__ import annotations

import sys
from typing import Any, Self

import numpy as np

from .exceptions import ParameterError

CONTAINERS = ("default", "pandas", "polars")


def check_container(container: Any) -> None:
    """Refuses names of containers that can't be made.

    Raises
    ------
    ValueError
        Listing those that can.
    """
    if container not in CONTAINERS:
        raise ParameterError(f"output config must be in {list(CONTAINERS)}, got {container}")


class SetOutput:
    """The configuration of a transformer's output."""

    _sklearn_output_config: dict[str, str]

    def set_output(self, *, transform: str | None = None) -> Self:
        """Chooses what `transform` and `fit_transform` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            NumPy arrays, or frames of that library with the names of `get_feature_names_out`. None changes nothing.

        Returns
        -------
        self
        """
        if transform is not None:
            check_container(transform)
            self._sklearn_output_config = {**getattr(self, "_sklearn_output_config", {}), "transform": transform}
        return self

    def _container(self) -> str:
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform")
        if chosen is None and (theirs := sys.modules.get("sklearn")) is not None:
            chosen = theirs.get_config()["transform_output"]
        return chosen or "default"


def columns_of(raw: Any) -> list[Any]:
    """The columns of what a model's transform gave: a matrix, or names with columns where there is text."""
    return list(raw[1]) if isinstance(raw, tuple) else [raw[:, i] for i in range(raw.shape[1])]


def as_array(raw: Any) -> np.ndarray:
    """The array that scikit-learn would give: numbers, or objects where a column is text."""
    if isinstance(raw, np.ndarray):
        return raw
    columns = raw[1]
    rows = len(columns[0]) if columns else 0
    out = np.empty((rows, len(columns)), dtype=object)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def wrap(raw: Any, container: str, names: Any, original: Any) -> Any:
    """The output in the container that was chosen.

    Raises
    ------
    ImportError
        When that library is not installed.
    """
    if container == "default":
        return as_array(raw)
    names = [str(n) for n in names]
    columns = columns_of(raw)
    if container == "polars":
        import polars as pl

        return pl.DataFrame([pl.Series(n, c) for n, c in zip(names, columns, strict=True)])
    import pandas as pd

    index = original.index if isinstance(original, (pd.DataFrame, pd.Series)) else None
    if isinstance(raw, np.ndarray):
        return pd.DataFrame(raw, index=index, columns=names, copy=False)
    frame = pd.DataFrame({i: pd.Series(c) for i, c in enumerate(columns)})
    frame.columns = names
    if index is not None:
        frame.index = index
    return frame
