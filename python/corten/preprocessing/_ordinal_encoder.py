"""Categories as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _output
from .._inputs import Input
from ._encoder import Encoder, stack


class OrdinalEncoder(Encoder):
    """Encodes each category as its position among the categories of its column.

    Parameters
    ----------
    categories : "auto" or list of array-like, default="auto"
        The categories of each column, found in the data with "auto".
    dtype : type, default=np.float64
        The type of the result.
    handle_unknown : {"error", "use_encoded_value"}, default="error"
        What a category that the fit didn't see becomes: an error, or `unknown_value`.
    unknown_value : int or np.nan, default=None
        The code of unknown categories.
    encoded_missing_value : int or np.nan, default=np.nan
        The code of missing values.
    min_frequency : int or float, default=None
        Categories with fewer rows, or a smaller share of them, are grouped into one code.
    max_categories : int, default=None
        Most codes of one column, the group's included.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column, in ascending order.
    infrequent_categories_ : list of ndarray or None
        Rare categories of each column; present when they are grouped.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.preprocessing import OrdinalEncoder
    >>> encoder = OrdinalEncoder().fit([["low"], ["high"], ["mid"]])
    >>> encoder.transform([["mid"], ["high"]])
    array([[2.],
           [0.]])
    """

    _core_name = "preprocessing.OrdinalEncoder"

    def __init__(
        self,
        *,
        categories: Any = "auto",
        dtype: Any = np.float64,
        handle_unknown: str = "error",
        unknown_value: Any = None,
        encoded_missing_value: Any = np.nan,
        min_frequency: int | float | None = None,
        max_categories: int | None = None,
    ) -> None:
        self.categories = categories
        self.dtype = dtype
        self.handle_unknown = handle_unknown
        self.unknown_value = unknown_value
        self.encoded_missing_value = encoded_missing_value
        self.min_frequency = min_frequency
        self.max_categories = max_categories

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        return _output.wrap(self._cast(self._raw(inputs)), self._container(), self.get_feature_names_out(), original)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The categories back from their codes; None where a code stands for unknown ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        values = self._encoded(X, self.n_features_in_)
        rare = getattr(self, "infrequent_categories_", None) or [None] * self.n_features_in_
        columns = []
        for i, (categories, group) in enumerate(zip(self.categories_, rare, strict=True)):
            grouped = set() if group is None else set(group.tolist())
            table = [c for c in categories.tolist() if c not in grouped and c is not None and c == c]
            if grouped:
                table.append("infrequent_sklearn")
            codes = values[:, i]
            known = np.isfinite(codes) & (codes >= 0) & (codes < len(table))
            marker = self.encoded_missing_value
            missing = np.isnan(codes) if marker != marker else codes == marker
            column = np.empty(len(codes), dtype=object)
            column[known] = np.array(table, dtype=object)[codes[known].astype(np.intp)]
            column[missing] = None if categories.dtype == object else np.nan
            clean = known.all() and not grouped
            columns.append(column.astype(categories.dtype) if clean else column)
        return stack(columns)
