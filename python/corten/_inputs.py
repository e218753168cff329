"""The one door for data on its way in.

Whatever a user has becomes what the extension reads without a copy where that is possible: a NumPy matrix of any order,
a `Frame` (Arrow columns), named columns, or compressed sparse rows. Messages about unusable data are scikit-learn's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core
from .exceptions import ColumnError, MissingColumnError, ParameterError

#: Libraries whose frames live on many machines, with the call that brings one here on purpose.
_DISTRIBUTED = {
    "pyspark": "df.toPandas() or df.toArrow()",
    "dask": "df.compute()",
    "ray": "ds.to_pandas()",
    "daft": "df.to_arrow()",
    "modin": "df._to_pandas()",
}


@dataclass(slots=True)
class Input:
    """Data as the extension takes it, with what estimators need to know about it."""

    data: Any
    rows: int
    width: int
    names: list[str] | None = None
    #: Positions of the columns of text, and of those that the frame calls categorical.
    texts: tuple[int, ...] = ()
    categorical: tuple[int, ...] = ()
    sparse: Any = None
    original: Any = None

    def schema(self) -> dict[str, Any]:
        """The model's view of the columns."""
        return dict(_core.schema(self.data))

    def select(self, positions: Sequence[int]) -> Input:
        """Some of the columns, values uncopied."""
        positions = list(positions)
        data = self.data
        if isinstance(data, np.ndarray):
            step = _as_slice(positions)
            data = data[:, step if step is not None else positions]
        elif isinstance(data, tuple) and data[0] == "columns":
            _, names, columns, categorical = data
            data = (
                "columns",
                None if names is None else [names[p] for p in positions],
                [columns[p] for p in positions],
                None if categorical is None else [categorical[p] for p in positions],
            )
        elif isinstance(data, tuple):
            matrix = self.sparse[:, positions].tocsr()
            return Input(_csr(matrix), self.rows, len(positions), sparse=matrix)
        else:
            data = data.select(positions)
        return Input(
            data,
            self.rows,
            len(positions),
            None if self.names is None else [self.names[p] for p in positions],
            tuple(i for i, p in enumerate(positions) if p in self.texts),
            tuple(i for i, p in enumerate(positions) if p in self.categorical),
        )

    def part(self, positions: Sequence[int]) -> Input:
        """Some of the columns, which keep the names of their positions (`x2`) where they have no others."""
        out = self.select(positions)
        if self.names is not None or self.sparse is not None:
            return out
        names = [f"x{p}" for p in positions]
        data = ("columns", names, [out.column(i) for i in range(out.width)], None)
        return Input(data, out.rows, out.width, names, out.texts, out.categorical)

    def column(self, position: int) -> Any:
        """The values of one column: an array of numbers, or a list of str and None."""
        data = self.data
        if isinstance(data, np.ndarray):
            return data[:, position]
        if isinstance(data, tuple) and data[0] == "columns":
            return data[2][position]
        if isinstance(data, tuple):
            return self.sparse[:, [position]].toarray().ravel()
        return data.column(position)

    def take(self, rows: np.ndarray) -> Input:
        """A copy of some rows."""
        data = self.data
        matrix = None
        if isinstance(data, np.ndarray):
            data = data[rows]
        elif isinstance(data, tuple) and data[0] == "columns":
            columns = [c[rows] if isinstance(c, np.ndarray) else [c[i] for i in rows.tolist()] for c in data[2]]
            data = ("columns", data[1], columns, data[3])
        elif isinstance(data, tuple):
            matrix = self.sparse[rows].tocsr()
            data = _csr(matrix)
        else:
            data = data.take(np.ascontiguousarray(rows, dtype=np.int64))
        return Input(data, len(rows), self.width, self.names, self.texts, self.categorical, matrix)


def _as_slice(positions: list[int]) -> slice | None:
    if positions and positions == list(range(positions[0], positions[0] + len(positions))):
        return slice(positions[0], positions[0] + len(positions))
    return None


