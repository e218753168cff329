"""Boosting without tuning: models in steps, judged on held-out rows, and the mean of the best, until the time is used."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core

#: Leaves of a tree that are tried first, side by side; then fewer once, or four times as many for as long as they gain.
LEAVES, SMALLER, MOST = (31, 127), 8, 32_767
#: What is tried around the best: once the first models are fitted on other rows, and then.
AT_ONCE: tuple[dict[str, Any], ...] = ({"learning_rate": 0.1}, {"max_features": 0.5})
THEN: tuple[dict[str, Any], ...] = ({"min_samples_leaf": 5}, {"min_samples_leaf": 100}, {"l2_regularization": 10.0})
#: Models that are averaged: of how many parameters, how many there are before others are tried, and most in all.
KINDS, SOME, ALL = 3, 4, 8
#: How much worse than the best, as a share of its score and of what it gained, parameters may be whose models are averaged
#: with its own; and the same more, by chance, times the root of the rows that judge.
CLOSE, CHANCE = 0.02, 2.0
#: The share of the rounds of its like that a model needs which was fitted until the time was over.
NEARLY = 0.8
#: Most rounds of a step, and rounds without gain that end it.
ROUNDS, PATIENCE = 20_000, 30
#: The share of the time that each size of trees may take before the best go on alone, and each larger one.
SLICE, CLIMB = 0.06, 0.04
#: Rounds times rate from which a race tells how a size of trees does, and from which it tells anything.
RACED, TOLD = 5, 1.5
#: The largest rate of a race.
FASTEST = 0.5
#: How many times as long a tree of four times the leaves takes.
FOURFOLD = 2.5
#: Rounds times rate from which a model has seen most of what it can, and the same times the leaves of large trees.
ARRIVES, ARRIVES_LARGE = 40, 20_000
#: The share of a score that finer steps may lose on the rows that judge: on others they rarely do.
FINER = 1e-3


def rate_of(rounds: float) -> float:
    """The rate at which a size of trees shows in so many rounds how it does."""
    return float(np.clip(RACED / rounds, 0.1, FASTEST).round(2))


def slow_rate(rate: float) -> float:
    """The nearest rate that models are fitted with to their end."""
    return float(np.clip(rate, 0.1, 0.3).round(2))


@dataclass
class Job:
    """A model to be fitted until a time at the latest."""

    params: dict[str, Any]
    deadline: float
    #: Which rows it holds out.
    number: int = 0
    #: A model of the same parameters.
    like: Step | None = None
    #: Seconds that must be left when it begins.
    needed: float = 0.0


@dataclass
class Step:
    """A model of some parameters, fitted on some of the rows and judged by the others."""

    params: dict[str, Any]
    #: None of those that are too far from the best.
    model: Any
    rounds: int
    score: float
    seconds: float
    #: Whether more rounds wouldn't gain, as far as can be seen.
    ended: bool
    #: The score of no rounds at all; None where no rows were held out.
    start: float | None = None
    #: Which rows were held out.
    number: int = 0

    def beats(self, best: Step) -> bool:
        """Whether it is to be preferred to the best so far."""
        if self.score == best.score:
            return self.ended and not best.ended
        if self.params["learning_rate"] < best.params["learning_rate"] and np.isfinite(best.score):
            return self.score > best.score - FINER * abs(best.score)
        return self.score > best.score

    def loses(self, best: Step) -> float:
        """How much worse it is than another on the same rows, as a share of that one's score and of what it gained."""
        assert best.start is not None
        scale = min(abs(best.score), best.score - best.start)
        return (best.score - self.score) / scale if scale > 0 and np.isfinite(self.score) else np.inf

    def told(self) -> dict[str, Any]:
        """What users are told of it."""
        return {**self.params, "max_iter": self.rounds, "score": self.score, "seconds": self.seconds}


