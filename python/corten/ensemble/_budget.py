"""Boosting without tuning: models in steps, each judged on held-out rows, until the time is used or nothing gains."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from ..exceptions import ParameterError

#: Leaves of a tree that are tried first, side by side; then fewer once, or four times as many for as long as they gain.
LEAVES, SMALLER, MOST = (31, 127), 8, 32_767
#: What is tried then, around the best.
THEN: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.1},
    {"max_features": 0.5},
    {"min_samples_leaf": 5},
    {"min_samples_leaf": 100},
    {"l2_regularization": 10.0},
    {"learning_rate": 0.05},
    {"learning_rate": 0.02},
)
#: Most rounds of a step, and rounds without gain that end it.
ROUNDS, PATIENCE = 20_000, 30
#: The share of the time that each size of trees may take before the best goes on alone, and each larger one.
SLICE, CLIMB = 0.06, 0.04
#: Rounds times rate from which a race tells how a size of trees does, and from which it tells anything.
RACED, TOLD = 5, 1.5
#: The largest rate of a race.
FASTEST = 0.5
#: How many times as long a tree of four times the leaves takes.
FOURFOLD = 2.5
#: Rounds times rate from which a model has seen most of what it can, and the same times the leaves of large trees.
ARRIVES, ARRIVES_LARGE = 40, 20_000
#: Rows that are enough to judge by, and of the rarest class.
JUDGES, OF_RAREST = 10_000, 500
#: The share of a score that finer steps may lose on the rows that judge: on others they rarely do.
FINER = 1e-3
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


def held_out(given: int | float | None, target: np.ndarray, classes: int) -> int | float | None:
    """How much is held out: of many rows less than the share that is given, for what is learnt from them is worth more.

    Parameters
    ----------
    given : int, float or None
        A share, or a number of rows, which is kept.
    target : ndarray of shape (n_samples,)
        The target; the places of classes.
    classes : int
        The number of classes, or 0.
    """
    if not isinstance(given, float) or given >= 1.0:
        return given
    rows = JUDGES
    if classes:
        counts = np.bincount(target.astype(np.intp), minlength=classes)
        rows = max(rows, int(OF_RAREST * len(target) / counts[counts > 0].min()))
    return min(given, rows / len(target))


def rate_of(rounds: float) -> float:
    """The rate at which a size of trees shows in so many rounds how it does."""
    return float(np.clip(RACED / rounds, 0.1, FASTEST).round(2))


@dataclass
class Step:
    """A model of some parameters, fitted on some of the rows and judged by the others."""

    params: dict[str, Any]
    #: Of the best one alone; None of others.
    model: Any
    rounds: int
    score: float
    seconds: float
    #: Whether more rounds wouldn't gain, as far as can be seen.
    ended: bool

    def beats(self, best: Step) -> bool:
        """Whether it is to be preferred to the best so far."""
        if self.score == best.score:
            return self.ended and not best.ended
        if self.params["learning_rate"] < best.params["learning_rate"] and np.isfinite(best.score):
            return self.score > best.score - FINER * abs(best.score)
        return self.score > best.score

    def told(self) -> dict[str, Any]:
        """What users are told of it."""
        return {**self.params, "max_iter": self.rounds, "score": self.score, "seconds": self.seconds}


@dataclass
class Found:
    """What a search has found so far, and all that it tried."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    _best: Step | None = None

    def __bool__(self) -> bool:
        return self._best is not None

    @property
    def best(self) -> Step:
        """The best step; there is one by the time that it is asked for."""
        assert self._best is not None
        return self._best

    def note(self, step: Step) -> None:
        """Takes a step; of all models the best one's alone is kept."""
        self.steps.append(step.told())
        if self._best is not None and not step.beats(self._best):
            step.model = None
            return
        if self._best is not None:
            self._best.model = None
        self._best = step


def search(fit: Callable[..., Any], budget: float, found: Found) -> bool:
    """Looks for the step that does best on held-out rows; whether there is time for its fit on all rows.

    Sizes of trees are compared after the same time, not after the same rounds: where the time is short for the data, the
    better one of them gets all that is left, and its model is the last. Where it isn't, other parameters follow.

    Parameters
    ----------
    fit : callable
        Fits with some parameters and callbacks, rows held out.
    budget : float
        Seconds.
    found : Found
        Where it is noted, step by step.
    """
    end = time.monotonic() + budget

    def step(params: dict[str, Any], deadline: float) -> Step:
        start = time.monotonic()
        late = False

        def is_late(_: Any) -> bool:
            nonlocal late
            late = time.monotonic() > deadline
            return late

        model = fit({**params, "max_iter": ROUNDS, "n_iter_no_change": PATIENCE}, [is_late])
        # What can't be judged is worse than all that can.
        scores = np.nan_to_num(model.validation_score_, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        rounds = max(1, int(np.argmax(scores)))
        done = Step(params, model, rounds, float(scores[rounds]), time.monotonic() - start, not late)
        found.note(done)
        # What a fit freed would lie beside what the next one takes.
        _core.give_back()
        return done

    def race(leaves: int, share: float, rate: float = 0.1) -> Step:
        return step({"learning_rate": rate, "max_leaf_nodes": leaves}, time.monotonic() + share * budget)

    def climb(top: Step) -> None:
        """Larger trees for as long as they gain, at rates at which they arrive in the time that they have."""
        leaves, rounds = top.params["max_leaf_nodes"], top.rounds * CLIMB / SLICE
        if not top.ended and rounds * 0.1 < RACED:
            # It has not arrived yet itself.
            top = race(leaves, CLIMB, rate_of(rounds))
            rounds = top.rounds
        while (leaves := 4 * leaves + 3) <= MOST:
            rounds = np.inf if top.ended else rounds / FOURFOLD
            if rounds * FASTEST < TOLD:
                return
            larger = race(leaves, CLIMB, rate_of(rounds))
            if larger.score <= top.score:
                return
            top, rounds = larger, larger.rounds

    small, large = (race(leaves, SLICE) for leaves in LEAVES)
    if large.score > small.score:
        climb(large)
    else:
        race(SMALLER, SLICE)
    best = found.best
    if not best.ended:
        # Few rounds must be larger ones to arrive.
        slow, rounds = {**best.params, "learning_rate": 0.1}, best.rounds / best.seconds * (end - time.monotonic())
        arrives = min(ARRIVES, ARRIVES_LARGE / slow["max_leaf_nodes"])
        tried = step({**slow, "learning_rate": float(np.clip(arrives / rounds, 0.1, 0.3).round(2))}, end)
        if tried.ended and tried is not found.best:
            # They were too large.
            step(slow, end)
    for change in THEN:
        best = found.best
        params = {**best.params, **change}
        # The last fit needs its time too. Finer steps are worth their rounds only where there is time for them.
        left = end - time.monotonic() - ALL_ROWS * best.seconds
        if params != best.params and best.ended and left > 0.5 * best.seconds:
            step(params, time.monotonic() + left)
    best = found.best
    return best.ended and end - time.monotonic() > ALL_ROWS * best.seconds