def read(X: Any, owner: str, *, sparse: bool = False, text: bool = False) -> Input:
    """Brings data through the door.

    Parameters
    ----------
    X : array-like, frame or sparse matrix
        The data.
    owner : str
        Who wants it, for messages.
    sparse : bool
        Whether sparse matrices are taken.
    text : bool
        Whether columns of text are taken from arrays of objects and strings.

    Returns
    -------
    Input

    Raises
    ------
    TypeError
        For distributed frames, sparse data where it isn't taken, and values that are no numbers.
    ValueError
        For data that is not two-dimensional, empty, or complex.
    """
    if isinstance(X, Input):
        if X.sparse is not None and not sparse:
            return _sparse(X.sparse, owner, sparse)
        return X
    if type(X) is np.ndarray:
        return _array(X, owner, text)
    root = type(X).__module__.partition(".")[0]
    if root in _DISTRIBUTED:
        raise TypeError(
            f"{owner} was given a distributed {root} {type(X).__name__}, which would have to be pulled to this machine. "
            f"Do that on purpose with {_DISTRIBUTED[root]}, or score where the data is with the saved model."
        )
    if root == "polars" and type(X).__name__ == "LazyFrame":
        X = X.collect(engine="streaming")
    if getattr(X, "ndim", None) == 1 and hasattr(X, "__array__") and not hasattr(X, "columns"):
        return _array(np.asarray(X), owner, text)
    if root == "pandas" and hasattr(X, "iloc") and hasattr(X, "columns"):
        return _checked(_pandas(X, text), owner, X)
    if hasattr(X, "tocsr") and hasattr(X, "nnz"):
        return _sparse(X, owner, sparse)
    if isinstance(X, _core.Frame):
        return _checked(_frame(X), owner, X)
    if root != "numpy" and (hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")):
        return _checked(_frame(_core.Frame(X)), owner, X)
    return _array(X, owner, text)


def only(X: Any, names: Any) -> Any:
    """A pandas frame without the columns that a model doesn't know, whatever they hold; everything else as it is.

    Parameters
    ----------
    X : object
        The data.
    names : sequence of str or None
        The columns that the model knows.
    """
    if names is None or type(X).__module__.partition(".")[0] != "pandas" or not hasattr(X, "columns"):
        return X
    wanted = list(names)
    if len(wanted) >= len(X.columns) or not X.columns.is_unique or not all(name in X.columns for name in wanted):
        return X
    return X[wanted]


def _checked(inputs: Input, owner: str, original: Any) -> Input:
    _check_size((inputs.rows, inputs.width), owner)
    inputs.original = original
    return inputs


def _check_size(shape: tuple[int, ...], owner: str) -> None:
    for size, what in zip(shape, ("sample(s)", "feature(s)"), strict=False):
        if size == 0:
            raise ValueError(f"Found array with 0 {what} (shape={shape}) while a minimum of 1 is required by {owner}.")


def _array(X: Any, owner: str, text: bool) -> Input:
    try:
        array = np.asarray(X)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{owner} needs rows of the same length: {error}") from error
        raise
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{array!r:.80}\n")
    if array.ndim == 0:
        raise ValueError(
            f"Expected 2D array, got scalar array instead:\narray={array}.\nReshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single "
            "sample."
        )
    if array.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead:\narray={array!s:.200}.\nReshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single "
            "sample."
        )
    if array.ndim > 2:
        raise ValueError(f"Found array with dim {array.ndim}, while dim <= 2 is required by {owner}.")
    _check_size(array.shape, owner)
    rows, width = array.shape
    if array.dtype.kind in "OUS":
        if text:
            return _objects(array, X)
        array = _numbers(array)
    elif array.dtype.kind in "mMV":
        raise TypeError(f"{owner} takes numbers; the array has dtype {array.dtype}.")
    elif array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        # Half and extended floats are none of the types that the extension reads.
        array = array.astype(np.float64)
    if any(s < 0 or s % array.itemsize for s in array.strides):
        # Reversed or unaligned: read through steps that the extension doesn't take.
        array = np.ascontiguousarray(array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return Input(array, rows, width, original=X)


def _numbers(array: np.ndarray) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except TypeError as error:
        if any(type(v).__name__ == "NAType" for v in array.ravel()[:1000]):
            return np.array([[np.nan if type(v).__name__ == "NAType" else v for v in r] for r in array], np.float64)
        if "argument must be" not in str(error):
            raise TypeError(f"argument must be a string or a real number: {error}") from error
        raise
    except ValueError as error:
        if any(isinstance(v, complex) for v in array.ravel()[:1000]):
            raise ValueError(f"Complex data not supported\n{array!r:.80}\n") from error
        raise


def _objects(array: np.ndarray, original: Any) -> Input:
    """Columns of an array of objects or strings: numbers where all values are, text otherwise."""
    rows, width = array.shape
    columns: list[Any] = [object_column(array[:, i]) for i in range(width)]
    if all(isinstance(c, np.ndarray) for c in columns):
        return Input(np.column_stack(columns), rows, width, original=original)
    texts = tuple(i for i, c in enumerate(columns) if isinstance(c, list))
    return Input(("columns", None, columns, None), rows, width, texts=texts, original=original)


#: Numbers in columns of objects, beside those of the decimal module.
_REAL = (bool, int, float, np.floating, np.integer, np.bool_)


def object_column(values: Any, name: str | None = None) -> np.ndarray | list[str | None]:
    """One column of objects as numbers or as text.

    Raises
    ------
    TypeError
        When numbers and text are mixed, or values are neither.
    """
    values = np.asarray(values)
    if values.dtype.kind == "U":
        return [str(v) for v in values.tolist()]
    kinds = set()
    for v in values.tolist():
        kind = type(v).__name__
        # What isn't a number may not be comparable with itself.
        if v is None or kind in ("NAType", "NaTType") or (isinstance(v, _REAL) or kind == "Decimal") and v != v:
            continue
        is_number = isinstance(v, _REAL) or kind == "Decimal"
        kinds.add("text" if isinstance(v, str) else "number" if is_number else kind)
    where = "" if name is None else f" in column '{name}'"
    if other := kinds - {"text", "number"}:
        if "complex" in other:
            raise ValueError(f"Complex data not supported\n{values!r:.80}\n")
        found = sorted(other)
        raise TypeError(f"argument must be a string or a real number{where}, not {', '.join(repr(k) for k in found)}")
    if len(kinds) == 2:
        found = sorted({type(v).__name__ for v in values.tolist() if isinstance(v, str) or v is not None and v == v})
        raise TypeError(
            f"Encoders require their input argument must be uniformly strings or numbers{where}. Got {found}"
        )
    if "text" in kinds:
        return [v if isinstance(v, str) else None for v in values.tolist()]
    missing = [v is None or type(v).__name__ == "NAType" for v in values.tolist()]
    if any(missing):
        values = np.where(missing, np.nan, values)
    return values.astype(np.float64)


def _csr(matrix: Any) -> tuple[Any, ...]:
    return (
        "csr",
        tuple(matrix.shape),
        np.ascontiguousarray(matrix.indptr),
        np.ascontiguousarray(matrix.indices),
        np.ascontiguousarray(matrix.data, dtype=np.float64),
    )


def _sparse(X: Any, owner: str, allowed: bool) -> Input:
    if not allowed:
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert to a dense numpy array."
        )
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{X!r:.80}\n")
    _check_size(X.shape, owner)
    matrix = X if X.format == "csr" else X.tocsr()
    return Input(_csr(matrix), matrix.shape[0], matrix.shape[1], sparse=matrix, original=X)


