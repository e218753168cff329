"""What the encoders share: columns of numbers and of text, and categories as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _inputs
from .._base import Estimator, TransformerMixin


class Encoder(TransformerMixin, Estimator):
    """A transformer of categories."""

    _allow_nan = True
    _takes_text = True
    _categorical = True
    categories_: list[np.ndarray]

    def _set_attribute(self, name: str, value: Any) -> None:
        if name in ("categories_", "infrequent_categories_"):
            value = [None if v is None else category_array(v) for v in value]
        elif name == "drop_idx_" and value is not None:
            value = np.array(value, dtype=object)
        setattr(self, name, value)

    def _cast(self, raw: Any) -> Any:
        """The result in the type that was asked for."""
        dtype = np.dtype(self.dtype)  # type: ignore[attr-defined]
        return raw if raw.dtype == dtype else raw.astype(dtype)

    def _encoded(self, X: Any, width: int) -> np.ndarray:
        """The data of `inverse_transform`, as a dense matrix."""
        self._fitted_model()
        inputs = _inputs.read(X, type(self).__name__, sparse=True)
        if inputs.width != width:
            raise ValueError(
                f"Shape of the passed X data is not correct. Expected {width} columns, got {inputs.width}."
            )
        if inputs.sparse is not None:
            out: np.ndarray = inputs.sparse.toarray()
            return out
        return np.column_stack([np.asarray(inputs.column(i), dtype=np.float64) for i in range(inputs.width)])


def category_array(values: Any) -> np.ndarray:
    """The categories of one column: numbers in their own type, text as objects."""
    if isinstance(values, np.ndarray):
        return values
    values = list(values)
    if values and all(isinstance(v, bool) for v in values):
        return np.array(values)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def stack(columns: list[np.ndarray]) -> np.ndarray:
    """Columns side by side, in a type that holds all of them."""
    if any(c.dtype == object for c in columns):
        out = np.empty((len(columns[0]), len(columns)), dtype=object)
        for i, column in enumerate(columns):
            out[:, i] = column
        return out
    return np.column_stack(columns)