@dataclass
class Found:
    """What a search has found so far, and all that it tried."""

    #: Rows that judge each step.
    judges: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    _best: Step | None = None
    #: All whose models are kept.
    _kept: list[Step] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self._best is not None

    @property
    def best(self) -> Step:
        """The best step; there is one by the time that it is asked for."""
        assert self._best is not None
        return self._best

    def _loses(self, params: dict[str, Any]) -> tuple[float, bool]:
        """How much worse some parameters are than the best ones, on all rows that judged both, and whether that is too much."""
        best = {step.number: step for step in self._kept if step.params == self.best.params}
        best[0] = self.best
        own = (step for step in self._kept if step.params == params and step.start is not None)
        losses = [step.loses(best[step.number]) for step in own if step.number in best]
        if not losses:
            # Nothing tells.
            return np.inf, True
        mean = float(np.mean(losses))
        return mean, mean > CLOSE + CHANCE / np.sqrt(self.judges * len(losses))

    @property
    def own(self) -> list[Step]:
        """Of the parameters that do best the steps that held the same rows out, the best one first: those of each size of
        trees before others, as models that are less alike gain more."""
        own = [step for step in self._kept if step.number == 0 and step is not self._best]
        own.sort(key=lambda step: self._loses(step.params))
        first = [self.best]
        for step in own:
            if all(step.params["max_leaf_nodes"] != other.params["max_leaf_nodes"] for other in first):
                first.append(step)
        return [*first, *(step for step in own if step not in first)][:KINDS]

    @property
    def members(self) -> list[Step]:
        """All models that are averaged."""
        return [*self.own, *(step for step in self._kept if step.number > 0)][:ALL]

    def note(self, step: Step) -> None:
        """Takes a step; only models that are close to the best ones are kept."""
        self.steps.append(step.told())
        if step.number == 0:
            # One that went on, or began again, stands for what it was before, unless it was stopped sooner.
            others = [other for other in self._kept if other.params != step.params or other.number > 0]
            if any(
                other.params == step.params and other.score > step.score for other in self._kept if other.number == 0
            ):
                return
            if self._best is None or self._best.params == step.params or step.beats(self._best):
                self._best = step
            self._kept = [*others, step]
        elif any(step.params == other.params for other in self.own):
            self._kept.append(step)
        else:
            # Something better took its place meanwhile.
            return
        for other in self._kept:
            if other is not self._best and other.start is not None and self._loses(other.params)[1]:
                other.model = None
        self._kept = [other for other in self._kept if other.model is not None]
        own = [step.params for step in self.own]
        self._kept = [other for other in self._kept if other.params in own]


class _Ended(Exception):
    """Somebody stopped the search."""


class Diverged(Exception):
    """A fit whose numbers went beyond all bounds; what it said is the cause."""