def _frame(frame: Any) -> Input:
    kinds = frame.dtypes
    return Input(
        frame,
        frame.rows,
        len(kinds),
        list(frame.names),
        tuple(i for i, k in enumerate(kinds) if k == "text"),
        tuple(i for i, c in enumerate(frame.categorical) if c),
    )


def column_names(columns: Any) -> list[str] | None:
    """The names of a frame's columns if they are text, None if none of them is.

    Raises
    ------
    TypeError
        When only some are.
    """
    names = list(columns)
    texts = sum(isinstance(n, str) for n in names)
    if texts == len(names):
        return [str(n) for n in names]
    if texts:
        kinds = sorted({type(n).__name__ for n in names})
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. If you want feature names to be stored and validated, you "
            "must convert them all to strings, by using X.columns = X.columns.astype(str) for example. Otherwise you "
            "can remove feature / column names from your input data, or convert them all to a non-string data type."
        )
    return None


def _pandas(X: Any, text: bool) -> Input:
    names = column_names(X.columns)
    rows, width = X.shape
    dtypes = list(X.dtypes)
    if all(isinstance(d, np.dtype) and d.kind in "fiub" and d.itemsize <= 8 for d in dtypes) and width:
        # Views of the blocks; nothing is copied.
        if names is None and len(set(dtypes)) == 1:
            return Input(X.to_numpy(copy=False), rows, width)
        columns: list[Any] = [X.iloc[:, i].to_numpy(copy=False) for i in range(width)]
        columns = [c.astype(np.float64) if c.dtype == np.float16 else c for c in columns]
        return Input(("columns", names, columns, None), rows, width, names)
    try:
        import pyarrow  # noqa: F401

        if names is not None and all(_is_arrows(X, i, text) for i in range(width)):
            # The stream of a frame with an index would carry it as a column.
            return _frame(_core.Frame(X.reset_index(drop=True)))
    except ImportError:
        pass
    columns, texts, categorical = [], [], []
    for i, dtype in enumerate(dtypes):
        column = X.iloc[:, i]
        is_categorical = type(dtype).__name__ == "CategoricalDtype"
        if is_categorical:
            categorical.append(i)
            if not isinstance(column.cat.categories.dtype, np.dtype) or column.cat.categories.dtype.kind == "O":
                column = column.astype(object)
        if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
            columns.append(column.to_numpy())
        elif type(dtype).__name__ in ("StringDtype",) or str(dtype) in ("str", "string"):
            columns.append([v if isinstance(v, str) else None for v in column.tolist()])
        elif isinstance(dtype, np.dtype) and dtype.kind == "O" or is_categorical:
            label = names[i] if names is not None else None
            values = column.to_numpy(dtype=object)
            columns.append(object_column(values, label) if text else _object_numbers(values, label))
        elif isinstance(dtype, np.dtype):
            raise ColumnError(f"Column '{X.columns[i]}': has type {dtype}; numbers, booleans and text can be used")
        else:
            columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
        if isinstance(columns[-1], list):
            texts.append(i)
    flags = [i in categorical for i in range(width)]
    return Input(("columns", names, columns, flags), rows, width, names, tuple(texts), tuple(categorical))


