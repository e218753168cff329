"""What a time for boosting without tuning is, and which rows judge."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..exceptions import ParameterError

#: Rows that are enough to judge by, and of the rarest class.
JUDGES, OF_RAREST = 10_000, 500

_UNITS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(budget: Any) -> float:
    """A time in seconds, from a number of them or text such as "90s", "1min", "2h".

    Raises
    ------
    ParameterError
        For anything else, and for times that aren't above 0.
    """
    if isinstance(budget, (int, float, np.number)) and not isinstance(budget, bool):
        value = float(budget)
    else:
        found = re.fullmatch(r"\s*([0-9.]+(?:e[-+]?[0-9]+)?)\s*(ms|s|sec|m|min|h)\s*", str(budget))
        try:
            value = float(found[1]) * _UNITS[found[2]] if found else -1.0
        except ValueError:
            value = -1.0
    if not 0 < value < float("inf"):
        raise ParameterError(
            "The 'budget' parameter must be None, a number of seconds above 0 or a str such as '30s', '1min' or '2h'. "
            f"Got {budget!r} instead."
        )
    return value


def held_out(given: int | float, rows: int, rarest: float | None = None) -> tuple[int | float, int]:
    """How much is held out: of many rows less than the share that is given, for what is learnt from them is worth more.

    Parameters
    ----------
    given : int or float
        A share, or a number of rows, which stays as it is.
    rows : int
        All rows.
    rarest : float, optional
        Rows of the rarest class.

    Returns
    -------
    share : int or float
        The share, or the number of rows.
    judges : int
        How many rows that are.

    Raises
    ------
    ParameterError
        For what is no share and no number of rows.
    """
    is_number = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not is_number or not (0 < given < 1 or given >= 1 and float(given).is_integer()):
        raise ParameterError(
            "budget judges models by held-out rows: the 'validation_fraction' parameter must be a float in the range "
            f"(0, 1) or an int of at least 1. Got {given!r} instead."
        )
    if given >= 1:
        return int(given), min(int(given), rows)
    enough: float = JUDGES
    if rarest is not None:
        enough = max(enough, OF_RAREST * rows / rarest)
    share = min(float(given), enough / rows)
    return share, max(1, round(share * rows))
