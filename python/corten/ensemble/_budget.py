"""Boosting without tuning: models in steps, each judged on held-out rows, until the time is used or nothing gains."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..exceptions import ParameterError

#: What is tried, in this order: coarse steps first, then finer ones and other sizes of trees around the best.
FIRST: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.1, "max_leaf_nodes": 31},
    {"learning_rate": 0.1, "max_leaf_nodes": 127},
    {"learning_rate": 0.1, "max_leaf_nodes": 8},
)
THEN: tuple[dict[str, Any], ...] = (
    {"max_features": 0.5},
    {"min_samples_leaf": 5},
    {"min_samples_leaf": 100},
    {"l2_regularization": 10.0},
    {"learning_rate": 0.05},
    {"learning_rate": 0.02},
)
#: Most rounds of a step, and rounds without gain that end it.
ROUNDS, PATIENCE = 5000, 30
#: The share of the time after which no step begins: the last fit is on all rows.
LAST = 0.6

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


def search(fit: Callable[..., Any], budget: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The parameters that do best on held-out rows, rounds included, and all that was tried.

    Parameters
    ----------
    fit : callable
        Fits with some parameters and callbacks, rows held out.
    budget : float
        Seconds, of which the last fit's are kept back.
    """
    begin = time.monotonic()
    deadline = begin + budget * LAST
    steps: list[dict[str, Any]] = []
    best: dict[str, Any] = {}

    def late(_: Any) -> bool:
        return time.monotonic() > deadline

    def step(params: dict[str, Any]) -> None:
        nonlocal best
        start = time.monotonic()
        if steps and start + 0.5 * steps[0]["seconds"] > deadline:
            return
        model = fit({**params, "max_iter": ROUNDS, "n_iter_no_change": PATIENCE}, [late])
        scores = model.validation_score_
        rounds = max(1, int(np.argmax(scores)))
        spent = time.monotonic() - start
        steps.append({**params, "max_iter": rounds, "score": float(scores[rounds]), "seconds": spent})
        if not best or steps[-1]["score"] > best["score"]:
            best = steps[-1]

    for params in FIRST:
        step(dict(params))
    for change in THEN:
        base = {k: v for k, v in best.items() if k not in ("max_iter", "score", "seconds")}
        # Finer steps are worth their rounds only where there is time for them.
        if {**base, **change} != base:
            step({**base, **change})
    chosen = {k: v for k, v in best.items() if k not in ("score", "seconds")}
    return chosen, steps