def _is_arrows(X: Any, position: int, text: bool) -> bool:
    """Whether Arrow reads a column of pandas as `object_column` does: of objects, those that are all text or missing."""
    column = X.iloc[:, position]
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind != "O":
        return True
    from pandas.api.types import infer_dtype

    return text and infer_dtype(column, skipna=True) == "string"


def _object_numbers(values: np.ndarray, name: str | None) -> Any:
    try:
        return _numbers(values)
    except ValueError:
        return object_column(values, name)


def check_names(inputs: Input, estimator: Any) -> Input:
    """Compares the columns with those of the fit, in scikit-learn's words.

    Columns of a frame are found by name in any order, and columns that the model doesn't need are left alone.

    Raises
    ------
    ValueError
        When columns are missing, or a matrix has another width.
    """
    owner = type(estimator).__name__
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and inputs.names is not None:
        if inputs.names == fitted.tolist():
            return inputs
        present = {n: i for i, n in enumerate(inputs.names)}
        missing = sorted(n for n in fitted if n not in present)
        if missing:
            unseen = sorted(set(inputs.names) - set(fitted))
            text = "The feature names should match those that were passed during fit.\n"
            if unseen:
                text += "Feature names unseen at fit time:\n" + _bullets(unseen)
            text += "Feature names seen at fit time, yet now missing:\n" + _bullets(missing)
            raise MissingColumnError(text)
        return inputs.select([present[n] for n in fitted])
    if fitted is not None and inputs.names is None:
        warnings.warn(
            f"X does not have valid feature names, but {owner} was fitted with feature names", UserWarning, stacklevel=5
        )
    elif fitted is None and inputs.names is not None:
        warnings.warn(f"X has feature names, but {owner} was fitted without feature names", UserWarning, stacklevel=5)
    if inputs.width != estimator.n_features_in_:
        raise ValueError(
            f"X has {inputs.width} features, but {owner} is expecting {estimator.n_features_in_} features as input."
        )
    return inputs


def _bullets(names: list[str]) -> str:
    return "".join(f"- {n}\n" for n in names[:5]) + ("- ...\n" if len(names) > 5 else "")


