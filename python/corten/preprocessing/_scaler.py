"""What the scalers share: sparse results for sparse data, partial fits, the way back."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _inputs
from .._base import Estimator, TransformerMixin
from .._inputs import Input
from .._parts import as_input
from ..exceptions import UnsupportedError


class Scaler(TransformerMixin, Estimator):
    """A transformer `(x - center) / scale` of each column."""

    _allow_nan = True

    def _sparse_scale(self) -> np.ndarray | None:
        """What the stored values of sparse data are divided by."""
        return None

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        if inputs.sparse is None:
            return super()._hand_out(inputs, original)
        return self._scaled(inputs.sparse, original)

    def _transform_inner(self, inputs: Input) -> Input:
        if inputs.sparse is None:
            return as_input(self._raw(inputs), inputs.rows)
        return _inputs.read(self._scaled(inputs.sparse, inputs.sparse), type(self).__name__, sparse=True)

    def _scaled(self, matrix: Any, original: Any) -> Any:
        """Sparse data scaled where it is stored, in the operations of the dense road."""
        scale = self._sparse_scale()
        data = np.asarray(matrix.data, dtype=np.float64)
        data = data.copy() if scale is None else data / scale[matrix.indices]
        return type(matrix)((data, matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)

    def _back(self, X: Any) -> Any:
        """The data of `inverse_transform`, as a matrix of floats."""
        self._fitted_model()
        inputs = _inputs.read(X, type(self).__name__, sparse=self._takes_sparse())
        if inputs.width != self.n_features_in_:
            raise ValueError(
                f"X has {inputs.width} features, but {type(self).__name__} is expecting {self.n_features_in_} features as "
                "input."
            )
        if inputs.sparse is not None:
            return inputs.sparse.astype(np.float64)
        return np.column_stack([np.asarray(inputs.column(i), dtype=np.float64) for i in range(inputs.width)])


class PartialMixin:
    """`partial_fit`: the statistics of all rows seen so far."""

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Takes in more rows.

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
        return self._partial(X, None)  # type: ignore[attr-defined, no-any-return]

    def _partial(self, X: Any, sample_weight: Any) -> Self:
        first = not self.__sklearn_is_fitted__()  # type: ignore[attr-defined]
        if not first and getattr(self, "_handle", None) is None:
            raise UnsupportedError(
                f"This {type(self).__name__} came out of a file, which holds its model but not the sums behind it, so "
                "partial_fit can't go on; call fit or partial_fit on a new one."
            )
        inputs = self._read(X, reset=first)  # type: ignore[attr-defined]
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        return self._fit_core(inputs, sample_weight=weights, partial=True)  # type: ignore[attr-defined, no-any-return]
