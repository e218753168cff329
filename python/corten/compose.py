"""Transformers for chosen columns, side by side."""

from __future__ import annotations

import re
from typing import Any, Self

import numpy as np

from . import _core, _inputs, _output
from ._base import Estimator, TransformerMixin
from ._blocks import gives_sparse
from ._inputs import Input
from ._params import clone, signature
from ._parts import as_input, model_of
from .exceptions import MissingColumnError, ParameterError, UnsupportedError
from .pipeline import named

__all__ = ["ColumnTransformer", "make_column_selector", "make_column_transformer"]


def _is(part: Any, word: str) -> bool:
    return isinstance(part, str) and part == word


class ColumnTransformer(TransformerMixin, Estimator):
    """Applies transformers to chosen columns and puts their results side by side.

    Columns are chosen by name, position, slice, mask or a selector. A fitted one is one model, and needs only the
    columns that it uses.

    Parameters
    ----------
    transformers : list of (str, transformer, columns)
        Name, transformer (or "drop" or "passthrough") and columns of each part.
    remainder : {"drop", "passthrough"} or transformer, default="drop"
        What becomes of the columns that no part names.
    sparse_threshold : float, default=0.3
        Where a part gives sparse results and less than this share of all values is not zero, the result is sparse.
    n_jobs : int, default=None
        Threads; None and -1 stand for all.
    transformer_weights : None
        Not supported; scale the columns in a pipeline instead.
    verbose : bool, default=False
        Say on stderr which part is being fitted.
    verbose_feature_names_out : bool, default=True
        Put the part's name before the names of its columns.
    force_int_remainder_cols : bool, default="deprecated"
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    transformers_ : list of (str, transformer, columns)
        The fitted parts.
    named_transformers_ : dict
        The fitted parts by name.
    output_indices_ : dict
        Slice of the result that each part gives.
    n_features_in_ : int
        Number of columns that go in.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.compose import ColumnTransformer
    >>> from corten.preprocessing import MinMaxScaler, OneHotEncoder
    >>> parts = [("scaled", MinMaxScaler(), [0]), ("coded", OneHotEncoder(sparse_output=False), [1])]
    >>> ColumnTransformer(parts).fit_transform([[0.0, 7.0], [2.0, 8.0]])
    array([[0., 1., 0.],
           [1., 0., 1.]])
    """

    _allow_nan = True
    _takes_text = True
    _core_name = "compose.ColumnTransformer"
    transformers_: list[tuple[str, Any, Any]]
    output_indices_: dict[str, slice]

    def __init__(
        self,
        transformers: Any,
        *,
        remainder: Any = "drop",
        sparse_threshold: float = 0.3,
        n_jobs: int | None = None,
        transformer_weights: Any = None,
        verbose: bool = False,
        verbose_feature_names_out: bool = True,
        force_int_remainder_cols: Any = "deprecated",
    ) -> None:
        self.transformers = transformers
        self.remainder = remainder
        self.sparse_threshold = sparse_threshold
        self.n_jobs = n_jobs
        self.transformer_weights = transformer_weights
        self.verbose = verbose
        self.verbose_feature_names_out = verbose_feature_names_out
        self.force_int_remainder_cols = force_int_remainder_cols

    def _takes_sparse(self) -> bool:
        return True

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of this transformer and of its parts.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the parts and their parameters too, as `part__parameter`.

        Returns
        -------
        dict
        """
        out = {k: getattr(self, k) for k in signature(type(self))}
        if deep:
            parts = [(n, t) for n, t, _ in self.transformers] if isinstance(self.transformers, list) else []
            for name, part in [*parts, ("remainder", self.remainder)]:
                out[name] = part
                if hasattr(part, "get_params"):
                    out.update((f"{name}__{k}", v) for k, v in part.get_params(deep=True).items())
        return out

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, replaces parts by name, or sets parameters of parts as `part__parameter`.

        Parameters
        ----------
        **params : dict
            Names with their new values.

        Returns
        -------
        self
        """
        if "transformers" in params:
            self.transformers = params.pop("transformers")
        names = [n for n, _, _ in self.transformers]
        for key in [k for k in params if k in names]:
            self.transformers = [(n, params[key] if n == key else t, c) for n, t, c in self.transformers]
            params.pop(key)
        super().set_params(**params)
        return self

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fits the parts.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like, optional
            Passed on to the parts.
        **params : dict
            Passed on to the `fit` of parts: `part__parameter`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unknown columns, names that repeat, and what the parts refuse.
        """
        if self.transformer_weights is not None:
            raise UnsupportedError(
                "The 'transformer_weights' parameter must be None. Scale the columns of a part in a pipeline instead."
            )
        inputs = self._read(X, reset=True)
        parts = self._chosen(inputs)
        fitted: list[tuple[str, Any, list[int], Any]] = []
        for name, part, at, columns in parts:
            if not _is(part, "drop") and at:
                own = {k.partition("__")[2]: v for k, v in params.items() if k.partition("__")[0] == name}
                if not _is(part, "passthrough"):
                    part = clone(part).fit(inputs.part(at), y, **own)
            fitted.append((name, part, at, columns))
        self._remember(inputs)
        self._compose(inputs, fitted)
        self.transformers_ = [(name, part, columns) for name, part, _, columns in fitted]
        self.report_ = {name: part.report_ for name, part, _, _ in fitted if hasattr(part, "report_")}
        return self

    def _chosen(self, inputs: Input) -> list[tuple[str, Any, list[int], Any]]:
        """Name, part, positions and columns as given, the remainder last."""
        names = [n for n, _, _ in self.transformers]
        if len(set(names)) != len(names):
            raise ParameterError(f"Names provided are not unique: {names!r}")
        out, taken = [], set()
        for name, part, columns in self.transformers:
            if not isinstance(part, str) and not (hasattr(part, "fit") and hasattr(part, "transform")):
                raise TypeError(
                    "All estimators should implement fit and transform, or can be 'drop' or 'passthrough' specifiers. "
                    f"'{part}' (type {type(part)}) doesn't."
                )
            if isinstance(part, str) and part not in ("drop", "passthrough"):
                raise ParameterError(
                    f"The part '{name}' must be a transformer, 'drop' or 'passthrough'. Got '{part}' instead."
                )
            at = _inputs.positions(columns, inputs, "columns")
            taken.update(at)
            out.append((name, part, at, columns))
        rest = [i for i in range(inputs.width) if i not in taken]
        if rest:
            columns = [inputs.names[i] for i in rest] if inputs.names is not None else rest
            out.append(("remainder", self.remainder, rest, columns))
        return out

    def _compose(self, inputs: Input, fitted: list[tuple[str, Any, list[int], Any]]) -> None:
        used = sorted({p for _, part, at, _ in fitted if not _is(part, "drop") for p in at})
        # Columns that nobody reads are no part of a model whose columns have names.
        self._used = used if inputs.names is not None else None
        place = {p: i for i, p in enumerate(used)} if self._used is not None else {p: p for p in range(inputs.width)}
        parts = []
        self.output_indices_ = {}
        start = 0
        for name, part, at, _ in fitted:
            size = 0
            if not _is(part, "drop") and at:
                model = part if _is(part, "passthrough") else model_of(part, "ColumnTransformer")
                size = len(at) if isinstance(model, str) else len(model.output("transform")["names"])
                prefix = name if self.verbose_feature_names_out else None
                parts.append((prefix, model, [place[p] for p in at]))
            self.output_indices_[name] = slice(start, start + size)
            start += size
        seen = inputs if self._used is None else inputs.select(used)
        self._model = _core.columns(seen.schema(), parts)
        self._model.see(seen.data)
        names = self._model.output("transform")["names"]
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})[:5]
            self._model = None
            raise ValueError(
                f"Output feature names: {twice} are not unique. Please set verbose_feature_names_out=True to add prefixes "
                "to feature names"
            )

    def _read(self, X: Any, *, reset: bool) -> Input:
        X = X if reset else _inputs.only(X, getattr(self, "feature_names_in_", None))
        inputs = _inputs.read(X, type(self).__name__, sparse=True, text=True)
        if reset:
            return inputs
        used = self._used
        if used is None:
            return _inputs.check_names(inputs, self)
        fitted = self.feature_names_in_
        if inputs.names is None:
            return _inputs.check_names(inputs, self).select(used)
        present = {n: i for i, n in enumerate(inputs.names)}
        if missing := sorted(fitted[p] for p in used if fitted[p] not in present):
            raise MissingColumnError(f"columns are missing: {set(missing)}")
        return inputs.select([present[fitted[p]] for p in used])

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        raw = self._raw(inputs)
        container = self._container()
        if container == "default" and isinstance(raw, np.ndarray) and gives_sparse(self):
            share = np.count_nonzero(raw) / max(1, raw.size)
            if share < self.sparse_threshold:
                try:
                    from scipy import sparse

                    return sparse.csr_matrix(raw)
                except ImportError:
                    pass
        return _output.wrap(raw, container, self.get_feature_names_out(), original)

    def _transform_inner(self, inputs: Input) -> Input:
        return as_input(self._raw(self._read(inputs, reset=False)), inputs.rows)

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fits and transforms the same rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like, optional
            Passed on to the parts.
        **params : dict
            As in `fit`.

        Returns
        -------
        ndarray, frame or sparse matrix of shape (n_samples, n_features_out)
        """
        inputs = self._read(X, reset=True)
        self.fit(inputs, y, **params)
        return self._hand_out(self._read(inputs, reset=False), X)

    @property
    def named_transformers_(self) -> dict[str, Any]:
        """The fitted parts by name."""
        return {name: part for name, part, _ in self.transformers_}

    def __sklearn_clone__(self) -> Self:
        out = super().__sklearn_clone__()
        out.transformers = [(n, clone(t), c) for n, t, c in self.transformers]
        return out


