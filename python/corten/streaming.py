"""Estimators whose models go on learning: they have state, which `update` advances row by row."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from . import _inputs
from ._base import Estimator, TransformerMixin
from ._inputs import Input

__all__ = ["RunningMoments"]


class RunningMoments(TransformerMixin, Estimator):
    """Count, mean and variance of values per key, as rows go by.

    `fit` takes rows in one after the other; `update` goes on with more, here or on a loaded model, and gives the state
    of each row's key after it. `transform` looks the state up and changes nothing.

    Parameters
    ----------
    key : str or int
        The column whose values have a state each: text or numbers.
    values : list of str or int
        The columns of numbers that are summed up.

    Attributes
    ----------
    n_keys_ : int
        Keys seen by `fit`.
    n_samples_seen_ : int
        Rows seen by `fit`.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962).

    Examples
    --------
    >>> import polars as pl
    >>> from corten.streaming import RunningMoments
    >>> rows = pl.DataFrame({"sensor": ["a", "b", "a"], "heat": [1.0, 5.0, 3.0]})
    >>> moments = RunningMoments(key="sensor", values=["heat"]).fit(rows)
    >>> moments.transform(rows.head(1)).tolist()
    [[2.0, 2.0, 1.0]]
    >>> moments.get_feature_names_out().tolist()
    ['count', 'heat_mean', 'heat_var']
    """

    _core_name = "streaming.RunningMoments"
    _allow_nan = True
    _takes_text = True
    n_keys_: int
    n_samples_seen_: int

    def __init__(self, *, key: str | int, values: Any) -> None:
        self.key = key
        self.values = values

    def _order(self, inputs: Input) -> list[int]:
        key = _inputs.positions(self.key, inputs, "key")
        return key + _inputs.positions(self.values, inputs, "values")

    def fit(self, X: Any, y: Any = None) -> Self:
        """Starts afresh and takes rows in, in their order.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        inputs = self._read(X, reset=True)
        order = self._order(inputs)
        self._fit_core(inputs.select(order))
        self._remember(inputs)
        self._positions = order
        return self

    def _read(self, X: Any, *, reset: bool) -> Input:
        inputs = super()._read(X, reset=reset)
        return inputs if reset else inputs.select(self._positions)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Takes rows in and looks up the state of their keys at the end.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        **fit_params : dict
            Not used.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out)
        """
        inputs = super()._read(X, reset=True)
        self.fit(inputs)
        return self._hand_out(inputs.select(self._positions), X)

    def update(self, X: Any) -> np.ndarray:
        """Takes in more rows, in their order.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            The state of each row's key after that row.
        """
        self._fitted_model()
        return np.asarray(self._model.update(self._read(X, reset=False).data))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that come out.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str objects
        """
        return np.array(self._fitted_model().output("transform")["names"], dtype=object)
