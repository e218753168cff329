"""Boosting without tuning: models in steps, each judged on held-out rows, until the time is used or nothing gains."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..exceptions import ParameterError

#: Leaves of a tree that are tried first, side by side; one more in the direction of the best.
LEAVES, LARGER, SMALLER = (31, 127), 511, 8
#: What is tried then, around the best.
THEN: tuple[dict[str, Any], ...] = (
    {"max_features": 0.5},
    {"min_samples_leaf": 5},
    {"min_samples_leaf": 100},
    {"l2_regularization": 10.0},
    {"learning_rate": 0.05},
    {"learning_rate": 0.02},
)
#: Most rounds of a step, and rounds without gain that end it.
ROUNDS, PATIENCE = 20_000, 30
#: The share of the time that each size of trees may take before the best goes on alone.
SLICE = 0.06
#: Rounds times rate from which a model has seen most of what it can.
ARRIVES = 40
#: How much longer a fit on all rows takes than one that held some out.
ALL_ROWS = 1.3

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


@dataclass
class Step:
    """A model of some parameters, fitted on some of the rows and judged by the others."""

    params: dict[str, Any]
    model: Any
    rounds: int
    score: float
    seconds: float
    #: Whether more rounds wouldn't gain, as far as can be seen.
    ended: bool

    def told(self) -> dict[str, Any]:
        """What users are told of it."""
        return {**self.params, "max_iter": self.rounds, "score": self.score, "seconds": self.seconds}


def search(fit: Callable[..., Any], budget: float) -> tuple[Step, bool, list[dict[str, Any]]]:
    """The step that does best on held-out rows, whether there is time for its fit on all rows, and all that was tried.

    Sizes of trees are compared after the same time, not after the same rounds: where the time is short for the data, the
    better one of them gets all that is left, and its model is the last. Where it isn't, other parameters follow.

    Parameters
    ----------
    fit : callable
        Fits with some parameters and callbacks, rows held out.
    budget : float
        Seconds.
    """
    end = time.monotonic() + budget
    steps: list[dict[str, Any]] = []
    best: Step | None = None

    def step(params: dict[str, Any], deadline: float) -> Step:
        nonlocal best
        start = time.monotonic()
        late = False

        def is_late(_: Any) -> bool:
            nonlocal late
            late = time.monotonic() > deadline
            return late

        model = fit({**params, "max_iter": ROUNDS, "n_iter_no_change": PATIENCE}, [is_late])
        scores = model.validation_score_
        rounds = max(1, int(np.argmax(scores)))
        done = Step(params, model, rounds, float(scores[rounds]), time.monotonic() - start, not late)
        steps.append(done.told())
        if best is None or done.score > best.score:
            best = done
        return done

    def race(leaves: int) -> Step:
        return step({"learning_rate": 0.1, "max_leaf_nodes": leaves}, time.monotonic() + SLICE * budget)

    small, large = (race(leaves) for leaves in LEAVES)
    race(LARGER if large.score > small.score else SMALLER)
    assert best is not None
    if not best.ended:
        # Few rounds must be larger ones to arrive.
        slow, rounds = best.params, best.rounds / best.seconds * (end - time.monotonic())
        tried = step({**slow, "learning_rate": float(np.clip(ARRIVES / rounds, 0.1, 0.3).round(2))}, end)
        if tried.ended and tried is not best:
            # They were too large.
            step(slow, end)
    for change in THEN:
        params = {**best.params, **change}
        # The last fit needs its time too. Finer steps are worth their rounds only where there is time for them.
        left = end - time.monotonic() - ALL_ROWS * best.seconds
        if params != best.params and best.ended and left > 0.5 * best.seconds:
            step(params, time.monotonic() + left)
    return best, best.ended and end - time.monotonic() > ALL_ROWS * best.seconds, steps
