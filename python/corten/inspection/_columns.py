"""Rows of which one column is changed after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _inputs
from .._inputs import Input
from ..exceptions import ParameterError


class Columns:
    """Rows for an estimator whose columns can be replaced.

    Parameters
    ----------
    estimator : estimator
        Whom the rows are for; other packages' estimators are given arrays and pandas frames.
    X : array-like or frame of shape (n_samples, n_features)
        The rows.
    """

    def __init__(self, estimator: Any, X: Any) -> None:
        self._ours = type(estimator).__module__.partition(".")[0] == "corten"
        self._inputs = _inputs.read(X, type(estimator).__name__, text=True)
        self.rows, self.width, self.names = self._inputs.rows, self._inputs.width, self._inputs.names
        data = self._inputs.data
        if not self._ours and type(X).__module__.partition(".")[0] == "pandas":
            self._data = X
        elif isinstance(data, np.ndarray):
            self._data = np.asfortranarray(data)
        elif self._ours:
            flags = None
            if self._inputs.categorical:
                flags = [i in self._inputs.categorical for i in range(self.width)]
            columns = [self._inputs.column(i) for i in range(self.width)]
            self._data = ("columns", self.names, columns, flags)
        else:
            self._data = np.asarray(X)

    def column(self, at: int) -> Any:
        """The values of a column: an array of numbers, or a list of str and None."""
        return self._inputs.column(at)

    def take(self, rows: np.ndarray) -> Columns:
        """Some of the rows."""
        out = object.__new__(Columns)
        out._ours, out.width, out.names = self._ours, self.width, self.names
        out._inputs, out.rows = self._inputs.take(rows), len(rows)
        if isinstance(self._data, np.ndarray):
            out._data = np.asfortranarray(self._data[rows])
        elif isinstance(self._data, tuple):
            _, names, columns, flags = self._data
            out._data = ("columns", names, [_pick(c, rows) for c in columns], flags)
        else:
            out._data = self._data.iloc[rows]
        return out

    def shuffled(self, at: int, order: np.ndarray) -> Any:
        """The rows with one column's values in another order."""
        if isinstance(self._data, (np.ndarray, tuple)):
            return self.replaced({at: _pick(self.column(at), order)})
        out = self._data.copy()
        values = out.iloc[order, at]
        values.index = out.index
        out[out.columns[at]] = values
        return out

    def replaced(self, values: dict[int, Any]) -> Any:
        """The rows with some columns replaced: by a value for all rows, or one a row."""
        if isinstance(self._data, tuple):
            _, names, columns, flags = self._data
            columns = list(columns)
            for at, value in values.items():
                columns[at] = self._spread(at, value)
            data = ("columns", names, columns, flags)
            return Input(data, self.rows, self.width, names, self._inputs.texts, self._inputs.categorical)
        out = self._data.copy()
        for at, value in values.items():
            if isinstance(out, np.ndarray):
                out[:, at] = value
            else:
                out[out.columns[at]] = value
        return out

    def _spread(self, at: int, value: Any) -> Any:
        if at in self._inputs.texts:
            return value if isinstance(value, list) else [value] * self.rows
        return value if isinstance(value, np.ndarray) else np.full(self.rows, float(value))

    def original(self) -> Any:
        """The rows as they are."""
        return self.replaced({})

    def position(self, feature: Any, parameter: str) -> int:
        """The column of a name or position.

        Raises
        ------
        ParameterError
            Where there is none.
        """
        if isinstance(feature, str):
            if self.names is not None and feature in self.names:
                return self.names.index(feature)
            there = "columns without names" if self.names is None else f"the columns {', '.join(self.names)}"
            raise ParameterError(f"The '{parameter}' parameter must name columns of X. Got '{feature}'; X has {there}.")
        if not -self.width <= int(feature) < self.width:
            raise ParameterError(
                f"The '{parameter}' parameter must hold columns from 0 to {self.width - 1}. Got {feature} instead."
            )
        return int(feature) % self.width


def _pick(column: Any, rows: np.ndarray) -> Any:
    return [column[i] for i in rows.tolist()] if isinstance(column, list) else column[rows]
