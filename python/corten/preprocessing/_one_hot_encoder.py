"""A column of 0 and 1 for each category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _output
from .._base import rename
from .._blocks import sparse_blocks
from .._inputs import Input
from ._encoder import Encoder, stack


class OneHotEncoder(Encoder):
    """Encodes each category of a column as a column of 0 and 1.

    Columns of text and of numbers may stand side by side; a missing value is a category of its own.

    Parameters
    ----------
    categories : "auto" or list of array-like, default="auto"
        The categories of each column, found in the data with "auto".
    drop : {"first", "if_binary"}, array-like of shape (n_features,) or None, default=None
        The category of each column that gets no column.
    sparse_output : bool, default=True
        Whether `transform` gives a SciPy CSR matrix (where SciPy is installed) or a NumPy array.
    dtype : type, default=np.float64
        The type of the result.
    handle_unknown : {"error", "ignore", "infrequent_if_exist", "warn"}, default="error"
        What a category that the fit didn't see becomes: an error, zeros, or the column of rare categories.
    min_frequency : int or float, default=None
        Categories with fewer rows, or a smaller share of them, are grouped into one column.
    max_categories : int, default=None
        Most columns that one input becomes, the group's included.
    feature_name_combiner : "concat" or callable, default="concat"
        How names of columns are made of the input's name and the category.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column, in ascending order.
    drop_idx_ : ndarray of shape (n_features,) or None
        Position of each dropped category.
    infrequent_categories_ : list of ndarray or None
        Rare categories of each column; present when they are grouped.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.preprocessing import OneHotEncoder
    >>> encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit([["Oslo"], ["Rome"]])
    >>> encoder.transform([["Rome"], ["Bonn"]])
    array([[0., 1.],
           [0., 0.]])
    >>> encoder.get_feature_names_out(["city"]).tolist()
    ['city_Oslo', 'city_Rome']
    """

    _core_name = "preprocessing.OneHotEncoder"
    drop_idx_: np.ndarray | None

    def __init__(
        self,
        *,
        categories: Any = "auto",
        drop: Any = None,
        sparse_output: bool = True,
        dtype: Any = np.float64,
        handle_unknown: str = "error",
        min_frequency: int | float | None = None,
        max_categories: int | None = None,
        feature_name_combiner: str | Callable[[str, Any], str] = "concat",
    ) -> None:
        self.categories = categories
        self.drop = drop
        self.sparse_output = sparse_output
        self.dtype = dtype
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.feature_name_combiner = feature_name_combiner

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        container = self._container()
        if not self.sparse_output:
            names = self.get_feature_names_out()
            return _output.wrap(self._cast(self._raw(inputs)), container, names, original)
        if container != "default":
            raise ValueError(
                f"{container.capitalize()} output does not support sparse data. Set sparse_output=False to output "
                f'{container} dataframes or disable {container} output via `ohe.set_output(transform="default")`.'
            )
        width = len(self._model.output("transform")["names"])
        try:
            return sparse_blocks(lambda rows: self._cast(self._raw(rows)), inputs, width)
        except ImportError:
            return self._cast(self._raw(inputs))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that come out.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns that go in; those of the fit if not given, else `x0`, `x1`, ...

        Returns
        -------
        ndarray of str objects
        """
        if not callable(self.feature_name_combiner):
            return super().get_feature_names_out(input_features)
        self._fitted_model()
        fitted = getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(self.n_features_in_)] if fitted is None else fitted.tolist()
        if input_features is not None:
            names = rename(self, names, input_features)
        out = []
        for name, slots in zip(names, self._slots(), strict=True):
            for value in slots:
                combined = self.feature_name_combiner(name, value)
                if not isinstance(combined, str):
                    raise TypeError(
                        "When `feature_name_combiner` is a callable, it should return a Python string. Got "
                        f"{type(combined)} instead."
                    )
                out.append(combined)
        return np.array(out, dtype=object)

    def _slots(self) -> list[list[Any]]:
        """What each output column of each input stands for; None for the rare group's place."""
        rare = getattr(self, "infrequent_categories_", None) or [None] * len(self.categories_)
        out = []
        for i, (categories, group) in enumerate(zip(self.categories_, rare, strict=True)):
            dropped = None if self.drop_idx_ is None else self.drop_idx_[i]
            grouped = set() if group is None else set(group.tolist())
            slots = [c for k, c in enumerate(categories.tolist()) if k != dropped and c not in grouped]
            if grouped and not (dropped is not None and categories.tolist()[dropped] in grouped):
                slots.append("infrequent_sklearn")
            out.append(slots)
        return out

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The categories back from their columns; None where all are zero and none was dropped.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_encoded)
            Encoded rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        self._fitted_model()
        slots = self._slots()
        values = self._encoded(X, sum(len(s) for s in slots))
        columns, start = [], 0
        for i, names in enumerate(slots):
            block = values[:, start : start + len(names)]
            start += len(names)
            empty = ~block.any(axis=1) if len(names) else np.ones(len(values), dtype=bool)
            dtype = self.categories_[i].dtype
            table = np.empty(len(names), dtype=object)
            table[:] = names
            column = table[block.argmax(axis=1)] if len(names) else np.empty(len(values), dtype=object)
            if empty.any():
                dropped = None if self.drop_idx_ is None else self.drop_idx_[i]
                if dropped is None and self.handle_unknown == "error":
                    raise ValueError(
                        f"Samples {np.flatnonzero(empty)[:10].tolist()} can not be inverted when drop=None and "
                        "handle_unknown='error' because they contain all zeros"
                    )
                column = column.copy()
                column[empty] = None if dropped is None else self.categories_[i][dropped]
                if dropped is None:
                    dtype = np.dtype(object)
            columns.append(column if "infrequent_sklearn" in names else column.astype(dtype))
        return stack(columns)
