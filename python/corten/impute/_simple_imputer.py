"""Missing values become one value a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _inputs
from .._base import Estimator, TransformerMixin
from .._inputs import Input


class SimpleImputer(TransformerMixin, Estimator):
    """Replaces missing values by the mean, the median, the most frequent value or a constant of their column.

    Columns of numbers and of text may stand side by side.

    Parameters
    ----------
    missing_values : int, float, str, np.nan or None, default=np.nan
        What counts as missing; with NaN and None, everything that a frame calls null.
    strategy : {"mean", "median", "most_frequent", "constant"}, default="mean"
        What a missing value becomes.
    fill_value : str or number, default=None
        The constant; 0 in columns of numbers and "missing_value" in columns of text if not given.
    copy : bool, default=True
        Without effect: results are always new.
    add_indicator : bool, default=False
        Append a column of 0 and 1 for each column that had missing values.
    keep_empty_features : bool, default=False
        Keep columns without any value.

    Attributes
    ----------
    statistics_ : ndarray of shape (n_features,)
        What a missing value of each column becomes.
    indicator_ : ndarray or None
        Positions of the columns that got an indicator.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.impute import SimpleImputer
    >>> SimpleImputer().fit_transform([[1.0], [np.nan], [3.0]])
    array([[1.],
           [2.],
           [3.]])
    """

    _core_name = "impute.SimpleImputer"
    _allow_nan = True
    statistics_: np.ndarray

    def __init__(
        self,
        *,
        missing_values: Any = np.nan,
        strategy: str = "mean",
        fill_value: Any = None,
        copy: bool = True,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
    ) -> None:
        self.missing_values = missing_values
        self.strategy = strategy
        self.fill_value = fill_value
        self.copy = copy
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features

    def _takes_sparse(self) -> bool:
        return True

    @property
    def _takes_text(self) -> bool:  # type: ignore[override]
        return self.strategy in ("most_frequent", "constant")

    def _set_attribute(self, name: str, value: Any) -> None:
        if name == "statistics_" and isinstance(value, list):
            out = np.empty(len(value), dtype=object)
            out[:] = value
            value = out
        setattr(self, name, value)

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        if inputs.sparse is None:
            return super()._hand_out(inputs, original)
        return self._filled(inputs.sparse)

    def _transform_inner(self, inputs: Input) -> Input:
        if inputs.sparse is None:
            return super()._transform_inner(inputs)
        return _inputs.read(self._filled(inputs.sparse), type(self).__name__, sparse=True)

    def _filled(self, matrix: Any) -> Any:
        """Sparse data filled where it is stored."""
        marker = self.missing_values
        values = np.asarray(matrix.data, dtype=np.float64)
        missing = np.isnan(values) if marker is None or marker != marker else values == marker
        data = np.where(missing, self.statistics_[matrix.indices], values)
        out = type(matrix)((data, matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)
        kept = ~np.isnan(self.statistics_)
        if not kept.all():
            out = out[:, np.flatnonzero(kept)]
        if self.add_indicator:
            from scipy import sparse

            flags = type(matrix)(
                (missing.astype(np.float64), matrix.indices.copy(), matrix.indptr.copy()), matrix.shape
            )
            flags.eliminate_zeros()
            out = sparse.hstack([out, flags[:, np.asarray(self.indicator_, dtype=np.intp)]], format="csr")  # type: ignore[attr-defined]
        return out
