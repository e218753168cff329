"""Scaling to mean 0 and variance 1."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _inputs
from ._scaler import PartialMixin, Scaler


class StandardScaler(PartialMixin, Scaler):
    """Scales each column to mean 0 and variance 1: `(x - mean) / std`.

    Missing values are passed over while fitting and stay missing.

    Parameters
    ----------
    copy : bool, default=True
        Without effect: results are always new.
    with_mean : bool, default=True
        Subtract the mean. Must be off for sparse data.
    with_std : bool, default=True
        Divide by the standard deviation.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,) or None
        Mean of each column.
    var_ : ndarray of shape (n_features,) or None
        Variance of each column.
    scale_ : ndarray of shape (n_features,) or None
        What each column is divided by.
    n_samples_seen_ : int or ndarray of shape (n_features,)
        Rows (or their weight) that were there.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983).

    Examples
    --------
    >>> from corten.preprocessing import StandardScaler
    >>> StandardScaler().fit_transform([[0.0], [2.0]])
    array([[-1.],
           [ 1.]])
    """

    _core_name = "preprocessing.StandardScaler"
    _routed = {"fit": ("sample_weight",), "partial_fit": ("sample_weight",)}
    mean_: np.ndarray | None
    var_: np.ndarray | None
    scale_: np.ndarray | None

    def __init__(self, *, copy: bool = True, with_mean: bool = True, with_std: bool = True) -> None:
        self.copy = copy
        self.with_mean = with_mean
        self.with_std = with_std

    def _takes_sparse(self) -> bool:
        return not self.with_mean

    def _sparse_scale(self) -> np.ndarray | None:
        return self.scale_

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Finds mean and standard deviation of each column.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        self
        """
        inputs = self._read(X, reset=True)
        return self._fit_core(inputs, sample_weight=_inputs.sample_weight(sample_weight, inputs.rows))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Takes in more rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        self
        """
        return self._partial(X, sample_weight)

    def inverse_transform(self, X: Any) -> Any:
        """Undoes the scaling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Scaled rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        values = self._back(X)
        if hasattr(values, "tocsr"):
            return values if self.scale_ is None else values.multiply(self.scale_).tocsr()
        if self.scale_ is not None:
            values = values * self.scale_
        return values if self.mean_ is None or not self.with_mean else values + self.mean_