class Search:
    """Looks for models that do best on held-out rows.

    Sizes of trees are compared after the same time, not after the same rounds: where the time is short for the data, the
    better one of them gets all that is left, and its model is the last. Where it isn't, models of the parameters that do
    best follow that hold other rows out, as the mean of several is better than any of them (Breiman, "Bagging
    predictors", Machine Learning 1996), and in between other parameters are tried.

    Parameters
    ----------
    fit : callable
        Fits with some parameters and callbacks on the rows of a number: those of 0 are the same for all steps, or their
        scores would say nothing of each other. Last come the rounds of a model of these parameters, for fits on all rows.
    budget : float
        Seconds.
    found : Found
        Where it is noted, step by step.
    side : int
        How many models are fitted side by side.
    has_ended : callable
        Whether somebody stopped it.
    """

    def __init__(
        self,
        fit: Callable[..., Any],
        budget: float,
        found: Found,
        side: int = 1,
        has_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self.fit, self.budget, self.found, self.side, self.has_ended = fit, budget, found, side, has_ended
        self.end = time.monotonic() + budget
        self.interrupted = False
        self.diverged: Diverged | None = None
        #: The last of the numbers of rows.
        self.last = 0

    @property
    def left(self) -> float:
        """Seconds; none when somebody stopped it."""
        return 0.0 if self.has_ended() or self.interrupted else self.end - time.monotonic()

    def run(self) -> None:
        """All steps, until the time is used, somebody stops it or nothing is left to try."""
        with contextlib.suppress(_Ended):
            self.try_all()

    def try_all(self) -> None:
        """All steps."""
        small, large = self.race(LEAVES, SLICE)
        if large.score > small.score:
            self.climb(large)
        elif small.ended or small.rounds * small.params["learning_rate"] >= RACED:
            self.race((SMALLER,), SLICE)
        self.go_on()
        self.fit_all([*self.more(SOME), *self.changed(AT_ONCE)])
        self.fit_all(self.changed(THEN))
        self.fit_all(self.more(ALL))

    def fitted(self, job: Job) -> Step | None:
        """A model; None where too little time is left."""
        if job.needed > max(0.0, self.left) or self.interrupted:
            return None
        start = time.monotonic()
        late = False

        def is_late(_: Any) -> bool:
            nonlocal late
            late = self.left <= 0 or time.monotonic() > job.deadline
            return late

        stop = {"max_iter": ROUNDS, "n_iter_no_change": PATIENCE}
        model, rounds = None, 0 if job.like is None else job.like.rounds
        try:
            model = self.fit({**job.params, **stop}, [is_late], job.number, rounds)
        except Diverged as error:
            self.diverged = error
        done = Step(job.params, model, 0, -np.inf, time.monotonic() - start, not late, number=job.number)
        if model is None:
            return done
        if job.like is not None and not len(model.validation_score_):
            done.rounds, done.score = model.n_iter_, job.like.score
            return done
        # What can't be judged is worse than all that can.
        scores = np.nan_to_num(model.validation_score_, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        # Trees that were left out at times count as they do after the last round.
        done.rounds = len(scores) - 1 if getattr(model, "boosting", None) == "dart" else max(1, int(np.argmax(scores)))
        done.score, done.start = float(scores[done.rounds]), float(scores[0])
        return done

    def fit_all(self, jobs: Sequence[Job]) -> list[Step]:
        """Models, as many at a time as are fitted side by side; they are noted in their order."""
        done: list[Step] = []
        if self.side == 1 or len(jobs) == 1:
            for job in jobs:
                if self.found and self.has_ended():
                    raise _Ended
                done += self.noted(job, self.fitted(job))
        else:
            with ThreadPoolExecutor(self.side) as pool:
                try:
                    futures = [pool.submit(self.fitted, job) for job in jobs]
                    for job, future in zip(jobs, futures, strict=True):
                        done += self.noted(job, future.result())
                except BaseException:
                    # The pool waits for those that are still at work.
                    self.interrupted = True
                    raise
        if not self.found and self.diverged is not None and self.diverged.__cause__ is not None:
            raise self.diverged.__cause__
        return done

    def noted(self, job: Job, step: Step | None) -> list[Step]:
        """What is to be taken of a model: itself, but for one that had too little time to become like others."""
        # What a fit freed would lie beside what the next one takes.
        _core.give_back()
        if step is None or (job.like is not None and not step.ended and step.rounds < NEARLY * job.like.rounds):
            return []
        if step.model is None:
            self.found.steps.append(step.told())
        else:
            self.found.note(step)
        return [step]

    def race(self, sizes: Sequence[int], share: float, rate: float = 0.1) -> list[Step]:
        """Sizes of trees, each in a share of the time."""
        done: list[Step] = []
        for first in range(0, len(sizes), self.side):
            deadline = time.monotonic() + share * self.budget
            some = sizes[first : first + self.side]
            done += self.fit_all([Job({"learning_rate": rate, "max_leaf_nodes": leaves}, deadline) for leaves in some])
        return done

    def climb(self, top: Step) -> None:
        """Larger trees for as long as they gain, at rates at which they arrive in the time that they have."""
        leaves, rounds = top.params["max_leaf_nodes"], top.rounds * CLIMB / SLICE
        if not top.ended and rounds * 0.1 < RACED:
            # It has not arrived yet itself.
            (top,) = self.race((leaves,), CLIMB, rate_of(rounds))
            rounds = top.rounds
        while (leaves := 4 * leaves + 3) <= MOST and self.left > 0:
            rounds = np.inf if top.ended else rounds / FOURFOLD
            if rounds * FASTEST < TOLD:
                return
            (larger,) = self.race((leaves,), CLIMB, rate_of(rounds))
            if larger.score <= top.score:
                return
            top, rounds = larger, larger.rounds

    def go_on(self) -> None:
        """The best size of trees again, until it has seen what it can: few rounds must be larger ones to arrive."""
        best = self.found.best
        if best.ended or self.left <= 0:
            return
        slow, rounds = {**best.params, "learning_rate": 0.1}, best.rounds / best.seconds * self.left
        leaves = slow["max_leaf_nodes"]
        arrives = min(ARRIVES, ARRIVES_LARGE / leaves)
        jobs = [Job({**slow, "learning_rate": slow_rate(arrives / rounds)}, self.end)]
        # Where others are fitted side by side, the sizes next to it take no time from it.
        for other in (4 * leaves + 3, leaves // 4) if leaves <= min(LEAVES) else (leaves // 4, 4 * leaves + 3):
            times = FOURFOLD ** (np.log(other / leaves) / np.log(4))
            rate = slow_rate(arrives / rounds * times / max(1, other / leaves))
            jobs.append(Job({**slow, "learning_rate": rate, "max_leaf_nodes": other}, self.end))
        jobs = jobs[: self.side]
        tried = self.fit_all(jobs)[0]
        if (tried.ended or tried.model is None) and self.found.best is best and self.left > 0:
            # They were too large.
            self.fit_all([Job(slow, self.end)])

    def changed(self, changes: Sequence[dict[str, Any]]) -> list[Job]:
        """Other parameters around the best, where it has seen what it can."""
        best, jobs = self.found.best, []
        for change in changes:
            params = {**best.params, **change}
            needed = best.seconds
            if "learning_rate" in change:
                # Finer steps gain less than the mean of as many models as could be fitted meanwhile.
                needed *= SOME * best.params["learning_rate"] / params["learning_rate"]
            if params != best.params and best.ended:
                jobs.append(Job(params, self.end, needed=needed))
        return jobs

    def more(self, most: int) -> list[Job]:
        """Models of the parameters that do best so far, on other rows, until there are so many."""
        members, own = self.found.members, self.found.own
        if not self.found.best.ended:
            return []
        likes = [(self.last + 1 + i // len(own), own[i % len(own)]) for i in range(most - len(members))]
        self.last = max((number for number, _ in likes), default=self.last)
        return [Job(like.params, self.end, number, like, like.seconds) for number, like in likes]
