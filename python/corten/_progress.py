"""Progress of fits: one line on stderr that is written over."""

from __future__ import annotations

import sys


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

    def __call__(self, iteration: int, total: int | None, loss: float | None, validation: float | None) -> None:
        """Shows one step."""
        text = f"{self.name}: {iteration}" + (f"/{total}" if total else "")
        for what, value in (("loss", loss), ("validation loss", validation)):
            if value is not None:
                text += f", {what} {value:.6g}"
        sys.stderr.write("\r" + text.ljust(self.width))
        sys.stderr.flush()
        self.width = len(text)

    def close(self) -> None:
        """Ends the line, if there was one."""
        if self.width:
            sys.stderr.write("\n")
            self.width = 0
