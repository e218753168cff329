"""Scaling to a range."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._scaler import PartialMixin, Scaler


class MinMaxScaler(PartialMixin, Scaler):
    """Scales each column so that its smallest and largest value become the ends of a range.

    Parameters
    ----------
    feature_range : tuple of (min, max), default=(0, 1)
        The range.
    copy : bool, default=True
        Without effect: results are always new.
    clip : bool, default=False
        Clip values of unseen rows to the range.

    Attributes
    ----------
    min_ : ndarray of shape (n_features,)
        Added after the scaling.
    scale_ : ndarray of shape (n_features,)
        What each column is multiplied by.
    data_min_, data_max_, data_range_ : ndarray of shape (n_features,)
        Smallest value, largest value and their difference.
    n_samples_seen_ : int
        Rows seen.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.preprocessing import MinMaxScaler
    >>> MinMaxScaler().fit_transform([[0.0], [1.0], [4.0]])
    array([[0.  ],
           [0.25],
           [1.  ]])
    """

    _core_name = "preprocessing.MinMaxScaler"
    min_: np.ndarray
    scale_: np.ndarray

    def __init__(self, feature_range: tuple[float, float] = (0, 1), *, copy: bool = True, clip: bool = False) -> None:
        self.feature_range = feature_range
        self.copy = copy
        self.clip = clip

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Undoes the scaling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Scaled rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        out: np.ndarray = (self._back(X) - self.min_) / self.scale_
        return out
