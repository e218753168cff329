"""Scaling by the largest absolute value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._scaler import PartialMixin, Scaler


class MaxAbsScaler(PartialMixin, Scaler):
    """Divides each column by its largest absolute value; zeros stay zeros, so sparse data stay sparse.

    Parameters
    ----------
    copy : bool, default=True
        Without effect: results are always new.
    clip : bool, default=False
        Clip values of unseen rows to [-1, 1].

    Attributes
    ----------
    scale_ : ndarray of shape (n_features,)
        What each column is divided by.
    max_abs_ : ndarray of shape (n_features,)
        Largest absolute value.
    n_samples_seen_ : int
        Rows seen.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.preprocessing import MaxAbsScaler
    >>> MaxAbsScaler().fit_transform([[-4.0], [1.0]])
    array([[-1.  ],
           [ 0.25]])
    """

    _core_name = "preprocessing.MaxAbsScaler"
    scale_: np.ndarray
    max_abs_: np.ndarray

    def __init__(self, *, copy: bool = True, clip: bool = False) -> None:
        self.copy = copy
        self.clip = clip

    def _takes_sparse(self) -> bool:
        return True

    def _sparse_scale(self) -> np.ndarray | None:
        return self.scale_

    def _scaled(self, matrix: Any, original: Any) -> Any:
        out = super()._scaled(matrix, original)
        if self.clip:
            np.clip(out.data, -1.0, 1.0, out=out.data)
        return out

    def inverse_transform(self, X: Any) -> Any:
        """Undoes the scaling.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Scaled rows.

        Returns
        -------
        ndarray or sparse matrix of shape (n_samples, n_features)
        """
        values = self._back(X)
        return values.multiply(self.scale_).tocsr() if hasattr(values, "tocsr") else values * self.scale_