def make_column_transformer(*transformers: Any, **params: Any) -> ColumnTransformer:
    """A column transformer whose parts are named after their classes.

    Parameters
    ----------
    *transformers : (transformer, columns) tuples
        The parts.
    **params : dict
        Parameters of `ColumnTransformer`, such as `remainder`.

    Returns
    -------
    ColumnTransformer

    Examples
    --------
    >>> from corten.compose import make_column_transformer
    >>> from corten.preprocessing import MinMaxScaler, StandardScaler
    >>> make_column_transformer((MinMaxScaler(), [0]), (StandardScaler(), [1])).fit_transform([[0.0, 1.0], [1.0, 3.0]])
    array([[ 0., -1.],
           [ 1.,  1.]])
    """
    names = [n for n, _ in named([t for t, _ in transformers])]
    parts = [(n, t, c) for n, (t, c) in zip(names, transformers, strict=True)]
    return ColumnTransformer(parts, **params)


#: What the names of types in `make_column_selector` stand for.
_KINDS = {
    "number": "number",
    "float64": "number",
    "float32": "number",
    "float": "number",
    "int64": "number",
    "int": "number",
    "object": "text",
    "str": "text",
    "string": "text",
    "category": "category",
    "bool": "bool",
}


class make_column_selector:
    """Chooses columns by their names or types, for `ColumnTransformer`.

    Parameters
    ----------
    pattern : str, default=None
        A regular expression that names must contain.
    dtype_include : type, str or list of those, default=None
        Types to take, as in pandas' `select_dtypes`: `np.number`, `object`, `str`, "category", `bool`.
    dtype_exclude : type, str or list of those, default=None
        Types to leave out.

    Examples
    --------
    >>> import numpy as np, polars as pl
    >>> from corten.compose import make_column_selector
    >>> make_column_selector(dtype_include=np.number)(pl.DataFrame({"a": [1], "b": ["x"]}))
    ['a']
    """

    def __init__(self, pattern: str | None = None, *, dtype_include: Any = None, dtype_exclude: Any = None) -> None:
        self.pattern = pattern
        self.dtype_include = dtype_include
        self.dtype_exclude = dtype_exclude

    def __call__(self, frame: Any) -> list[str]:
        """The names of the columns of a frame that fit.

        Parameters
        ----------
        frame : frame
            Any frame with named columns.

        Returns
        -------
        list of str
        """
        return self.of_inputs(_inputs.read(frame, type(self).__name__, text=True))

    def of_inputs(self, inputs: Input) -> list[str]:
        """The names of the columns that fit."""
        if inputs.names is None:
            raise ValueError("make_column_selector can only be applied to frames with named columns")
        kinds = [
            "category" if i in inputs.categorical else "text" if i in inputs.texts else _number_kind(inputs, i)
            for i in range(inputs.width)
        ]
        include, exclude = _wanted(self.dtype_include), _wanted(self.dtype_exclude)
        return [
            name
            for name, kind in zip(inputs.names, kinds, strict=True)
            if (include is None or kind in include)
            and (exclude is None or kind not in exclude)
            and (self.pattern is None or re.search(self.pattern, name))
        ]


def _number_kind(inputs: Input, position: int) -> str:
    data = inputs.data
    if isinstance(data, _core.Frame):
        return {"bool": "bool"}.get(dtype := data.dtypes[position], "number" if dtype[0] in "fiu" else dtype)
    return "bool" if inputs.column(position).dtype == bool else "number"


def _wanted(types: Any) -> set[str] | None:
    if types is None:
        return None
    many = types if isinstance(types, (list, tuple, set)) else [types]
    out = set()
    for one in many:
        name = one if isinstance(one, str) else getattr(one, "__name__", str(one))
        if name not in _KINDS:
            raise ParameterError(f"Types of columns must be among {sorted(_KINDS)}. Got {one!r} instead.")
        out.add(_KINDS[name])
    return out
