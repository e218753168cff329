"""Fitted parts of a composed model: their models, and what goes from one to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._inputs import Input
from .exceptions import UnsupportedError


def as_input(raw: Any, rows: int) -> Input:
    """What a model's transform gave, as the next step's input."""
    if isinstance(raw, np.ndarray):
        return Input(raw, rows, raw.shape[1])
    columns = list(raw[1])
    texts = tuple(i for i, c in enumerate(columns) if isinstance(c, list))
    return Input(("columns", None, columns, None), rows, len(columns), texts=texts)


def model_of(estimator: Any, what: str) -> Any:
    """The model of a fitted part, for composing.

    Raises
    ------
    UnsupportedError
        For parts that aren't Corten's.
    """
    model = getattr(estimator, "_model", None)
    if model is None:
        raise UnsupportedError(
            f"{what}: {type(estimator).__name__} is no Corten estimator, so it can't become part of a Corten model."
        )
    return model
