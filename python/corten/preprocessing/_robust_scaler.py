"""Scaling by quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._scaler import Scaler


class RobustScaler(Scaler):
    """Scales each column by its median and the range between two quantiles, which outliers don't move.

    Parameters
    ----------
    with_centering : bool, default=True
        Subtract the median. Must be off for sparse data.
    with_scaling : bool, default=True
        Divide by the range between the quantiles.
    quantile_range : tuple of (q_min, q_max), default=(25.0, 75.0)
        The quantiles in per cent.
    copy : bool, default=True
        Without effect: results are always new.
    unit_variance : bool, default=False
        Scale so that normally distributed columns get variance 1.

    Attributes
    ----------
    center_ : ndarray of shape (n_features,) or None
        Medians.
    scale_ : ndarray of shape (n_features,) or None
        Ranges.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.preprocessing import RobustScaler
    >>> RobustScaler().fit_transform([[1.0], [2.0], [3.0]])
    array([[-1.],
           [ 0.],
           [ 1.]])
    """

    _core_name = "preprocessing.RobustScaler"
    center_: np.ndarray | None
    scale_: np.ndarray | None

    def __init__(
        self,
        *,
        with_centering: bool = True,
        with_scaling: bool = True,
        quantile_range: tuple[float, float] = (25.0, 75.0),
        copy: bool = True,
        unit_variance: bool = False,
    ) -> None:
        self.with_centering = with_centering
        self.with_scaling = with_scaling
        self.quantile_range = quantile_range
        self.copy = copy
        self.unit_variance = unit_variance

    def _takes_sparse(self) -> bool:
        return not self.with_centering

    def _sparse_scale(self) -> np.ndarray | None:
        return self.scale_

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
        return values if self.center_ is None else values + self.center_
