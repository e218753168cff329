"""Targets on their way in: classes or numbers, with scikit-learn's messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .exceptions import warn_conversion

#: Whole numbers that are counted in a table, and those that 64 bits hold with room to spare.
TABLE = 1 << 16
LARGE = 1 << 62


@dataclass(slots=True)
class Target:
    """A target as the extension takes it."""

    values: np.ndarray
    #: The classes in ascending order in the target's type; None for numbers.
    classes: np.ndarray | None = None

    @property
    def labels(self) -> list[Any] | None:
        """The classes as plain Python values of one kind."""
        if self.classes is None:
            return None
        return plain_labels(self.classes)


def plain_labels(classes: np.ndarray) -> list[Any]:
    """Classes as str, int, float or bool, all of one kind."""
    out: list[Any] = classes.tolist()
    if any(not isinstance(c, (bool, int, float, str)) for c in out):
        return [str(c) for c in out]
    if len({type(c) for c in out}) > 1:
        return [float(c) for c in out]
    return out


def array_of(y: Any) -> np.ndarray:
    """A target of any library as an array.

    Raises
    ------
    ValueError
        When there is none, or it is complex.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if hasattr(y, "tocsr") and hasattr(y, "nnz"):
        raise TypeError(
            "Sparse data was passed for y, but dense data is required. Use '.toarray()' to convert to a dense "
            "numpy array."
        )
    if type(y).__module__.partition(".")[0] == "pyarrow":
        y = y.to_pylist()
    elif hasattr(y, "__arrow_c_stream__") and not hasattr(y, "__array__"):
        raise TypeError(f"y should be a 1d array, got {type(y).__name__} instead.")
    out = np.asarray(y)
    if out.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{out!r:.80}\n")
    return out


def _length(y: np.ndarray, rows: int) -> None:
    if y.ndim == 0:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead.")
    if len(y) != rows:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {[rows, len(y)]}")