def listed(names: Sequence[Any]) -> str:
    """Names as an error lists them, as the core does: in quotes, which show blanks at their ends, and the first twenty.

    Examples
    --------
    >>> from corten._inputs import listed
    >>> listed(["a", " b"])
    "'a', ' b'"
    """
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(f"'{n}'" for n in names[:20]) + more


def named(X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Rows, targets and weights where the latter two may be names of columns of a frame.

    Raises
    ------
    MissingColumnError
        For a name that isn't there.
    """
    names = [n for n in (y, weights) if isinstance(n, str)]
    if not names:
        return X, y, weights
    columns = getattr(X, "columns", None)
    if columns is None or not hasattr(X, "__getitem__"):
        raise ParameterError("Names of columns as y or sample_weight need a frame or files as X.")
    present = list(getattr(X, "column_names", columns))
    for name in names:
        if name not in present:
            raise MissingColumnError(f"Column '{name}' is missing from the input; it has: {listed(present)}.")
    rest = [c for c in present if c not in names]
    taken = X.select(rest) if hasattr(X, "select") else X[rest]
    return taken, *(X[n] if isinstance(n, str) else n for n in (y, weights))


def sample_weight(weights: Any, rows: int) -> np.ndarray | None:
    """Sample weights as contiguous floats.

    Raises
    ------
    ValueError
        When the shape is wrong, values are NaN or infinite, or all are zero.
    """
    if weights is None:
        return None
    if isinstance(weights, (int, float, np.number)):
        return np.full(rows, float(weights))
    out = np.ascontiguousarray(np.asarray(weights, dtype=np.float64))
    if out.ndim == 0:
        return np.full(rows, float(out))
    if out.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {out.ndim}D array. Expected either a scalar "
            f"value or a 1D array of length {rows}."
        )
    if out.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {out.shape}, expected {(rows,)}!")
    if not np.isfinite(out).all():
        what = "NaN" if np.isnan(out).any() else "infinity or a value too large for dtype('float64')"
        raise ValueError(f"Input sample_weight contains {what}.")
    if not out.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return out


def positions(selection: Any, inputs: Input, parameter: str) -> list[int]:
    """Columns chosen by name, index, slice, mask or a callable.

    Parameters
    ----------
    selection : str, int, slice, list of those, mask or callable
        The choice; a callable gets the original frame.
    inputs : Input
        The data whose columns are chosen.
    parameter : str
        Name of the parameter, for messages.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        For unknown names, positions out of range, masks of another length.
    """
    if callable(selection):
        by_type = hasattr(selection, "of_inputs")
        selection = selection.of_inputs(inputs) if by_type else selection(inputs.original)
    if isinstance(selection, slice):
        if isinstance(selection.start, str) or isinstance(selection.stop, str):
            start = 0 if selection.start is None else _position(selection.start, inputs, parameter)
            stop = inputs.width if selection.stop is None else _position(selection.stop, inputs, parameter) + 1
            return list(range(start, stop, selection.step or 1))
        return list(range(inputs.width))[selection]
    if isinstance(selection, (str, int, np.integer)) and not isinstance(selection, bool):
        return [_position(selection, inputs, parameter)]
    if hasattr(selection, "tolist"):
        selection = selection.tolist()
    chosen = list(selection)
    if chosen and all(isinstance(c, (bool, np.bool_)) for c in chosen):
        if len(chosen) != inputs.width:
            raise ParameterError(
                f"The '{parameter}' parameter is a mask of {len(chosen)} values where the input has {inputs.width} columns."
            )
        return [i for i, c in enumerate(chosen) if c]
    return [_position(c, inputs, parameter) for c in chosen]


def _position(choice: Any, inputs: Input, parameter: str) -> int:
    if isinstance(choice, str):
        if inputs.names is None:
            raise ParameterError(
                f"The '{parameter}' parameter names column '{choice}', but the input is no frame with named columns."
            )
        if choice not in inputs.names:
            raise MissingColumnError(f"Column '{choice}' is missing from the input; it has: {listed(inputs.names)}.")
        return inputs.names.index(choice)
    index = int(choice)
    if not -inputs.width <= index < inputs.width:
        raise ParameterError(
            f"The '{parameter}' parameter must be positions in the range [0, {inputs.width}). Got {index} instead."
        )
    return index % inputs.width
