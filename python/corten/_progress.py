"""Progress of fits: one line on stderr that is written over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Round:
    """A round of a fit, as callbacks see it."""

    #: Rounds done, from 1, and most that there will be.
    iteration: int
    total: int | None
    #: On training rows, and on those held out; None where it isn't known.
    loss: float | None
    validation_loss: float | None


class Rounds:
    """Tells callbacks about each round; true when one of them wants the fit to end."""

    def __init__(self, line: Line | None, callbacks: Sequence[Callable[[Round], Any]]) -> None:
        self.line = line
        self.callbacks = callbacks

    def __call__(self, iteration: int, total: int | None, loss: float | None, validation: float | None) -> bool:
        """Tells them."""
        if self.line is not None:
            self.line(iteration, total, loss, validation)
        step = Round(iteration, total, loss, validation)
        # All are told before any of them ends the fit.
        return any([callback(step) is True for callback in self.callbacks])


class Line:
    """Shows the steps of a fit.

    Parameters
    ----------
    name : str
        Who is fitting.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.width = 0
        self.start = time.monotonic()

    def __call__(self, iteration: int, total: int | None, loss: float | None, validation: float | None) -> None:
        """Shows one step."""
        text = f"{self.name}: {iteration}" + (f"/{total}" if total else "")
        for what, value in (("loss", loss), ("validation loss", validation)):
            if value is not None:
                text += f", {what} {value:.6g}"
        if total and iteration < total:
            left = (time.monotonic() - self.start) / iteration * (total - iteration)
            text += f", {left:.0f} s left"
        sys.stderr.write("\r" + text.ljust(self.width))
        sys.stderr.flush()
        self.width = len(text)

    def close(self) -> None:
        """Ends the line, if there was one."""
        if self.width:
            sys.stderr.write("\n")
            self.width = 0