def _ravel(y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        warn_conversion(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel()."
        )
        return y.ravel()
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead.")
    return y


def _finite(y: np.ndarray) -> None:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        what = "NaN" if np.isnan(y).any() else "infinity or a value too large for dtype('float64')"
        raise ValueError(f"Input y contains {what}.")


def _offsets(y: np.ndarray, low: int) -> Iterator[tuple[slice, np.ndarray]]:
    """What lies between whole numbers and the least of them, some at a time: all would be a larger array than `y`."""
    for start in range(0, y.size, TABLE):
        rows = slice(start, start + TABLE)
        yield rows, y[rows].astype(np.int64) - low


def _distinct(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in ascending order, and each value's place among them: what np.unique finds by sorting all."""
    if y.dtype.kind == "O":
        items = y.tolist()
        ascending = sorted(set(items))
        place = {value: at for at, value in enumerate(ascending)}
        return np.array(ascending, dtype=object), np.fromiter(map(place.__getitem__, items), np.uint32, len(items))
    if y.dtype.kind in "iub" and y.size:
        low, high = int(y.min()), int(y.max())
        if high - low < max(2 * y.size, TABLE) and -LARGE < low and high < LARGE:
            is_there = np.zeros(high - low + 1, bool)
            for _, offsets in _offsets(y, low):
                is_there[offsets] = True
            places = np.cumsum(is_there, dtype=np.uint32) - np.uint32(1)
            each = np.empty(y.size, np.uint32)
            for rows, offsets in _offsets(y, low):
                each[rows] = places[offsets]
            return (np.flatnonzero(is_there) + low).astype(y.dtype), each
    found, codes = np.unique(y, return_inverse=True)
    return found, codes.ravel().astype(np.uint32)


def classes(y: Any, rows: int, owner: str, sample_weight: np.ndarray | None = None) -> Target:
    """The target of a classifier.

    Raises
    ------
    ValueError
        For continuous or missing values, one class only, another number of rows.
    """
    y = array_of(y)
    _length(y, rows)
    y = _ravel(y)
    _finite(y)
    if y.dtype.kind == "O":
        items = y.tolist()
        kinds = {str if issubclass(kind, str) else kind for kind in set(map(type, items))}
        # Text is never missing, nor unequal to itself.
        if kinds - {str} and any(v is None or v != v for v in items):
            raise ValueError("Input y contains NaN.")
        if str in kinds and len(kinds) > 1:
            mixed = sorted(k.__name__ for k in kinds)
            raise ValueError(f"Unknown label type: labels must all be strings or all be numbers, got {mixed}.")
        if not all(issubclass(k, (str, int, float, np.number, np.bool_)) for k in kinds):
            raise ValueError("Unknown label type: unknown. Classes must be numbers, booleans or strings.")
        if str not in kinds:
            y = np.array(y.tolist())
            _finite(y)
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError(
            "Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete classes on "
            "a regression target with continuous values."
        )
    if y.dtype.kind not in "fiubUO":
        raise ValueError(f"Unknown label type: {y.dtype}. Classes must be numbers, booleans or strings.")

    found, codes = _distinct(y)
    used = found if sample_weight is None else found[np.unique(codes[sample_weight != 0])]
    if len(used) < 2:
        only = f": {used.tolist()[0]!r}" if len(used) else ""
        raise ValueError(
            f"{owner} needs samples of at least 2 classes in the data, but the data contains only one class{only}"
        )
    return Target(codes, found)


def numbers(y: Any, rows: int, *, multi_output: bool = False) -> Target:
    """The target of a regressor.

    Raises
    ------
    ValueError
        For missing, infinite or textual values, several columns where one is taken, another number of rows.
    """
    y = array_of(y)
    _length(y, rows)
    if not (multi_output and y.ndim == 2):
        y = _ravel(y)
    if y.dtype.kind not in "fiub":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"The target y must hold numbers for a regressor: {error}") from error
    y = y.astype(np.float64, copy=False)
    _finite(y)
    return Target(y if y.ndim == 2 else np.ascontiguousarray(y))


def class_weights(class_weight: Any, target: Target, sample_weight: np.ndarray | None) -> np.ndarray | None:
    """Sample weights with the weights of classes multiplied in.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Weight of each class, 1 where it isn't given; "balanced" weighs each class by `n / (k * count)`.
    target : Target
        The classes.
    sample_weight : ndarray or None
        Weights of the rows.

    Raises
    ------
    ValueError
        For another type, and where classes that don't occur are named in the place of some that do.
    """
    if class_weight is None:
        return sample_weight
    assert target.classes is not None
    labels = target.classes.tolist()
    counts = np.bincount(target.values, weights=sample_weight, minlength=len(labels))
    out = weights_of(class_weight, labels, counts)[target.values]
    return out if sample_weight is None else out * sample_weight


def weights_of(class_weight: Any, labels: list[Any], counts: np.ndarray) -> np.ndarray:
    """The weight of each class.

    Parameters
    ----------
    class_weight : dict or "balanced"
        As in `class_weights`.
    labels : list
        The classes.
    counts : ndarray of shape (n_classes,)
        The rows of each, or the sum of their weights.

    Raises
    ------
    ValueError
        As `class_weights`.
    """
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(counts.sum() / (len(labels) * np.where(counts > 0, counts, 1)))
    if not isinstance(class_weight, dict):
        raise ValueError(
            "The 'class_weight' parameter must be an instance of 'dict', a str among {'balanced'} or None. Got "
            f"{class_weight!r} instead."
        )
    missing = [c for c in labels if c not in class_weight]
    if missing and (unknown := [c for c in class_weight if c not in labels]):
        raise ValueError(
            f"The classes, {missing}, are not in class_weight, which names {unknown} instead: the classes are {labels}"
        )
    return np.array([float(class_weight.get(c, 1.0)) for c in labels])
