"""Errors and warnings of Corten.

Each error is also one of the built-in classes that scikit-learn users catch, most often `ValueError`.
"""

from __future__ import annotations

import sys
import warnings

from ._core import (
    ColumnError,
    FormatError,
    InternalError,
    LimitError,
    MissingColumnError,
    NotFittedError,
    ParameterError,
    UnsupportedError,
    VersionError,
)

__all__ = [
    "ColumnError",
    "DataConversionWarning",
    "FormatError",
    "InternalError",
    "LimitError",
    "MissingColumnError",
    "NotFittedError",
    "ParameterError",
    "UnsupportedError",
    "VersionError",
]


class DataConversionWarning(UserWarning):
    """The data was reshaped or cast on its way in."""


def not_fitted(estimator: object) -> Exception:
    """The error for a method that was called before `fit`: scikit-learn's own class where that is loaded."""
    text = (
        f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
        "using this estimator."
    )
    theirs = sys.modules.get("sklearn.exceptions")
    return (theirs.NotFittedError if theirs else NotFittedError)(text)


def warn_conversion(text: str) -> None:
    """Warns about a conversion, with scikit-learn's own class where that is loaded."""
    theirs = sys.modules.get("sklearn.exceptions")
    warnings.warn(text, theirs.DataConversionWarning if theirs else DataConversionWarning, stacklevel=5)
